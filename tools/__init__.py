"""Around a run: what is started as `python -m tools.<name>`, and the parts that they share."""
