"""What goes around an agent: annealing, warm-up, class balance, rescaling."""
