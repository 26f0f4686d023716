"""What is compared: agents by name, episodes played, records, tables and pictures."""
