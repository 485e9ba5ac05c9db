"""`python -m tools.data`: what data is on this disk, and preparing it before it is needed.

    python -m tools.data verify [NAME ...]     checks raw files and prepared data by content
    python -m tools.data prepare NAME ...      finds or downloads, checks and prepares
    python -m tools.data verify folder --path=IMAGES
    python -m tools.data prepare planetoid --dataset=citeseer
    python -m tools.data prepare glue --task=mrpc

Exit code 3 where something is missing that was asked for by name, or damaged.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from data import raw
from data.runtime import data_dir
from tools import command_line, find
from training.contracts import ConfigError, DataError


def run(argv: Sequence[str]) -> int:
    """The program; returns its exit code."""
    parser = command_line.Parser(
        prog="python -m tools.data", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("action", choices=("verify", "prepare"), help="what to do")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=", ".join(find.names("data.source"))
    )
    parser.add_argument("--path", help="the folder, for the sources `folder` and `text_folder`")
    parser.add_argument("--dataset", help="which one, of sources that have several")
    parser.add_argument("--task", help="which one of GLUE's")
    arguments, _ = parser.parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("reprise.data").setLevel(logging.INFO)
    if arguments.action == "prepare" and not arguments.names:
        raise ConfigError("prepare takes the names of data sets, such as `prepare mnist`")
    told = {"path": arguments.path, "dataset": arguments.dataset, "task": arguments.task}
    sources = {name: _source(name, told) for name in arguments.names or find.names("data.source")}
    if arguments.action == "prepare":
        for name, source in sources.items():
            source.prepare()
            print(f"{name}: prepared")
        return 0
    print(f"prepared data: {data_dir()}")
    faults = [fault for name, source in sources.items() if (fault := _verify(name, source))]
    asked = [fault for fault in faults if fault.name in arguments.names or not fault.absent]
    if not asked:
        return 0
    if len(asked) > 1:
        raise DataError(f"{len(asked)} data sets are missing or damaged: see the lines above")
    raise asked[0].error


@dataclasses.dataclass(frozen=True)
class _Fault:
    name: str
    error: DataError
    absent: bool


def _verify(name: str, source: Any) -> _Fault | None:
    """Prints what is found of one source."""
    try:
        lines = source.verify()
    except DataError as error:
        print(f"{name}: WRONG: {error}")
        return _Fault(name, error, absent=False)
    for line in lines:
        print(f"{name}: good: {line}")
    if lines:
        return None
    print(f"{name}: nothing on this disk")
    place = raw.folders(getattr(source, "raw_folder", name))[0]
    remedy = (
        "give the folder with --path=FOLDER"
        if "path" in _fields(find.part("data.source", name))
        else f"put the raw files into {place}, or run `python -m tools.data prepare {name}`"
    )
    error = DataError(f"{name}: nothing on this disk: {remedy}")
    return _Fault(name, error, absent=True)


def _source(name: str, told: Mapping[str, str | None]) -> Any:
    """The source, with what was told of it and it has a field for."""
    module = find.part("data.source", name, "data.source")
    known = _fields(module)
    return module.build(module.Config(**{k: v for k, v in told.items() if v and k in known}))


def _fields(module: ModuleType) -> set[str]:
    """The keys of a source."""
    return {field.name for field in dataclasses.fields(module.Config)}


if __name__ == "__main__":
    command_line.main(run)
