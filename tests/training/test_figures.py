"""A figure comes back from its file as it was, and no file can make the reader run code."""

from pathlib import Path

import numpy as np
import pytest

from training import figures

PICTURES = np.random.default_rng(0).random((4, 6, 5, 3)).astype(np.float32)
FIGURES = [
    figures.Curve(
        "a curve",
        np.arange(3.0),
        {"train/loss": np.array([1.0, np.nan, 2.0]), "b.0": np.zeros(3)},
        {"train/loss": np.ones((2, 3))},
        sizes=np.array([1, 2, 3]),
        diagonal=True,
        x_label="step",
        y_label="nats",
    ),
    figures.Heatmap("counts", np.array([[3, 1], [0, 4]]), ("a", "b"), ("a", "b"), "true", "said"),
    figures.Images("images", PICTURES, ("", "é", "<b>", "d"), np.ones((4, 2, 2)), columns=2),
    figures.Frames("film", (255 * PICTURES[..., :1]).astype(np.uint8), 7.5),
    figures.Scatter("points", np.ones((3, 2)), np.array([0, 1, 1]), ("a", "b"), "x", "y"),
    figures.Graph("graph", np.ones((3, 2)), np.array([[0, 1], [1, 2]]), weights=np.array([0, 1.0])),
    figures.Bars("bars", ("a", "<b>"), np.array([0.25, 0.75]), percent=True),
    figures.TextTable("table", ("a", "b"), (("1", "2"), ("3", "4"))),
]


def fields(figure: figures.Figure) -> dict[str, object]:
    return {name: getattr(figure, name) for name in figure.__dataclass_fields__}


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: type(f).__name__)
def test_a_figure_comes_back_as_it_was(figure: figures.Figure, tmp_path: Path):
    path = tmp_path / "00000100" / "val_name.npz"
    figures.save(figure, path)
    back = figures.load(path)
    assert type(back) is type(figure)
    for name, value in fields(figure).items():
        found = getattr(back, name)
        if isinstance(value, dict):
            assert list(found) == list(value)
            for key in value:
                np.testing.assert_array_equal(found[key], value[key])
        else:
            np.testing.assert_array_equal(found, value)
            assert isinstance(found, np.ndarray) == isinstance(value, np.ndarray)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_failed_save_leaves_the_old_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "val_name.npz"
    figures.save(FIGURES[-1], path)

    def full(*args: object, **kwargs: object):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space"):
        figures.save(FIGURES[1], path)
    assert isinstance(figures.load(path), figures.TextTable)


def test_an_object_array_is_neither_written_nor_read(tmp_path: Path):
    bad = figures.Heatmap("", np.array([[{}]], dtype=object))
    with pytest.raises(ValueError, match="not numbers"):
        figures.save(bad, tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", header=np.array('{"kind": "Heatmap"}'), values=bad.values)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        figures.load(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "no figure"),
        ('{"kind": "Sculpture"}', "Curve, Heatmap"),
        ('{"kind": "TextTable", "colour": {"plain": 1}}', "another version"),
    ],
)
def test_what_is_no_figure_is_refused(header: str | None, message: str, tmp_path: Path):
    if header is None:
        np.savez(tmp_path / "a.npz", values=np.ones(2))
    else:
        np.savez(tmp_path / "a.npz", header=np.array(header))
    with pytest.raises(ValueError, match=message):
        figures.load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: figures.Curve("", np.arange(3), {"a": np.ones(2)}), r"'a' must have shape \[3\]"),
        (lambda: figures.Curve("", np.arange(2), {}, {"b": np.ones((2, 2))}), "no series"),
        (lambda: figures.Heatmap("", np.ones((2, 2)), ("a",)), "1 labels for 2"),
        (lambda: figures.Images("", np.ones((2, 4, 4))), "images have shape"),
        (lambda: figures.Images("", np.ones((2, 4, 4, 1)), ("a",)), "1 captions for 2"),
        (lambda: figures.Frames("", np.ones((2, 4, 4, 2))), "frames have shape"),
        (lambda: figures.Scatter("", np.ones((2, 2)), np.array([0, 2]), ("a", "b")), "2 group"),
        (lambda: figures.Graph("", np.ones((2, 2)), np.array([[0, 2]])), "outside of 0 to 1"),
        (lambda: figures.TextTable("", ("a", "b"), (("1",),)), "must have 2 cells"),
        (lambda: figures.Bars("", ("a",), np.ones(2)), "bars need 1 values"),
        (lambda: figures.Bars("", ("a", "b"), np.array([1, -1])), "at least 0"),
        (lambda: figures.Bars("", ("a", "b"), np.array([1, np.inf])), "finite"),
    ],
)
def test_shapes_that_do_not_fit_are_named(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()
