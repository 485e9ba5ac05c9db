"""Figures are data: what an evaluator found, drawn by `training/report.py` and by nothing else.

A figure is kept as one .npz file: its arrays as they are, everything else in one JSON string, so
that reading it never unpickles. Images hold intensities in [0, 1], or uint8 in [0, 255].
"""

import dataclasses
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from etils import epath

from training import files

Labels = tuple[str, ...]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_images(images: np.ndarray, what: str) -> None:
    shape = np.shape(images)
    _require(
        len(shape) == 4 and shape[-1] in (1, 3),
        f"{what} have shape [n, height, width, 1 or 3], not {list(shape)}",
    )


@dataclass(frozen=True, eq=False)
class Curve:
    """Lines over one common x axis.

    Attributes:
      title: what is seen; may be empty.
      x: [n] positions, rising.
      series: name of a line to its values [n]; NaN where there is none.
      bands: name of a line to [2, n], the low and high edge of what is shaded around it.
      sizes: [n] how much each point stands for (examples in a bin), or None.
      diagonal: whether y = x is drawn too, as what would be perfect.
      x_label: name and unit of x.
      y_label: name and unit of the values.
    """

    title: str
    x: np.ndarray
    series: Mapping[str, np.ndarray]
    bands: Mapping[str, np.ndarray] = field(default_factory=dict)
    sizes: np.ndarray | None = None
    diagonal: bool = False
    x_label: str = ""
    y_label: str = ""

    def __post_init__(self):
        n = len(self.x)
        for name, values in self.series.items():
            _require(np.shape(values) == (n,), f"series {name!r} must have shape [{n}]")
        for name, values in self.bands.items():
            _require(name in self.series, f"band {name!r} belongs to no series")
            _require(np.shape(values) == (2, n), f"band {name!r} must have shape [2, {n}]")
        _require(self.sizes is None or np.shape(self.sizes) == (n,), f"sizes must have shape [{n}]")


@dataclass(frozen=True, eq=False)
class Heatmap:
    """A matrix of values [rows, columns], such as a confusion matrix (rows are the truth).

    `row_labels` and `column_labels` are () or one name each; `row_title` and `column_title` name
    the axes.
    """

    title: str
    values: np.ndarray
    row_labels: Labels = ()
    column_labels: Labels = ()
    row_title: str = ""
    column_title: str = ""

    def __post_init__(self):
        _require(np.ndim(self.values) == 2, "a heatmap's values have shape [rows, columns]")
        for labels, size in zip(
            (self.row_labels, self.column_labels), np.shape(self.values), strict=True
        ):
            _require(len(labels) in (0, size), f"{len(labels)} labels for {size} rows or columns")


@dataclass(frozen=True, eq=False)
class Images:
    """Pictures [n, height, width, 1 or 3], with a caption each or none at all.

    `overlays` [n, rows, columns], values >= 0, is drawn over the images as heat, stretched to their
    size; `columns` > 0 keeps that many side by side (a grid whose columns mean something).
    """

    title: str
    images: np.ndarray
    captions: Labels = ()
    overlays: np.ndarray | None = None
    columns: int = 0

    def __post_init__(self):
        _require_images(self.images, "images")
        n = len(self.images)
        _require(len(self.captions) in (0, n), f"{len(self.captions)} captions for {n} images")
        _require(
            self.overlays is None or (np.ndim(self.overlays) == 3 and len(self.overlays) == n),
            f"overlays have shape [{n}, rows, columns]",
        )


@dataclass(frozen=True, eq=False)
class Frames:
    """A short film: frames [t, height, width, 1 or 3] at `frames_per_second`."""

    title: str
    frames: np.ndarray
    frames_per_second: float = 15.0

    def __post_init__(self):
        _require_images(self.frames, "frames")
        _require(self.frames_per_second > 0, "frames_per_second must be positive")


@dataclass(frozen=True, eq=False)
class Scatter:
    """Points [n, 2] of a plane; `groups` [n] are indices into `group_names`, or None."""

    title: str
    points: np.ndarray
    groups: np.ndarray | None = None
    group_names: Labels = ()
    x_label: str = ""
    y_label: str = ""

    def __post_init__(self):
        shape = np.shape(self.points)
        _require(len(shape) == 2 and shape[1] == 2, "points have shape [n, 2]")
        _require_groups(self.groups, self.group_names, shape[0])


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes at positions [n, 2] (any unit) joined by edges [e, 2], pairs of node numbers.

    `groups` [n] are indices into `group_names`, or None; `weights` [e] in [0, 1] is how strongly an
    edge is drawn, or None.
    """

    title: str
    positions: np.ndarray
    edges: np.ndarray
    groups: np.ndarray | None = None
    group_names: Labels = ()
    weights: np.ndarray | None = None

    def __post_init__(self):
        nodes, edges = np.asarray(self.positions), np.asarray(self.edges)
        _require(nodes.ndim == 2 and nodes.shape[1] == 2, "positions have shape [n, 2]")
        _require(edges.ndim == 2 and edges.shape[1] == 2, "edges have shape [e, 2]")
        valid = not edges.size or (edges.min() >= 0 and edges.max() < len(nodes))
        _require(valid, f"edges name nodes outside of 0 to {len(nodes) - 1}")
        _require_groups(self.groups, self.group_names, len(nodes))
        _require(
            self.weights is None or np.shape(self.weights) == (len(edges),),
            f"weights must have shape [{len(edges)}]",
        )


@dataclass(frozen=True, eq=False)
class TextTable:
    """Rows of text below a line of column names."""

    title: str
    columns: Labels
    rows: tuple[Labels, ...]

    def __post_init__(self):
        for row in self.rows:
            _require(
                len(row) == len(self.columns), f"row {row!r} must have {len(self.columns)} cells"
            )


@dataclass(frozen=True, eq=False)
class Bars:
    """A bar for each of `labels`, `values` [n] >= 0 long; `percent` where they are shares."""

    title: str
    labels: Labels
    values: np.ndarray
    percent: bool = False

    def __post_init__(self):
        values = np.asarray(self.values)
        _require(values.shape == (len(self.labels),), f"bars need {len(self.labels)} values")
        _require(
            bool(np.all((values >= 0) & (values < np.inf))),
            "bars have finite lengths of at least 0",
        )


Figure = Curve | Heatmap | Images | Frames | Scatter | Graph | TextTable | Bars
_KINDS = {
    kind.__name__: kind
    for kind in (Curve, Heatmap, Images, Frames, Scatter, Graph, TextTable, Bars)
}


def _require_groups(groups: np.ndarray | None, names: Labels, n: int) -> None:
    if groups is None:
        return
    groups = np.asarray(groups)
    _require(groups.shape == (n,), f"groups must have shape [{n}]")
    valid = not groups.size or (groups.min() >= 0 and groups.max() < len(names))
    _require(valid, f"groups must be indices into the {len(names)} group names")


def save(figure: Figure, path: epath.PathLike) -> None:
    """Writes `figure` to `path` (.npz), whole or not at all; makes the folders above it."""
    header: dict[str, Any] = {"kind": type(figure).__name__}
    arrays: dict[str, np.ndarray] = {}
    for item in dataclasses.fields(figure):
        value = getattr(figure, item.name)
        if isinstance(value, Mapping):
            header[item.name] = {"mapping": list(value)}
            for number, entry in enumerate(value.values()):
                arrays[f"{item.name}.{number}"] = np.asarray(entry)
        elif isinstance(value, str | bool | int | float | tuple | type(None)):
            header[item.name] = {"plain": value}
        else:
            arrays[item.name] = np.asarray(value)
    for name, value in arrays.items():
        _require(value.dtype.kind in "biuf", f"{name} holds {value.dtype}, not numbers")
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.savez_compressed(content, **{"header": np.array(json.dumps(header)), **arrays})  # ty: ignore
    files.write_whole(path, content.getvalue())


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def load(path: epath.PathLike) -> Figure:
    """Reads what `save` wrote.

    Raises:
      ValueError: the file is not a figure of this version of the code.
      OSError: it cannot be read.
    """
    content = io.BytesIO(epath.Path(path).read_bytes())
    with np.load(content, allow_pickle=False) as stored:
        if "header" not in stored:
            raise ValueError(f"{path} holds no figure")
        header = json.loads(str(stored["header"]))
        kind = _KINDS.get(header.pop("kind", ""))
        if kind is None:
            raise ValueError(f"{path} holds no figure of the kinds {', '.join(_KINDS)}")
        values: dict[str, Any] = {
            name: stored[name] for name in stored.files if name != "header" and "." not in name
        }
        for name, entry in header.items():
            if "mapping" in entry:
                keys = entry["mapping"]
                values[name] = {key: stored[f"{name}.{i}"] for i, key in enumerate(keys)}
            else:
                values[name] = _tuples(entry["plain"])
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{path} holds a {kind.__name__} of another version: {error}") from error
