"""Agents in a training loop of one's own: samplers, loaders, state, several processes."""
