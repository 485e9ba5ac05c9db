"""What several text models share."""
