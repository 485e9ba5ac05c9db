"""Baselines of language and sequences."""
