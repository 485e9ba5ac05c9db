"""Compiles for TPUs, ahead of time, with the `tpu` extra: make test-tpu."""
