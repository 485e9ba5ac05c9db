"""The end of an error message about an unknown name: what was probably meant."""

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """`did you mean 'x'?`, or the accepted names where none is near."""
    names = sorted(names)
    lower = {n.lower(): n for n in names}
    found = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)
    close = [lower[n] for n in found]
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    return f"known: {', '.join(names)}" if names else "there are none"
