"""What is asked of a model: one file a kind of problem, found by its module path."""
