"""The page in headless Chromium, as people use it: by mouse, by keyboard, in the dark, on a phone, on paper."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import drifting
import pytest
import red_run
import screenshot

from pytest_ocrsweep.baselines.verdict import Verdict
from pytest_ocrsweep.model.geometry import CropGrid
from pytest_ocrsweep.report import compare_page, compare_sources, html, past, recorded, sqlite, trends
from pytest_ocrsweep.report.comparison import compare

if why := screenshot.missing():
    pytest.skip(f"the page is not tried in a browser: {why}", allow_module_level=True)

from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

ROOT = Path(__file__).parents[2]
READY_MS = 1000
FAILING = ("prefill", "2x3", "flash")
READY = "document.documentElement.dataset.ready"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    found = recorded.report(ROOT / "baselines", "deepseek-ocr", "nvidia-h200")
    points = (
        replace(point, verdict=Verdict.FAIL) if str(point) == " ".join(FAILING) else point for point in found.points
    )
    report = replace(found, points=tuple(points))
    file = tmp_path_factory.mktemp("page") / "index.html"
    file.write_text(html.page(report), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    with screenshot.browser(1440, 900) as made:
        yield made


@pytest.fixture
def opened(driver: Chrome, page: str) -> Chrome:
    """The page anew; what earlier tests logged is dropped."""
    for log in ("browser", "performance"):
        driver.get_log(log)
    driver.get(page)
    screenshot.wait(driver, READY)
    return driver


def one(driver: Chrome, selector: str) -> WebElement:
    return driver.find_element(By.CSS_SELECTOR, selector)


def rows(driver: Chrome) -> list[list[str]]:
    script = "return [...document.querySelectorAll('#points tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    found: list[list[str]] = driver.execute_script(script)
    return found


def column(driver: Chrome, heading: str) -> list[str]:
    headings = [each.text.rstrip(" ▲▼") for each in driver.find_elements(By.CSS_SELECTOR, "#points thead th")]
    return [row[headings.index(heading)] for row in rows(driver)]


def sort_by(driver: Chrome, name: str) -> str | None:
    one(driver, f"th[data-name={name}] button").click()
    return one(driver, f"th[data-name={name}]").get_attribute("aria-sort")


def drawn(driver: Chrome, name: str) -> None:
    driver.execute_script(f"document.getElementById('{name}').scrollIntoView()")
    assert driver.find_elements(By.CSS_SELECTOR, f"#{name} svg.panel")


def marks(driver: Chrome, name: str) -> int:
    """Marks of a chart that are seen."""
    script = "[...document.querySelectorAll(`#${arguments[0]} .panel [data-id]`)]"
    seen = "m => m.getClientRects().length && !m.classList.contains('off')"
    found: int = driver.execute_script(f"return {script}.filter({seen}).length", name)
    return found


def shown(driver: Chrome) -> str:
    return one(driver, "#shown").text


def test_the_page_can_be_used_within_a_second(opened: Chrome) -> None:
    ms = int(opened.execute_script(f"return {READY}"))
    print(f"138 points: interactive after {ms} ms")
    assert ms <= READY_MS


def test_six_thousand_points_can_be_used_within_a_second_and_filter_at_once(driver: Chrome, tmp_path: Path) -> None:
    found = recorded.report(ROOT / "baselines", "deepseek-ocr", "nvidia-h200")
    points = (
        replace(point, grid=CropGrid(point.grid.rows, point.grid.columns + 9 * times))
        for times in range(44)
        for point in found.points
    )
    report = replace(found, points=tuple(points))
    file = tmp_path / "index.html"
    file.write_text(html.page(report), encoding="utf-8")
    driver.get(file.as_uri())
    screenshot.wait(driver, READY)
    ms = int(driver.execute_script(f"return {READY}"))
    print(f"{len(report.points)} points: interactive after {ms} ms")
    assert ms <= READY_MS
    one(driver, "input[name=grid]").send_keys("1x90")
    assert shown(driver) == "6 of 6,072 points"
    drawn(driver, "roofline")


def test_failing_points_come_first(opened: Chrome) -> None:
    assert rows(opened)[0][:4] == ["FAIL", *FAILING]
    assert column(opened, "verdict")[1:] == ["RECORDED"] * 24


def test_points_are_filtered_by_stage_attention_and_grid(opened: Chrome) -> None:
    assert shown(opened) == "138 of 138 points"
    one(opened, "input[value=vision]").click()
    one(opened, "input[value=eager]").click()
    assert shown(opened) == "46 of 138 points"
    one(opened, "input[name=grid]").send_keys("2x*, 9..9 crops")
    assert set(column(opened, "grid")) == {"2x1", "2x2", "2x3", "2x4", "1x9", "3x3", "9x1"}
    assert set(column(opened, "attention")) == {"flash"}
    one(opened, "button[type=reset]").click()
    screenshot.wait(opened, "document.querySelector('#shown').textContent.startsWith('138 of')")


def test_filters_that_nothing_fits_say_so(opened: Chrome) -> None:
    one(opened, "input[name=grid]").send_keys("77x")
    assert rows(opened) == [["No point fits these filters."]]


def test_a_verdict_is_a_filter(opened: Chrome) -> None:
    button = one(opened, "button[data-verdict=FAIL]")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert [row[:4] for row in rows(opened)] == [["FAIL", *FAILING]]


def test_charts_are_filtered_too(opened: Chrome) -> None:
    drawn(opened, "time")
    assert marks(opened, "time") == 138
    opened.execute_script("document.querySelector('input[value=vision]').click()")
    assert marks(opened, "time") == 92
    opened.execute_script("document.querySelector('input[value=eager]').click()")
    assert marks(opened, "time") == marks(opened, "roofline") == 46
    opened.execute_script("document.querySelector('input[name=grid]').scrollIntoView()")
    one(opened, "input[name=grid]").send_keys("2x3")
    assert marks(opened, "time") == 2


def test_a_column_sorts_up_and_then_down_by_its_numbers(opened: Chrome) -> None:
    assert sort_by(opened, "device_ns") == "ascending"
    up = [float(text.replace(",", "")) for text in column(opened, "device ms")]
    assert up == sorted(up)
    assert sort_by(opened, "device_ns") == "descending"
    down = [float(text.replace(",", "")) for text in column(opened, "device ms")]
    assert down == sorted(down, reverse=True)
    assert down[0] > up[-1]
    assert one(opened, "th[data-name=verdict]").get_attribute("aria-sort") == "none"


def test_grids_sort_by_crops_and_then_rows(opened: Chrome) -> None:
    sort_by(opened, "grid")
    assert list(dict.fromkeys(column(opened, "grid")))[:4] == ["1x1", "1x2", "2x1", "1x3"]


def test_pages_turn(opened: Chrome) -> None:
    assert one(opened, "#range").text == "1–25 of 138"
    one(opened, "#next").click()
    assert one(opened, "#range").text == "26–50 of 138"
    one(opened, "#previous").click()
    assert one(opened, "#range").text == "1–25 of 138"
    assert not one(opened, "#previous").is_enabled()


def test_hovering_over_a_row_shows_its_ledger(opened: Chrome) -> None:
    ledger = one(opened, "#ledger")
    assert not ledger.is_displayed()
    ActionChains(opened).move_to_element(one(opened, "#points tbody tr td:nth-child(6)")).perform()
    assert ledger.is_displayed()
    words = ledger.text.split()
    assert words[:4] == ["prefill", "2x3", "flash", "FAIL"]
    assert {"sam", "clip", "projector", "decoder/attn", "decoder/experts", "head"} <= set(words)
    ActionChains(opened).move_to_element(one(opened, "h1")).perform()
    assert not ledger.is_displayed()


def test_hovering_over_a_mark_shows_its_ledger(opened: Chrome) -> None:
    drawn(opened, "roofline")
    mark = opened.find_elements(By.CSS_SELECTOR, "#roofline .panel [data-id]")[-1]
    ActionChains(opened).move_to_element(mark).perform()
    screenshot.wait(opened, "!document.querySelector('#ledger').hidden")
    assert one(opened, "#ledger h3").text.split()[0] in ("vision", "prefill", "decode")


def test_the_table_is_used_by_keyboard(opened: Chrome) -> None:
    head = one(opened, "th[data-name=bound] button")
    opened.execute_script("arguments[0].focus()", head)
    ActionChains(opened).send_keys(Keys.TAB).perform()  # from the last heading into the first row
    assert one(opened, "#ledger h3").text.split() == [*FAILING, "FAIL"]
    ActionChains(opened).send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN).perform()
    focused = opened.switch_to.active_element
    assert focused.get_attribute("data-id") == opened.execute_script(
        "return document.querySelectorAll('#points tbody tr')[2].dataset.id"
    )
    assert one(opened, "#ledger").is_displayed()
    ActionChains(opened).send_keys(Keys.ESCAPE).perform()
    assert not one(opened, "#ledger").is_displayed()
    ActionChains(opened).send_keys(Keys.END, Keys.ARROW_DOWN).perform()
    assert one(opened, "#range").text == "26–50 of 138"
    ActionChains(opened).send_keys(Keys.PAGE_UP).perform()
    assert one(opened, "#range").text == "1–25 of 138"


def test_headings_sort_by_keyboard(opened: Chrome) -> None:
    opened.execute_script("arguments[0].focus()", one(opened, "th[data-name=flops] button"))
    ActionChains(opened).send_keys(Keys.ENTER).perform()
    assert one(opened, "th[data-name=flops]").get_attribute("aria-sort") == "ascending"


def test_light_and_dark_follow_the_system_until_chosen(page: str) -> None:
    with screenshot.browser(1440, 900, dark=True) as driver:
        driver.get(page)
        screenshot.wait(driver, READY)

        def background() -> str:
            found: str = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
            return found

        dark = background()
        assert one(driver, "#theme").text == "Theme: system"
        one(driver, "#theme").click()
        assert one(driver, "#theme").text == "Theme: light"
        assert background() != dark
        one(driver, "#theme").click()
        assert background() == dark


def test_a_phone_needs_no_sideways_scrolling(page: str) -> None:
    with screenshot.browser(400, 800) as driver:
        driver.get(page)
        screenshot.wait(driver, READY)
        drawn(driver, "time")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 400
        assert driver.execute_script("return document.querySelector('#time .panels').scrollWidth") <= 400
        driver.execute_script("document.querySelector('#points tbody tr').focus()")
        assert driver.execute_script("const l = ledger; return l.scrollWidth <= l.clientWidth")


def test_paper_has_every_point_and_no_controls(opened: Chrome) -> None:
    opened.execute_script("dispatchEvent(new Event('beforeprint'))")
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert len(rows(opened)) == 138
        assert not one(opened, "#filters").is_displayed()
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        opened.execute_script("dispatchEvent(new Event('afterprint'))")
    assert len(rows(opened)) == 25


def test_every_chart_is_drawn_without_an_error_or_a_request(opened: Chrome, page: str) -> None:
    names = [each.get_attribute("id") for each in opened.find_elements(By.CSS_SELECTOR, "figure")]
    assert len(names) == 7
    for name in names:
        drawn(opened, str(name))
    assert opened.find_elements(By.CSS_SELECTOR, ".error") == []
    assert opened.get_log("browser") == []
    events: list[dict[str, Any]] = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert asked - {page} == {url for url in asked if url.startswith("data:")}
    assert page in asked


def answer(driver: Chrome) -> str:
    return one(driver, "#page").text


def test_the_first_screen_is_of_another_page_engine_or_device_at_once(opened: Chrome) -> None:
    assert answer(opened).startswith("One 2x3 page takes 261.6 ms: prefill 39.3")
    for name, choice, said in (
        ("page", "1x1", "One 1x1 page takes"),
        ("attention", "eager", "One 1x1 page takes"),
        ("device", "NVIDIA B200", "estimated"),
        ("engine", "vllm", "estimated"),
        ("page", "1x9", "vllm does not take a page of 1x9 there."),
        ("device", "AMD Instinct MI300X", "vllm does not take"),
        ("page", "2x3", "takes at least 20.8 ms"),
    ):
        Select(one(opened, f"#switches [name={name}]")).select_by_visible_text(choice)
        screenshot.wait(opened, f"document.querySelector('#page').textContent.replace(/\\s+/g, ' ').includes('{said}')")
    assert Select(one(opened, "#switches [name=attention]")).first_selected_option.text == "flash"


def test_a_price_gives_dollars_and_keeps_to_the_page(opened: Chrome) -> None:
    assert "price not given" in answer(opened)
    one(opened, "#switches [name=price]").send_keys("2.5")
    assert "$ 182 a million pages" in answer(opened)
    Select(one(opened, "#switches [name=page]")).select_by_visible_text("1x1")
    screenshot.wait(opened, "document.querySelector('#page').textContent.includes('1x1')")
    assert "$ 16" in answer(opened)


def test_switches_are_used_by_keyboard(opened: Chrome) -> None:
    opened.execute_script("document.querySelector('#switches [name=page]').focus()")
    ActionChains(opened).send_keys("1x2", Keys.TAB).perform()
    screenshot.wait(opened, "document.querySelector('#page').textContent.includes('One 1x2 page')")
    assert opened.switch_to.active_element.get_attribute("name") == "attention"


def test_without_script_the_first_screen_the_charts_and_what_moved_are_there(tmp_path: Path) -> None:
    file = tmp_path / "index.html"
    file.write_text(html.page(red_run.red(red_run.green("1x1,2x3"))), encoding="utf-8")
    with screenshot.browser(1440, 900) as driver:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        driver.get(file.as_uri())
        assert answer(driver).startswith("One 2x3 page takes 267.8 ms")
        assert "decode 2x3 flash" in one(driver, "#moved").text
        assert one(driver, "#time svg.panel").is_displayed()
        assert not one(driver, "#filters").is_displayed()
        assert "filled by script" in one(driver, "#points").text


AXE = Path("node_modules/axe-core/axe.min.js")  # `npm install axe-core`, in this folder or one above


def axe() -> Path | None:
    return next((folder / AXE for folder in Path(__file__).parents if (folder / AXE).is_file()), None)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (390, False)])
@pytest.mark.parametrize("which", ["index.html", "compare.html"])
def test_axe_finds_no_violation(which: str, width: int, *, dark: bool, tmp_path: Path) -> None:
    if (script := axe()) is None:
        pytest.skip("axe-core is not installed: npm install axe-core")
    green, red = red_run.green("1x1,2x3"), red_run.red(red_run.green("1x1,2x3"))
    for run in (green, red):
        sqlite.write(run, tmp_path / "sweep.sqlite")
    found = trends.read(tmp_path / "sweep.sqlite", red)
    whole = html.page(red, None, found, 2.5)
    sides = (str(tmp_path / "sweep.sqlite#1"), str(tmp_path / "sweep.sqlite#2"))
    compared = compare_page.page(compare(*compare_sources.sides(*sides, None, [])))
    file = tmp_path / which
    file.write_text({"index.html": whole, "compare.html": compared}[which], encoding="utf-8")
    with screenshot.browser(width, 900, dark=dark) as driver:
        driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
        driver.get(file.as_uri())
        if which == "index.html":
            screenshot.wait(driver, READY)
        driver.execute_script(script.read_text(encoding="utf-8"))
        run_axe = "const done = arguments[0]; axe.run().then((found) => done(found.violations))"
        violations = driver.execute_async_script(run_axe)
    print([(each["id"], [node["html"] for node in each["nodes"]][:5]) for each in violations])
    assert [each["id"] for each in violations] == []


def test_the_policy_stops_a_request(opened: Chrome) -> None:
    script = "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('sent'), e => done(e.message))"
    assert opened.execute_async_script(script) == "Failed to fetch"
    assert any("Content Security Policy" in entry["message"] for entry in opened.get_log("browser"))


def test_where_the_time_of_a_point_goes_is_shown_by_component_by_kind_and_by_line(opened: Chrome) -> None:
    def choose(name: str, text: str) -> list[str]:
        Select(one(opened, f"#{name}")).select_by_visible_text(text)
        return [row.text for row in opened.find_elements(By.CSS_SELECTOR, "#times tbody tr")]

    choose("profiled", "decode 2x3 flash")
    parts = choose("time-by", "component")
    assert parts[0].startswith("decoder/attn 0.6")
    assert parts[-1].startswith("between kernels 0.2")
    assert any(row.startswith("attention ") for row in choose("time-by", "kind"))
    assert any(row.startswith("decoder/attn/fused ") for row in choose("time-by", "line"))
    assert one(opened, "#time-total").text.startswith("2.2")


def test_a_points_history_is_a_dot_a_process_and_a_line_where_it_moved(driver: Chrome, tmp_path: Path) -> None:
    drifting.record(tmp_path)
    found = recorded.report(ROOT / "baselines", "deepseek-ocr", "nvidia-h200")
    file = tmp_path / "index.html"
    file.write_text(html.page(found.beside(past.histories(found, tmp_path))), encoding="utf-8")
    driver.get_log("browser")
    driver.get(file.as_uri())
    screenshot.wait(driver, READY)
    assert one(driver, "#history-about").text == "11 processes, 2026-03-01 to 2026-08-01; the last +2.1 %"
    dots = driver.find_elements(By.CSS_SELECTOR, "#past circle")
    assert len(dots) == len(drifting.PERCENTS)
    titles = [dot.get_attribute("textContent") for dot in dots]
    assert titles[5] == "2026-05-15T12:00:00Z, node2: 234.373 ms, +5.1 %, disagrees"
    heights = [float(dot.get_attribute("cy") or 0) for dot in dots]
    assert min(heights) == heights[5]
    assert len(driver.find_elements(By.CSS_SELECTOR, "#past .moved")) == 1
    with screenshot.browser(390, 844) as phone:
        phone.get(file.as_uri())
        screenshot.wait(phone, READY)
        letters = "return [...document.querySelectorAll('#past text')].map((each) => each.getBoundingClientRect())"
        boxes = phone.execute_script(letters)
        assert boxes
        assert all(box["height"] >= 9 and box["left"] >= 0 and box["right"] <= 390 for box in boxes)
        shown = "return [...document.querySelectorAll('.part span')].filter((each) => each.offsetWidth)"
        labels = phone.execute_script(f"{shown}.map((each) => [each.offsetWidth, each.parentElement.clientWidth])")
        assert labels
        assert all(label <= part for label, part in labels)  # one that has no room is not shown
    assert [log for log in driver.get_log("browser") if log["level"] == "SEVERE"] == []


def test_a_page_without_a_history_has_no_section_for_it(opened: Chrome) -> None:
    assert opened.find_elements(By.CSS_SELECTOR, "#history") == []
