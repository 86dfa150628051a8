"""The page in a real browser: sorts, filters, slides and zooms, without an error or a request."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssdd_bench.report.build import draw_figures
from ssdd_bench.report.gallery import copy_to
from ssdd_bench.report.loading import load_source
from ssdd_bench.report.page import build_page
from ssdd_bench.report.published import load_published

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs a browser: apt install chromium chromium-driver"
    ),
    # Sockets of the browser's driver, which selenium leaves to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
PUBLISHED = Path(__file__).parents[2] / "results" / "published"
SCORES = {
    "ssdd": [30.0, 22.0, 21.0, 20.0],
    "klvae": [31.0, 21.0, 20.5, 10.0],
    "jpeg:quality=50": [29.0, 25.0, 28.0, 27.0],
}


@pytest.fixture
def browser(write_run: Callable[..., Path], tmp_path: Path) -> Iterator[Any]:
    """A headless browser with the page of three tokenizers at two sizes open from disk."""
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    source = load_source([write_run(SCORES, (32, 64))])
    source.frame.loc[source.frame["label"].str.startswith("jpeg"), "role"] = "codec"
    path = tmp_path / "index.html"
    published = load_published(PUBLISHED)
    drawings = draw_figures(source.frame, published, "psnr")
    page = build_page(source, published, "psnr", drawings, place=copy_to(tmp_path))
    path.write_text(page, "utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    calm = "--force-prefers-reduced-motion"  # no scrolling under the pointer
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", calm):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.get(path.as_uri())
        yield driver
    finally:
        driver.quit()


def names(browser: Any) -> list[str]:
    """First column of the first table, rows in sight only, without marks of footnotes."""
    script = (
        "return [...document.querySelectorAll('#tables figure.table')[0]"
        ".querySelectorAll('tbody tr:not(.section):not([hidden])')]"
        ".map(row => row.cells[0].dataset.value)"
    )
    found: list[str] = browser.execute_script(script)
    return found


def put(browser: Any, element: str, value: object, event: str = "input") -> None:
    script = (
        "const node = document.getElementById(arguments[0]); node.value = arguments[1];"
        "node.dispatchEvent(new Event(arguments[2], {bubbles: true}))"
    )
    browser.execute_script(script, element, value, event)


def check_hints(browser: Any, table: Any) -> None:
    """Read intervals from the keyboard and by taps, without a mouse."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    tip = browser.find_element(By.ID, "tip")
    stops = table.find_elements(By.CSS_SELECTOR, "tbody [tabindex]")
    assert len(stops) == 1  # the tab key does not visit every value
    browser.execute_script("arguments[0].focus()", stops[0])
    first = tip.text
    assert first
    stops[0].send_keys(Keys.ARROW_RIGHT)
    second = browser.switch_to.active_element
    assert second.tag_name == "td"
    assert second != stops[0]
    other = tip.text
    assert other not in ("", first)
    second.send_keys(Keys.ARROW_LEFT)
    assert browser.switch_to.active_element == stops[0]
    assert tip.text == first
    stops[0].send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()

    def tap(element: Any) -> None:
        finger = ActionBuilder(browser, mouse=PointerInput("touch", "finger"))
        finger.pointer_action.move_to(element).pointer_down().pointer_up()
        finger.perform()

    for cell, text in ((second, other), (stops[0], first)):
        tap(cell)
        assert tip.text == text  # of what is displayed
    tap(stops[0])  # once more
    assert tip.text == first
    tap(browser.find_element(By.CSS_SELECTOR, "#tables h2"))
    assert not tip.is_displayed()


@pytest.mark.slow
def test_page_in_a_browser(browser: Any) -> None:
    """One browser for all steps, since starting it takes longest."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    grouped = names(browser)
    table = browser.find_element(By.CSS_SELECTOR, "#tables figure.table")
    heading = next(
        button
        for button in table.find_elements(By.CSS_SELECTOR, "th button.sort")
        if "PSNR" in button.text
    )
    best_first = ["jpeg:quality=50", "ssdd", "klvae"]  # mean PSNR 27.25, 23.25, 20.6
    heading.send_keys(Keys.ENTER)  # from the keyboard
    assert names(browser) == best_first
    heading.click()
    assert names(browser) == best_first[::-1]
    heading.click()
    assert names(browser) == grouped

    check_hints(browser, table)

    put(browser, "filter", "jpeg")
    assert names(browser) == ["jpeg:quality=50"]
    assert "2 of 6" in browser.find_element(By.ID, "filtered").text
    put(browser, "filter", "f8c4")  # a compression rate
    assert len(names(browser)) == 3
    put(browser, "filter", "")

    def texts(selector: str) -> list[str]:
        script = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".filter(node => node.getClientRects().length).map(node => node.textContent)"
        )
        found: list[str] = browser.execute_script(script, selector)
        return found

    assert [text[:2] for text in texts(".board .tabs button[aria-pressed=true]")] == ["32"]
    browser.find_elements(By.CSS_SELECTOR, ".board .tabs button")[1].click()
    assert "tab=64" in browser.execute_script("return location.hash")
    assert len(texts(".panel")) == 1
    headings = "#tables .panel:not([hidden]) thead th"
    before = texts(headings)
    assert not any("GMAC" in text for text in before)
    details = browser.find_element(By.CSS_SELECTOR, ".panel:not([hidden]) details.notes")
    browser.execute_script("arguments[0].open = true", details)
    assert "Images/s:" in details.text
    assert "GMAC" not in details.text
    script = (
        "const box = document.querySelector('#columns input[value=\"decode GMAC\"]');"
        "box.checked = true; box.dispatchEvent(new Event('change'))"
    )
    browser.execute_script(script)
    assert len(texts(headings)) == len(before) + 1
    assert "GMAC: per image" in details.text
    # The address alone brings all of it back.
    shown = "#tables?q=klvae&px=64&sort=psnr%3Aascending&columns=psnr"
    browser.execute_script(f"location.hash = '{shown}'")
    WebDriverWait(browser, 20).until(lambda _: len(texts(headings)) == 2)
    assert texts("#tables tbody tr:not(.section) th") == ["klvae"]
    rows = json.loads(browser.execute_script("return JSON.stringify(chosenRows())"))
    assert [(row["label"], row["resolution"]) for row in rows] == [("klvae", 64)]
    assert rows[0]["psnr"] == pytest.approx(20.625)
    lines = browser.execute_script("return toCsv(chosenRows())").splitlines()
    assert len(lines) == 2
    assert dict(zip(*(line.split(",") for line in lines), strict=False))["label"] == "klvae"
    browser.execute_script("set({ q: '', px: '', tab: '', sort: '', columns: '' })")

    def tips(selector: str) -> list[str]:
        """Hover texts of the marks in sight, first lines alone."""
        script = (
            "return [...document.querySelectorAll(arguments[0] + ' .mark')]"
            ".filter(mark => mark.getClientRects().length)"
            ".map(mark => mark.getAttribute('aria-label').split('\\n')[0])"
        )
        found: list[str] = browser.execute_script(script, selector)
        return sorted(found)

    speed = "figure[data-key=quality-vs-speed-psnr]"
    both = [f"{name}, {size} px" for name in ("klvae", "ssdd") for size in (32, 64)]
    assert tips(speed) == both  # not the codec
    put(browser, "filter", "klvae")  # reaches the figures too
    assert tips(speed) == both[:2]
    put(browser, "filter", "")
    browser.find_element(By.CSS_SELECTOR, "#legend input").click()
    assert tips(speed) == both[2:]  # klvae comes first
    browser.find_element(By.CSS_SELECTOR, "#legend input").click()
    assert tips(speed) == both
    browser.execute_script(f"document.querySelector('{speed} .mark').focus()")
    tip = browser.find_element(By.ID, "tip")
    assert tip.is_displayed()
    assert "PSNR" in tip.text
    assert "images/s" in tip.text
    put(browser, "figure-metric", "fd_effnet", "change")
    assert tips(speed) == []
    assert tips("figure[data-key=quality-vs-speed-fd_effnet]") == both
    assert len(tips("figure[data-key=published-figure]")) == 16

    cut = browser.find_element(By.ID, "cut")
    cut.send_keys(Keys.HOME)
    shown = "return getComputedStyle(document.getElementById('after')).clipPath"
    assert "0%" in browser.execute_script(shown)
    cut.send_keys(Keys.ARROW_RIGHT)
    assert "1%" in browser.execute_script(shown)
    put(browser, "tokenizer", "klvae", "change")
    put(browser, "first", "ssdd", "change")
    caption = browser.find_element(By.ID, "compare-caption")
    assert caption.text == "photo-0.jpg: A ssdd, B klvae"
    browser.find_element(By.ID, "next").send_keys(Keys.ENTER)
    assert caption.text == "photo-1.jpg: A ssdd, B klvae"  # both stay
    loaded = (
        "return [...document.querySelectorAll('#gallery img')]"
        ".map(one => one.complete && one.naturalWidth)"
    )
    browser.execute_script("document.getElementById('gallery').scrollIntoView()")
    WebDriverWait(browser, 20).until(lambda one: set(one.execute_script(loaded)) == {32})

    flicker = browser.find_element(By.ID, "flicker")
    flicker.send_keys(Keys.SPACE)
    seen = "return getComputedStyle(document.getElementById('after')).visibility"
    for state in ("hidden", "visible", "hidden"):
        WebDriverWait(browser, 20).until(lambda one, to=state: one.execute_script(seen) == to)
    flicker.send_keys(Keys.SPACE)
    assert browser.execute_script(seen) == "visible"

    windows = browser.find_elements(By.CSS_SELECTOR, ".tile .window")
    assert len(windows) == 4  # the reference and three tokenizers
    for key in ("+", "+", Keys.ARROW_LEFT):
        windows[2].send_keys(key)
    moved = browser.execute_script(
        "return [...document.querySelectorAll('.tile .window > *')].map(one => one.style.transform)"
    )
    assert len(set(moved)) == 1  # all together
    assert "scale(3)" in moved[0]

    # The reconstructions of the run are the references and 10, 20 or 30 levels more.
    browser.find_element(By.ID, "heat").send_keys(Keys.SPACE)
    browser.execute_script("document.activeElement.blur()")
    maps = [Image.open(io.BytesIO(one.screenshot_as_png)).convert("L") for one in windows[1:]]
    means = [float(np.asarray(one).mean()) for one in maps]
    assert [name.text for name in browser.find_elements(By.CSS_SELECTOR, ".tile button")] == [
        *("original", "jpeg:quality=50", "klvae", "ssdd"),
    ]
    assert means[0] > means[1] + 10 > means[2] + 20 > 20  # and not the images themselves
    put(browser, "heat-scale", "128", "change")
    paler = np.asarray(Image.open(io.BytesIO(windows[1].screenshot_as_png)).convert("L")).mean()
    assert paler < means[0] - 10

    put(browser, "extremes-tokenizer", "klvae", "change")
    thumbs = browser.find_elements(By.CSS_SELECTOR, ".extreme .thumb")
    assert len(thumbs) == 3  # of the fourth image no picture was saved
    worst = texts(".extreme li")[-1]  # decimals as in the tables
    assert re.fullmatch(r"photo-\d\.jpg \d+\.\d\d \([+−]\d+\.\d\d\)", worst)
    named = thumbs[0].get_attribute("aria-label")
    browser.execute_script("arguments[0].click()", thumbs[0])
    assert named == f"Show {caption.text.partition(':')[0]} in the gallery"
    assert caption.text.endswith("A original, B klvae")

    # Paper has all resolutions, and no buttons to choose one of them.
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert texts(".panel > .size") == ["32 px", "64 px"]
    assert texts(".board .tabs") == []
    put(browser, "filter", "nothing has this name")
    assert texts(".panel > .size") == []
    put(browser, "filter", "")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert texts(".panel > .size") == []

    # A finger scrolls the page over images that are shown whole.
    touch = "return getComputedStyle(document.querySelector('.tile .window')).touchAction"
    assert browser.execute_script(touch) == "none"
    browser.execute_script("document.getElementById('zoom-reset').click()")
    assert browser.execute_script(touch) == "pan-y pinch-zoom"

    for width, height in ((1300, 900), (390, 800)):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_async_script(
            "for (const one of document.querySelectorAll('details')) one.open = true;"
            "setTimeout(arguments[0], 50)"
        )
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width  # only tables scroll sideways, in frames of their own
        unreachable = browser.execute_script(
            "return [...document.querySelectorAll('main *')].filter(one =>"
            "  one.scrollWidth > one.clientWidth + 1"
            "  && /auto|scroll/.test(getComputedStyle(one).overflowX)"
            "  && !one.matches('[tabindex]') && !one.querySelector('[tabindex], button, a, input')"
            ").map(one => one.outerHTML.slice(0, 80))"
        )
        assert unreachable == []  # what scrolls, scrolls by keys
        # The menu of columns is whole, at either end of its row.
        for order, margin in (("-1", "0"), ("1", "auto")):
            left, right = browser.execute_async_script(
                "const [order, margin, done] = arguments, menu = document.querySelector('.menu');"
                "menu.open = false; menu.style.order = order; menu.style.marginLeft = margin;"
                "setTimeout(() => { menu.open = true; setTimeout(() => {"
                "const box = menu.lastElementChild.getBoundingClientRect();"
                "done([box.left, box.right]); }, 50); }, 50)",
                order,
                margin,
            )
            assert 0 <= left < right <= width
        tops = browser.execute_script(
            "return ['0', '1'].map(i => document.getElementById(`quality-vs-speed-fd_effnet-${i}`)"
            ".getBoundingClientRect().top)"
        )
        assert (tops[1] - tops[0] > 100) is (width == 390)  # panels below each other

    # A frame has a shadow, over its whole height, at the edges beyond which it scrolls.
    figure = browser.find_element("css selector", "figure[data-key=published-figure]")
    for place, shadows in ((0, (False, True)), (60, (True, True)), (9999, (True, False))):
        browser.execute_script("arguments[0].scrollLeft = arguments[1]", figure, place)
        shown = np.asarray(Image.open(io.BytesIO(figure.screenshot_as_png)).convert("L"), int)
        edges = np.median(shown[10:-20, [2, -3]], axis=0)
        assert tuple(edges < shown.max() - 20) == shadows

    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert requests
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
