"""Images [b, height, width, c]."""
