"""How a run learns: one file an algorithm, found by its module path."""
