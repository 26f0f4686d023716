"""Rules that pick samples: the published ones, a file each, and the baselines."""
