"""Epochs to steps, where a paper counts epochs."""


def steps(epochs: float, examples: int, batch_size: int, multiple: int = 1) -> int:
    """Updates in `epochs` passes over `examples`, to the nearest multiple, at least one."""
    return max(1, round(epochs * examples / batch_size / multiple)) * multiple
