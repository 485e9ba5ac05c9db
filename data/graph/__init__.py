"""What graph sources and pipelines share: edge lists, packs, conversions, splits, positions."""
