"""The page of recorded times as a picture, by Chromium: `python dev/docs/screenshot.py OUT.png`."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from times_table import parser

from pytest_ocrsweep.baselines.result_json import to_json
from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.errors import OcrsweepError
from pytest_ocrsweep.report import html, recorded
from pytest_ocrsweep.report.charts import charts

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DRIVER = "chromedriver"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--hide-scrollbars"),
)
SIZE = (1440, 900)  # pixels: the first screen, and the head of the table
WAIT_S = 30
SHOWS = "shows"  # the picture's text that holds the digest of what it was made from


def missing() -> str | None:
    """Why no page can be opened; None where one can."""
    if find_spec("selenium") is None:
        return "selenium is not installed: pip install 'pytest-ocrsweep[dev]'"
    if not any(map(shutil.which, BROWSERS)):
        return f"no browser is installed: none of {', '.join(BROWSERS)} is on the path"
    return None if shutil.which(DRIVER) else f"{DRIVER} is not on the path: install it beside the browser"


@contextmanager
def browser(width: int, height: int, *, dark: bool = False) -> Iterator[Chrome]:
    """A fresh Chromium whose pages are `width` by `height` pixels; its logs hold its console and all its requests."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.binary_location = next(found for name in BROWSERS if (found := shutil.which(name)))
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options, Service(shutil.which(DRIVER)))
        try:
            page = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", page)
            theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
            yield driver
        finally:
            driver.quit()


def wait(driver: Chrome, script: str) -> None:
    """Until an expression holds in the page. Raises TimeoutError."""
    until = time.monotonic() + WAIT_S
    while not driver.execute_script(f"return Boolean({script})"):
        if time.monotonic() > until:
            raise TimeoutError(f"the page is not so after {WAIT_S} s: {script}")
        time.sleep(0.02)


def shoot(page: Path, out: Path, digest: str) -> None:
    """A picture of a page once it can be used; it holds the digest as text."""
    with browser(*SIZE) as driver:
        driver.get(page.resolve().as_uri())
        wait(driver, "document.documentElement.dataset.ready")
        driver.save_screenshot(str(out))
    text = PngInfo()
    text.add_text(SHOWS, digest)
    with Image.open(out) as picture:
        picture.load()
    picture.save(out, pnginfo=text, optimize=True)


def shows(report: Report) -> str:
    """The digest of what a page is made from: its points, its charts' words, its templates; no library's version."""
    words = [[chart.name, chart.title, chart.note] for chart in charts(report)]
    made_from = hashlib.sha256(json.dumps([to_json(report), words], sort_keys=True).encode())
    for template in sorted(html.TEMPLATES.iterdir()):
        made_from.update(template.read_bytes())
    return made_from.hexdigest()


def shown(picture: Path) -> str | None:
    """The digest that a picture holds; None for one that holds none."""
    with Image.open(picture) as image:
        return image.info.get(SHOWS)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("out", metavar="OUT.png", type=Path, help="file to write")
    options = made.parse_args()
    if why := missing():
        made.exit(0, f"{options.out} is left as it is: {why}\n")
    try:
        report = recorded.report(options.baselines, options.model, options.gpu, options.grids)
    except OcrsweepError as error:
        made.exit(2, f"{error}\n")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "index.html"
        page.write_text(html.page(report), encoding="utf-8")
        shoot(page, options.out, shows(report))


if __name__ == "__main__":
    main()
