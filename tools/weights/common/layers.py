"""Entries of PyTorch's layers, whose dense weights are [out, in].

Axis letters: `d` width, `f` another width, `h` heads, `k` head width.
"""

from tools.weights.common.family import Entry


def dense(theirs: str, ours: str, group: str = "", outside: bool = False) -> tuple[Entry, ...]:
    """A dense layer."""
    return (
        Entry(f"{theirs}.weight", f"{ours}/kernel", "f d -> d f", group, outside),
        Entry(f"{theirs}.bias", f"{ours}/bias", "", group, outside),
    )


def norm(theirs: str, ours: str, group: str = "", outside: bool = False) -> tuple[Entry, ...]:
    """A layer norm."""
    return (
        Entry(f"{theirs}.weight", f"{ours}/scale", "", group, outside),
        Entry(f"{theirs}.bias", f"{ours}/bias", "", group, outside),
    )


def attention(query: str, key: str, value: str, out: str, ours: str) -> tuple[Entry, ...]:
    """The four projections of a multi-head layer; needs the length of `h`."""
    found: list[Entry] = []
    for theirs, name in ((query, "query"), (key, "key"), (value, "value")):
        found += [
            Entry(f"{theirs}.weight", f"{ours}/{name}/kernel", "(h k) d -> d h k"),
            Entry(f"{theirs}.bias", f"{ours}/{name}/bias", "(h k) -> h k"),
        ]
    found += [
        Entry(f"{out}.weight", f"{ours}/out/kernel", "d (h k) -> h k d"),
        Entry(f"{out}.bias", f"{ours}/out/bias"),
    ]
    return tuple(found)
