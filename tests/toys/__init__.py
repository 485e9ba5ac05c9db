"""Toys: the smallest complete algorithm of each kind, with its batches, which prove the core.

Each module has `build() -> (algorithm, training pipeline)` and `held_out() -> evaluation pipeline`.
"""
