"""The board of all results in a real browser: it can be read, filtered, opened and copied from.

Screenshots are kept in artifacts/screenshots/.
"""

from typing import Any

import pytest

from tests.browser.pages import SCREENSHOTS, SIZES, assert_whole
from tests.conftest import ROOT

pytestmark = pytest.mark.browser

ADDRESS = f"file://{ROOT}/results/index.html"
SHOWN = "[...document.querySelectorAll('.entry')].filter((e) => e.offsetParent).length"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_fails_and_nothing_is_cut_off(browser: Any, size: str, scheme: str):
    assert_whole(browser, ADDRESS, "board", size, scheme)


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_it_filters_by_verdict_and_field(browser: Any, size: str):
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(ADDRESS)
    everything = page.locator(".entry").count()
    assert page.evaluate(SHOWN) == everything
    page.get_by_role("button", name="REPRODUCED").click()
    reproduced = page.locator(".entry[data-verdict='REPRODUCED']").count()
    assert 0 < reproduced == page.evaluate(SHOWN) < everything
    assert page.locator("#shown").text_content() == f"{reproduced} of {everything} rows"
    page.screenshot(path=SCREENSHOTS / f"board_filtered_{size}.png")
    page.get_by_role("button", name="vision").click()
    both = page.locator(".entry[data-verdict='REPRODUCED'][data-field='vision']").count()
    assert page.evaluate(SHOWN) == both
    assert page.locator("#shown").text_content() == f"{both} of {everything} rows"
    # The address remembers what was asked for.
    page.reload()
    assert page.evaluate(SHOWN) == both
    for name in ("REPRODUCED", "vision"):
        page.get_by_role("button", name=name).click()
    assert page.evaluate(SHOWN) == everything
    page.close()


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_click_shows_curves_and_the_command(browser: Any, size: str):
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(ADDRESS)
    entry = page.locator("#graph-gcn_cora")
    assert not entry.locator("svg").first.is_visible()
    entry.locator("summary").click()
    assert entry.locator("svg path.line").first.is_visible()
    assert "arXiv:1609.02907" in entry.inner_text()
    assert "python -m tools.reproduce graph/gcn_cora" in entry.inner_text()
    button = entry.locator("[data-copy]")
    button.click()
    page.wait_for_function("(b) => b.textContent === 'Copied'", arg=button.element_handle())
    entry.scroll_into_view_if_needed()
    page.screenshot(path=SCREENSHOTS / f"board_open_{size}.png")
    page.close()


def test_it_can_be_read_without_scripts(browser: Any):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(ADDRESS)
    assert "81.50 %" in page.locator("#graph-gcn_cora summary").inner_text()
    context.close()
