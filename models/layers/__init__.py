"""What the models of several fields share."""
