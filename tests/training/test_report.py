"""report.html: whole from any folder, escaped, self-contained, and true to the folder's numbers."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training import run_folder
from tests.training.test_figures import FIGURES
from training import figures, report


class Page(HTMLParser):
    """The page's text, its tags, and every address that it names."""

    void = frozenset({"meta", "link", "img", "br", "source", "line", "path"})

    def __init__(self, html: str):
        super().__init__()
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.texts))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        if tag not in self.void:
            self.open.append(tag)
        given = dict(attrs)
        if tag == "img":
            self.images.append(given)
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")
        ]

    def handle_endtag(self, tag: str):
        if tag not in self.void:
            assert self.open.pop() == tag

    def handle_data(self, data: str):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)


def page(folder: Path) -> Page:
    html = Path(str(report.write(folder))).read_text()
    found = Page(html)
    assert found.open == []
    return found


def change(folder: Path, file_name: str, **values: Any) -> None:
    path = folder / file_name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_finished_run_says_what_a_person_wants_in_order(tmp_path: Path):
    text = page(run_folder.make(tmp_path / "run")).text
    wanted = [
        "vit_digits",
        "98.06 %",
        "NOT JUDGED",
        "1 of at least 5 repeats",
        "Learning curves",
        "Confusion matrix",
        "true 1, said 9 (0.84)",
        "rollout",
        "Confidence against accuracy",
        "Macro F1",
        "examples a second",
        "jax",
        "label_smoothing",
        "--fresh",
    ]
    places = [text.rfind(word) if word == "jax" else text.find(word) for word in wanted]
    assert -1 not in places and places == sorted(places)
    assert "reproduced" not in text.lower()


def test_the_page_names_no_address_outside_itself(tmp_path: Path):
    folder = run_folder.make(tmp_path / "run")
    found = page(folder)
    assert all(a.startswith(("data:", "#")) for a in found.addresses)
    html = (folder / "report.html").read_text()
    assert not re.search(r"https?://|@import|url\(", html)
    assert len(html) < 400_000
    assert all(image.get("alt") is not None for image in found.images)


def test_an_ensemble_is_judged_and_shown_with_its_spread(tmp_path: Path):
    folder = run_folder.make(tmp_path / "run", members=5)
    found = page(folder)
    html = (folder / "report.html").read_text()
    assert "REPRODUCED" in found.text and "from 5 repeats" in found.text
    assert "mean and std of 5 members" in found.text and 'class="band' in html
    assert html.count('class="speck"') == 5
    assert "member 0 of 5" in found.text


def test_an_unfinished_run_shows_how_far_it_came(tmp_path: Path):
    text = page(run_folder.make(tmp_path / "run", done=False, steps=500)).text
    assert "not finished" in text and "500 of 1,200" in text
    assert "Val accuracy so far" in text.replace("val", "Val") and "98.06 %" not in text


@pytest.mark.parametrize(
    "name", ["config.json", "environment.json", "metrics.jsonl", "timings.jsonl", "result.json"]
)
def test_any_file_may_be_missing_empty_or_cut(name: str, tmp_path: Path):
    folder = run_folder.make(tmp_path / "run")
    whole = (folder / name).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"[]", b"\xff\x00"):
        (folder / name).write_bytes(content)
        assert "Repeat this run" in page(folder).text
    (folder / name).unlink()
    assert "Repeat this run" in page(folder).text


def test_an_empty_folder_gives_a_page_that_says_so(tmp_path: Path):
    text = page(tmp_path).text
    assert "config.json is missing." in text and "no metric yet" in text


def test_a_cut_line_and_a_damaged_figure_are_told(tmp_path: Path):
    folder = run_folder.make(tmp_path / "run")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1220, "split": "tr')
    path = folder / "figures" / "00001200" / "test_mistakes.npz"
    path.write_bytes(path.read_bytes()[:300])
    text = page(folder).text
    assert "1 damaged line of metrics.jsonl left out." in text
    assert "Figure 00001200/test_mistakes.npz could not be read" in text


def test_text_of_a_run_cannot_become_markup(tmp_path: Path):
    evil = "<script>alert('x')</script>\"'><b>"
    folder = run_folder.make(tmp_path / "run", names=(evil, *"bcdefghij"))
    change(folder, "config.json", name=f"vision/{evil}", model={"name": evil, evil: evil})
    change(folder, "environment.json", command=evil, versions={evil: evil})
    lines = [{"step": s, "split": evil, evil: 1.0 / s} for s in (1, 2, 3)]
    run_folder.write_lines(folder / "metrics.jsonl", lines)
    figure = figures.TextTable(evil, (evil,), ((evil,),))
    figures.save(figure, folder / "figures" / "00000003" / "test_evil.npz")
    curve = figures.Curve(evil, np.arange(2), {evil: np.arange(2.0)}, x_label=evil, y_label=evil)
    figures.save(curve, folder / "figures" / "00000003" / "test_curve.npz")
    text = page(folder).text
    html = (folder / "report.html").read_text()
    assert html.count("<script") == 1 and "alert('x')" not in html
    assert evil in text


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: type(f).__name__)
def test_every_kind_of_figure_is_drawn(figure: figures.Figure, tmp_path: Path):
    figures.save(figure, tmp_path / "figures" / "00000002" / "val_own_name.npz")
    found = page(tmp_path)
    assert "Own name" in found.text and figure.title in found.text
    assert "could not" not in found.text


EMPTY = [
    figures.Curve("t", np.zeros(0), {"a": np.zeros(0)}),
    figures.Curve("t", np.arange(3), {"a": np.full(3, np.nan)}),
    figures.Curve("t", np.array([5.0]), {"a": np.array([0.0])}),
    figures.Heatmap("t", np.zeros((2, 2), int), ("a", "b"), ("a", "b")),
    figures.Heatmap("t", np.full((2, 3), np.nan)),
    figures.Heatmap("t", np.eye(40, dtype=int), tuple(map(str, range(40))), ()),
    figures.Images("t", np.zeros((0, 4, 4, 1))),
    figures.Images("t", np.full((1, 4, 4, 1), np.nan), overlays=np.full((1, 2, 2), np.nan)),
    figures.Scatter("t", np.zeros((0, 2))),
    figures.Scatter("t", np.full((3, 2), np.nan)),
    figures.Graph("t", np.zeros((1, 2)), np.zeros((0, 2), int)),
    figures.TextTable("t", (), ()),
    figures.Bars("t", (), np.zeros(0)),
    figures.Bars("t", ("a",), np.zeros(1)),
]


@pytest.mark.parametrize("figure", EMPTY, ids=lambda f: type(f).__name__)
def test_a_figure_of_nothing_is_no_error(figure: figures.Figure, tmp_path: Path):
    figures.save(figure, tmp_path / "figures" / "00000002" / "val_own_name.npz")
    assert "could not" not in page(tmp_path).text


def test_the_newest_figure_counts_and_the_test_split_comes_first(tmp_path: Path):
    for step, split in ((1, "val"), (2, "val"), (2, "test")):
        table = figures.TextTable("", ("a",), ((f"{split} of {step}",),))
        figures.save(table, tmp_path / "figures" / f"{step:08d}" / f"{split}_own.npz")
    text = page(tmp_path).text
    assert "val of 1" not in text
    assert text.index("test of 2") < text.index("val of 2")


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = run_folder.make(tmp_path / "run")
    before = Path(str(report.write(folder))).read_text()

    def broken(run: Any) -> str:
        raise RuntimeError("broken")

    monkeypatch.setattr(report, "render", broken)
    with pytest.raises(RuntimeError):
        report.write(folder)
    assert (folder / "report.html").read_text() == before
    assert not list(folder.glob("*.partial"))


def test_large_pictures_are_reduced(tmp_path: Path):
    pictures = np.random.default_rng(0).integers(0, 255, (12, 500, 400, 3)).astype(np.uint8)
    figures.save(
        figures.Images("", pictures), tmp_path / "figures" / "00000001" / "test_mistakes.npz"
    )
    page(tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 1_500_000


def test_a_long_run_stays_a_small_page(tmp_path: Path):
    folder = run_folder.make(tmp_path / "run")
    lines = [{"step": s, "split": "train", "loss": 1 / s} for s in range(1, 50_000)]
    run_folder.write_lines(folder / "metrics.jsonl", lines)
    page(folder)
    assert (folder / "report.html").stat().st_size < 300_000


def test_a_smoke_run_claims_nothing(tmp_path: Path):
    folder = run_folder.make(tmp_path / "run", members=5)
    change(folder, "config.json", smoke=True)
    text = page(folder).text
    assert "REPRODUCED" not in text and "made-up data" in text


def test_figures_of_the_test_split_name_the_weights_that_were_tested(tmp_path):
    text = page(run_folder.make(tmp_path)).text
    assert "test split, best weights, of step 900" in text
    assert "val split, step 100" in text
