"""Image transforms, found by the names of their functions: see data/transforms/common/parse.py."""
