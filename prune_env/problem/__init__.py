"""What is trained: data, scenarios, networks and recipes."""
