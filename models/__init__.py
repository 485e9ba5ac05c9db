"""What is computed: Flax modules, one file an architecture, found by its module path."""
