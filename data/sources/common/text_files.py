"""Files of text: UTF-8 or an error that says where it is not; lines, and tables of columns."""

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

from training.contracts import DataError

# Of one field of a table: whole articles are longer than Python's csv expects.
_LONGEST_FIELD = 2**27


def read(path: Path) -> str:
    """The text of a file, gzip or plain, its line ends as "\\n".

    Raises DataError for what cannot be read, naming the position of bytes that are not UTF-8.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path} is not UTF-8: byte {error.start} (line {line}) is "
            f"0x{data[error.start]:02x}; convert the file, such as with iconv"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        said = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {said}") from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def lines(path: Path, count: int = 0) -> list[str]:
    """The lines of a file; raises DataError where they are not `count`, if that is known."""
    # Not `splitlines`: some of the signs at which it splits stand within captions.
    found = read(path).removesuffix("\n").split("\n")
    if count and len(found) != count:
        raise DataError(f"{path} holds {len(found)} lines, not {count}")
    return found


def columns(path: Path, names: Sequence[str]) -> tuple[dict[str, list[str]], list[int]]:
    """(the named columns, the line where each row ends) of a .csv or .tsv that begins with names.

    Raises DataError for a missing column, a row of another length, and a table that is empty.
    """
    text = read(path)
    csv.field_size_limit(_LONGEST_FIELD)
    stream = io.StringIO(text, newline="")
    if path.name.endswith((".tsv", ".tsv.gz")):
        reader = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(stream)
    header = next(reader, [])
    for name in names:
        if name not in header:
            raise DataError(f"{path} has no column {name!r}: it has {', '.join(header) or 'none'}")
    places = {name: header.index(name) for name in names}
    found: dict[str, list[str]] = {name: [] for name in names}
    ends: list[int] = []
    try:
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                quote = "; quote a text that holds a comma" if len(row) > len(header) else ""
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(row)} columns, not {len(header)}"
                    + (quote if reader.dialect.delimiter == "," else "")
                )
            ends.append(reader.line_num)
            for name, place in places.items():
                found[name].append(row[place])
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    if not found[names[0]]:
        raise DataError(f"{path} holds no rows")
    return found, ends
