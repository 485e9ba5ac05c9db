"""The report in a real browser: nothing fails, nothing is cut off, everything can be read.

Screenshots are kept in artifacts/screenshots/.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser.pages import SIZES, assert_whole
from tests.conftest import Program
from tests.training import run_folder
from tests.training.test_figures import FIGURES
from training import figures, report

pytestmark = pytest.mark.browser

FASHION = (
    "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle_boot".replace("_", "-")
).split()


def gallery(path: Path) -> Path:
    """One figure of each kind, with long names and many of everything."""
    random = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 34, endpoint=False)
    edges = random.integers(0, 34, (78, 2))
    big = random.poisson(0.3, (100, 100)) + 40 * np.eye(100, dtype=int)
    names = tuple(f"class {i}" for i in range(100))
    film = np.stack([np.roll(np.eye(32), t, axis=1) for t in range(32)])[..., None]
    shown = {
        "film": figures.Frames("A film", film),
        "scatter": figures.Scatter(
            "Two groups", random.normal(size=(400, 2)), random.integers(0, 2, 400), ("cat", "dog")
        ),
        "graph": figures.Graph(
            "Karate club",
            np.stack([np.cos(angles), np.sin(angles)], axis=1),
            edges,
            random.integers(0, 2, 34),
            ("officer", "teacher"),
            random.random(78),
        ),
        "confusion": figures.Heatmap("Confusion matrix", big, names, names, "true", "said"),
        "weights": figures.Heatmap("Weights", random.normal(size=(6, 12))),
        "photographs": figures.Images(
            "Photographs",
            random.integers(0, 255, (5, 96, 128, 3)).astype(np.uint8),
            tuple(f"true {'long_name_without_a_break' * 2} {i}" for i in range(5)),
        ),
        **{f"kind_{i}": figure for i, figure in enumerate(FIGURES)},
    }
    for name, figure in shown.items():
        figures.save(figure, path / "figures" / "00000100" / f"val_{name}.npz")
    return path


def make(kind: str, path: Path) -> Path:
    match kind:
        case "single":
            return run_folder.make(path)
        case "ensemble":
            baseline = {**run_folder.BASELINE, "value": 0.985, "tolerance": 0.002}
            return run_folder.make(path, members=5, baseline=baseline)
        case "unfinished":
            return run_folder.make(path, done=False, steps=500)
        case "named":
            return run_folder.make(path, names=tuple(FASHION))
        case "gallery":
            return gallery(run_folder.make(path, done=False, steps=100))
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A written report of each kind, as an address."""
    folders = {kind: make(kind, tmp_path_factory.mktemp("runs") / kind) for kind in KINDS}
    return {kind: f"file://{report.write(folder)}" for kind, folder in folders.items()}


KINDS = ("single", "ensemble", "unfinished", "named", "gallery", "empty")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_fails_and_nothing_is_cut_off(
    browser: Any, addresses: dict[str, str], kind: str, size: str, scheme: str
):
    assert_whole(browser, addresses[kind], f"report_{kind}", size, scheme)


def test_the_report_of_a_real_run(browser: Any, program: Program, tmp_path: Path):
    folder = tmp_path / "run"
    config = "configs/vision/vit_digits.py"
    done = program("train.py", f"--config={config}", "--smoke", f"--workdir={folder}")
    assert done.returncode == 0, done.stderr[-2000:]
    text = (folder / "report.html").read_text()
    assert "made-up data" in text
    assert all(name in text for name in ("Confusion matrix", "Attention", "Reliability"))
    for size in SIZES:
        assert_whole(browser, f"file://{folder}/report.html", "report_smoke", size, "light")


def test_small_pictures_keep_their_pixels(browser: Any, addresses: dict[str, str]):
    page = browser.new_page()
    page.goto(addresses["single"])
    style = "getComputedStyle(document.querySelector('.pictures img')).imageRendering"
    assert page.evaluate(style) == "pixelated"
    page.close()


def test_the_command_is_copied_and_the_curves_can_be_read(browser: Any, addresses: dict[str, str]):
    page = browser.new_page()
    page.goto(addresses["single"])
    button = page.get_by_label("Copy the command that repeats the run")
    button.click()
    page.wait_for_function("(b) => b.textContent === 'Copied'", arg=button.element_handle())
    page.locator("#curves .area").first.hover()
    first = page.locator("#curves figure").first
    outputs = first.locator("output").all_text_contents()
    assert len(outputs) == 2 and all(float(text) > 0 for text in outputs)
    assert first.locator("[data-at]").text_content().startswith("step ")
    page.mouse.move(0, 0)
    assert first.locator("output").all_text_contents() == ["", ""]
    page.close()


def test_the_page_can_be_read_without_scripts(browser: Any, addresses: dict[str, str]):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(addresses["single"])
    assert page.locator("#curves svg path.line").count() >= 5
    assert "98.06 %" in page.locator("main").inner_text()
    context.close()
