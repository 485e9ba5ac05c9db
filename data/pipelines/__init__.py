"""How batches are made of a source's examples: one file a kind, found by its name."""
