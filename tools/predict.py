"""Predicts images with a run: python -m tools.predict --workdir=DIR
--inputs=FILE_OR_FOLDER_OR_GLOB.

Each image goes through the run's own `data.eval_transforms`, in the very pipeline that evaluation
reads: an image of the test split, written as PNG, gets the probabilities that it has there, bit for
bit. An ensemble answers with the mean probabilities of its members. An image that does not decode
is named and counted, and does not stop the others; where none could be read the exit code is 3.
"""

import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import training
from tools import command_line, launching, parts, pipelines, show
from tools.images import Images, UndecodableError, find
from training.compiled import evaluation_key
from training.contracts import ConfigError, DataError
from training.progress import setup_logging

# Pipelines are made for about this many images at a time: memory stays small, and making one, which
# takes a fraction of a second, does not show.
AT_ONCE = 1024
Top = list[tuple[str, float]]


def run(argv: Sequence[str]) -> int:
    """Prints a row an image; returns the exit code."""
    parser = command_line.Parser(
        "python -m tools.predict", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--workdir", required=True, help="the run's folder")
    parser.add_argument(
        "--checkpoint", default="tested", help="tested (what the run tests), best, last or a step"
    )
    parser.add_argument(
        "--inputs", required=True, nargs="+", help="image files, folders of them, or patterns"
    )
    parser.add_argument("--top", type=int, default=5, help="how many labels an image; default 5")
    parser.add_argument("--json", action="store_true", help="a JSON object in place of the table")
    parser.add_argument("--output", help="a CSV file in place of the table")
    arguments, _ = parser.parse(argv)
    if arguments.top < 1:
        raise ConfigError(f"--top={arguments.top}: it must be at least 1")
    setup_logging()
    values = parts.values_of(arguments.workdir)
    paths = find(arguments.inputs)
    # A smoke run, too, is asked about real images.
    launching.prepare({**values, "smoke": False})
    predictor = Predictor(parts.restore(arguments.workdir, arguments.checkpoint))
    rows = predictor.rows(_progress(paths), arguments.top)
    found = _write(rows, arguments, predictor)
    if predictor.undecodable:
        print(f"{len(predictor.undecodable)} of {len(paths)} images do not decode", file=sys.stderr)
    if not found:
        raise DataError(f"none of the {len(paths)} images of --inputs could be read")
    return 0


@dataclass
class Predictor:
    """A restored run that answers with labels and probabilities.

    Attributes:
      restored: the run.
      undecodable: (path, reason) of the files that were passed over.
    """

    restored: parts.Restored
    undecodable: list[tuple[Path, str]] = field(default_factory=list)

    def rows(self, paths: Iterator[Path], top: int) -> Iterator[tuple[Path, Top]]:
        """(path, the `top` likeliest labels and their probabilities) of each image that decodes."""
        config, source = pipelines.build_source(self.restored.parts.values)
        images = Images(config, source)
        names = source.info.class_names or tuple(map(str, range(source.info.num_classes)))
        for group in _groups(self._read(images, paths), max(config.batch_size, AT_ONCE)):
            probabilities = self.probabilities(images, [image for _, image in group])
            order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
            for (path, _), row, best in zip(group, probabilities, order, strict=True):
                yield path, [(names[k], float(row[k])) for k in best]

    def probabilities(self, images: Images, group: Sequence[Any]) -> np.ndarray:
        """float32 [n, k] of what `images.read` gave."""
        compiled, state = self.restored.compiled, self.restored.state
        axis, found = int(compiled.members > 1), []
        for index, batch in enumerate(images.pipeline(group).batches(0)):
            placed = compiled.put(batch)
            arrays = compiled.predict(state, placed, evaluation_key(state, "evaluate", index))
            if "probabilities" not in arrays:
                raise ConfigError(
                    f"task.name is {self.restored.parts.values['task']['name']!r}, which predicts "
                    f"{', '.join(arrays)} and no probabilities of labels"
                )
            found.append(training.gather(arrays["probabilities"], placed["mask"], axis=axis))
        joined = np.concatenate(found, axis=axis)
        return joined.mean(0) if axis else joined

    def _read(self, images: Images, paths: Iterator[Path]) -> Iterator[tuple[Path, Any]]:
        for path in paths:
            try:
                yield path, images.read(path)
            except UndecodableError as error:
                self.undecodable.append((path, str(error)))
                print(f"{path} does not decode: {error}", file=sys.stderr)


def _groups(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    group: list[Any] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _progress(paths: Sequence[Path]) -> Iterator[Path]:
    console = Console(stderr=True)
    return iter(track(paths, "predicting", console=console) if console.is_terminal else paths)


def _write(rows: Iterator[tuple[Path, Top]], arguments: Any, predictor: Predictor) -> int:
    """Writes the rows as the arguments say; returns their number."""
    kept: list[tuple[Path, Top]] = []
    count = 0
    with contextlib.ExitStack() as stack:
        add: Callable[[Path, Top], None] | None = None
        if arguments.output:
            add = _csv(Path(arguments.output), stack)
        for path, top in rows:
            count += 1
            if add is not None:
                add(path, top)
            if arguments.json or add is None:
                kept.append((path, top))
    if arguments.json:
        print(json.dumps(_document(kept, arguments, predictor), indent=1))
    elif kept:
        table = Table("image", "label", "probability", "next")
        for path, ((label, probability), *others) in kept:
            more = "  ".join(f"{name} {p:.4f}" for name, p in others)
            table.add_row(str(path), label, f"{probability:.4f}", more)
        show.console().print(table)
    return count


def _csv(path: Path, stack: contextlib.ExitStack) -> Callable[[Path, Top], None]:
    """Opens the file; returns what adds a line to it, a flat row of labels and probabilities."""
    try:
        writer = csv.writer(stack.enter_context(path.open("w", newline="")))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ConfigError(f"--output={path} cannot be written: {error.strerror}") from error
    header: list[str] = []

    def add(image: Path, top: Top) -> None:
        if not header:
            numbers = ["", *(f"_{i}" for i in range(2, len(top) + 1))]
            header.extend(
                ["image", *(f"{n}{i}" for i in numbers for n in ("label", "probability"))]
            )
            writer.writerow(header)
        writer.writerow([image, *(value for pair in top for value in pair)])

    return add


def _document(kept: Sequence[tuple[Path, Top]], arguments: Any, predictor: Predictor) -> Any:
    return {
        "name": predictor.restored.parts.settings.name,
        "workdir": arguments.workdir,
        "checkpoint": arguments.checkpoint,
        "step": predictor.restored.step,
        "predictions": [
            {
                "image": str(path),
                "label": top[0][0],
                "probability": top[0][1],
                "top": [{"label": label, "probability": p} for label, p in top],
            }
            for path, top in kept
        ],
        "undecodable": [{"image": str(p), "reason": r} for p, r in predictor.undecodable],
    }


if __name__ == "__main__":
    command_line.main(run)
