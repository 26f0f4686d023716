"""How things are kept on disk: whole, checked and never lost."""
