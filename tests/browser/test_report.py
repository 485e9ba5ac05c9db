"""The report in a real browser: nothing fails, nothing is cut off, everything can be read.

Screenshots are kept in artifacts/screenshots/.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Program
from tests.training import run_folder
from tests.training.test_figures import FIGURES
from training import figures, report

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).parents[2] / "artifacts" / "screenshots"
SIZES = {"desktop": (1280, 800), "phone": (390, 844), "small": (360, 640)}
FASHION = (
    "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle_boot".replace("_", "-")
).split()

# Text outside of the page, or cut by an ancestor that does not scroll. Opens every <details> first.
CUT_OFF = """() => {
  const found = [];
  for (const d of document.querySelectorAll("details")) d.open = true;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || element.closest("script, style")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (!box.width) { found.push(["invisible", node.textContent.trim()]); continue; }
    let scrolls = false;
    for (let a = element; a && a !== document.body; a = a.parentElement) {
      const style = getComputedStyle(a);
      if (["auto", "scroll"].includes(style.overflowX)) { scrolls = true; break; }
      const edge = a.getBoundingClientRect();
      if (style.overflowX !== "visible" && (box.right > edge.right + 1 || box.left < edge.left - 1))
        found.push(["clipped", node.textContent.trim()]);
    }
    if (!scrolls && (box.left < -0.5 || box.right > innerWidth + 0.5))
      found.push(["outside", node.textContent.trim()]);
    const card = element.closest(".card");
    if (!scrolls && card && box.right > card.getBoundingClientRect().right + 1)
      found.push(["out of its card", node.textContent.trim()]);
  }
  return found;
}"""

# Marks of a plot outside of its area; a circle on the edge may reach over it.
ESCAPED = """() => [...document.querySelectorAll(".area")].flatMap((area) => {
  const edge = area.getBoundingClientRect();
  return [...area.querySelectorAll("path, line")].map((p) => p.getBoundingClientRect())
    .filter((b) => b.left < edge.left - 13 || b.right > edge.right + 13
      || b.top < edge.top - 13 || b.bottom > edge.bottom + 13)
    .map((b) => [area.getAttribute("aria-label"), b.left, b.right, b.top, b.bottom]);
})"""

# Labels of one axis that touch.
TOUCHING = """() => {
  const found = [];
  for (const axis of document.querySelectorAll(".xs, .ys, .scale")) {
    const boxes = [...axis.children].map((c) => [c.getBoundingClientRect(), c.textContent]);
    boxes.forEach(([a, first], i) => boxes.slice(i + 1).forEach(([b, second]) => {
      if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
        found.push([first, second]);
    }));
  }
  return found;
}"""

# Text whose contrast with what lies behind it is below WCAG AA: 4.5, or 3 where it is large.
FAINT = """() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const read = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let a = element; a; a = a.parentElement) {
      const colour = read(getComputedStyle(a).backgroundColor);
      if (colour[3] === 255) return colour.slice(0, 3);
    }
    throw new Error("no background");
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || element.closest("script, style")) continue;
    const style = getComputedStyle(element);
    const text = light(read(style.color).slice(0, 3));
    const back = light(behind(element));
    const contrast = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
    const size = parseFloat(style.fontSize);
    if (contrast < (size >= 24 || (size >= 18.6 && style.fontWeight >= 700) ? 3 : 4.5))
      found.push([contrast.toFixed(2), node.textContent.trim(), element.className]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()


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


def assert_whole(browser: Any, address: str, name: str, size: str, scheme: str) -> None:
    """Opens a report, keeps its screenshot, and asserts all that this file promises."""
    width, height = SIZES[size]
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=width < 500
    )
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"report_{name}_{size}_{scheme}.png", full_page=True)
    assert page.evaluate(CUT_OFF) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(TOUCHING) == []
    assert page.evaluate(ESCAPED) == []
    assert page.evaluate(FAINT) == []
    assert complaints == []
    assert [r for r in requests if not r.startswith("data:")] == [address]
    broken = "[...document.images].filter((i) => !i.complete || !i.naturalWidth).length"
    assert page.evaluate(broken) == 0
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_fails_and_nothing_is_cut_off(
    browser: Any, addresses: dict[str, str], kind: str, size: str, scheme: str
):
    assert_whole(browser, addresses[kind], kind, size, scheme)


def test_the_report_of_a_real_run(browser: Any, program: Program, tmp_path: Path):
    folder = tmp_path / "run"
    config = "configs/vision/vit_digits.py"
    done = program("train.py", f"--config={config}", "--smoke", f"--workdir={folder}")
    assert done.returncode == 0, done.stderr[-2000:]
    text = (folder / "report.html").read_text()
    assert "made-up data" in text
    assert all(name in text for name in ("Confusion matrix", "Attention", "Reliability"))
    for size in SIZES:
        assert_whole(browser, f"file://{folder}/report.html", "smoke", size, "light")


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
