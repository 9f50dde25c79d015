"""Makes docs/screens/*.png, the pictures of the page: a live demo, and a simulated month.

.venv/bin/python docs/screens.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import Browser, sync_playwright

from benchmarks.month import lived
from tests.served import CHROMIUM, PROGRAM, served, where_it_is

PLACE = Path(__file__).with_name("screens")
_LAPTOP, _PHONE = {"width": 1180, "height": 820}, {"width": 390, "height": 780}
_WATCHED_S = 60


def main() -> None:
    """Watch for a while, and take the pictures."""
    PLACE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        _live(browser, Path(folder) / "live")
        _month(browser, Path(folder) / "month")
        browser.close()


def _live(browser: Browser, folder: Path) -> None:
    command = [PROGRAM, "demo", "--no-page", "--json", "--data", folder]
    demo = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        time.sleep(_WATCHED_S)
        with served(folder) as page:
            _take(browser, page.url, "/", "now", seconds=12, tall=1160)
            _take(browser, page.url, "/", "now-phone", phone=True, seconds=8)
            _take(browser, page.url, "/log", "log")
            _take(browser, page.url, "/alerts", "alerts", act="Send a test alert", seconds=4)
            _take(browser, page.url, "/setup", "setup", seconds=3)
    finally:
        demo.terminate()
        demo.wait()


def _month(browser: Browser, folder: Path) -> None:
    lived(folder, 35, 7)
    with served(folder) as page:
        _take(browser, page.url, "/history?range=month&on=2026-02-04", "history", tall=1050)
        _take(browser, page.url, "/answers", "answers", wanted=".finding", tall=1050)


def _take(
    browser: Browser,
    url: str,
    path: str,
    name: str,
    *,
    phone: bool = False,
    act: str = "",
    wanted: str = "h1",
    seconds: float = 1.0,
    tall: int = 0,
) -> None:
    size = _PHONE if phone else _LAPTOP | ({"height": tall} if tall else {})
    scheme = "dark" if phone else "light"
    with browser.new_context(viewport=size, color_scheme=scheme, timezone_id=where_it_is(12)) as context:  # type: ignore[arg-type]
        window = context.new_page()
        window.goto(url + path)
        window.locator(wanted).first.wait_for(timeout=120_000)
        if act:
            window.get_by_role("button", name=act).click()
        window.wait_for_timeout(seconds * 1000)
        window.screenshot(path=PLACE / f"{name}.png")


if __name__ == "__main__":
    main()
