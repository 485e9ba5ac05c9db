"""What the families share: the form of a table, reading it both ways, and the files."""
