"""The sums of the raw files of graph sources: `sums.txt`, a line a file of sha256, bytes and name.

A file that it does not list has no sum known here, which data/raw.py then says.
"""

import functools
from pathlib import Path

from data.raw import RawFile


def raw_file(dataset: str, name: str, address: str) -> RawFile:
    """The file `name` in the raw folder `dataset` ("tu_graphs/MUTAG"), from address + name."""
    size, sha256 = _sums().get(f"{dataset}/{name}", (0, ""))
    return RawFile(name, size, sha256, address + name)


@functools.cache
def _sums() -> dict[str, tuple[int, str]]:
    lines = Path(__file__).with_name("sums.txt").read_text().splitlines()
    rows = (line.split() for line in lines)
    return {name: (int(size), sha256) for sha256, size, name in rows}
