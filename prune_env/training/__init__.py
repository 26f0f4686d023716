"""How it is trained: epochs, updates, precision and threads."""
