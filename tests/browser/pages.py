"""What every page of ours promises in a browser, and how it is asked."""

from pathlib import Path
from typing import Any

SCREENSHOTS = Path(__file__).parents[2] / "artifacts" / "screenshots"
SIZES = {"desktop": (1280, 800), "phone": (390, 844), "small": (360, 640)}

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


def assert_whole(browser: Any, address: str, name: str, size: str, scheme: str) -> None:
    """Opens a page, keeps its screenshot, and asserts all that this file promises."""
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
    page.screenshot(path=SCREENSHOTS / f"{name}_{size}_{scheme}.png", full_page=True)
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
