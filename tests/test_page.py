"""The page as people use it: real processes, a real browser."""

import json
import os
import re
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.month import lived
from firmware_interface.codecs import Device
from firmware_interface.samples import Sensor, Stream, Unit
from monitor.diary import Diary, Entry
from monitor.labelled import labelled
from monitor.page.frame import ASSETS, asset
from monitor.store import Archive, Store
from tests.served import CHROMIUM, PROGRAM, served, where_it_is

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: `make test` installs it")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt install chromium")

SCREENS = ("/", "/log", "/history", "/answers", "/alerts", "/setup")
LONG_MS = 15_000
COMPUTED_MS = 90_000
"""Findings, at low priority, on a machine that is busy."""
HOSTILE = "<script>window.hacked=1</script><img src=x onerror='window.hacked=2'>"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def looking(browser, page, **how):
    """A window on the page; whatever it asks of another host, or complains of, is a failure."""
    wrong = []
    with browser.new_context(base_url=page.url, **how) as context:
        context.set_default_timeout(LONG_MS)
        window = context.new_page()
        window.on(
            "request", lambda request: request.url.startswith((page.url, "data:")) or wrong.append(request.url)
        )
        window.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        window.on("pageerror", lambda error: wrong.append(str(error)))
        yield window
    assert not wrong


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    """Five weeks of a simulated person, and a device and notes that would like to be markup."""
    folder = tmp_path_factory.mktemp("month")
    lived(folder, 35, 7)
    now_ns = time.time_ns()
    stream = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.1, 500.0, (HOSTILE,))
    store = Store.open(folder)
    store.begin(now_ns=now_ns, version="hostile", settings={})
    store.device(Device(HOSTILE, "S-2", HOSTILE, (stream,)), "F0:5C:1A:00:00:02", now_ns)
    store.close(now_ns)
    with Diary.open(folder) as diary:
        diary.log([Entry("caffeine", now_ns, note=HOSTILE), Entry(HOSTILE, now_ns)], now_ns)
        diary.keep_template(HOSTILE, {"kind": "caffeine"})
    with served(folder) as running:
        yield running


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """The emulated wearable, watched; and the page beside it."""
    folder = tmp_path_factory.mktemp("live")
    command = [PROGRAM, "demo", "--no-page", "--json", "--data", folder]
    with (folder / "told").open("w") as told:
        demo = subprocess.Popen(command, stdout=told, stderr=told)
        try:
            while not (folder / "now.json").exists():
                time.sleep(0.2)
                assert demo.poll() is None
            with served(folder) as running:
                yield running
        finally:
            demo.terminate()
            demo.wait(timeout=30)


def test_twitches_arrive(browser, live):
    """The signal moves at ten frames a second or more on a machine that is not busy; within a minute of its start
    a twitch is marked, and counted beside."""
    with looking(browser, live, timezone_id=where_it_is(12)) as window:
        window.goto("/")
        window.wait_for_function("document.querySelector('fw-signals').frames > 5")
        window.wait_for_function("document.querySelector('fw-signals').marks.length > 0")
        assert window.locator("canvas").count() == 1
        assert "biceps" in window.locator("canvas").get_attribute("aria-label")
        window.get_by_role("cell", name=re.compile("rest|voluntary|artefact|bad contact")).first.wait_for()
        window.locator("figure.shape").first.wait_for()
        window.get_by_role("button", name="Back").click()
        window.get_by_role("button", name="Live").click()
        began = window.evaluate("document.querySelector('fw-signals').frames")
        window.wait_for_timeout(2000)
        drawn = window.evaluate("document.querySelector('fw-signals').frames") - began
        assert drawn >= (20 if os.getloadavg()[0] < 1.5 else 4)
        window.get_by_role("button", name="Hide counts").click()
        assert not window.locator("td.count").first.is_visible()


def test_at_night_counts_are_shown_when_asked_for(browser, live):
    with looking(browser, live, timezone_id=where_it_is(2)) as window:
        window.goto("/")
        show = window.get_by_role("button", name="Show counts")
        show.wait_for()
        assert not window.locator("td.count").first.is_visible()
        show.click()
        window.locator("td.count").first.wait_for()


def test_a_coffee_is_logged_seen_and_undone(browser, live):
    """One tap; what was understood is said; it stands in the history, and goes again."""
    with looking(browser, live) as window:
        window.goto("/log")
        window.get_by_role("button", name="coffee").click()
        window.get_by_text(re.compile("Logged: caffeine 80 mg")).wait_for()
        window.goto("/history")
        window.locator(".entry", has_text="caffeine 80 mg").wait_for()
        window.locator("g.logged").first.wait_for(state="attached")
        window.goto("/log")
        window.get_by_role("button", name="undo the last").click()
        window.get_by_text("Undone: 1 change").wait_for()
        window.goto("/history")
        window.get_by_role("heading", name="Logged in this time").wait_for()
        assert not window.locator(".entry", has_text="caffeine").count()


def test_a_wrong_kind_is_told_and_nothing_is_logged(browser, live):
    """In the words of the diary, with what was meant."""
    with looking(browser, live) as window:
        window.goto("/log")
        window.get_by_label("What", exact=True).fill("cafeine")
        window.get_by_role("button", name="Log it").click()
        window.get_by_text("Did you mean caffeine?").wait_for()


def test_an_alert_is_acknowledged(browser, live):
    """A test alert comes up by itself, and the collector hears the answer."""
    with looking(browser, live) as window:
        window.goto("/alerts")
        window.get_by_role("button", name="Send a test alert").click()
        window.get_by_role("button", name=re.compile("^Acknowledge")).click()
        window.get_by_text(re.compile("no repeats")).wait_for()
        window.get_by_text(re.compile("test acknowledged")).wait_for()
    with Archive.open(live.folder) as archive:
        assert any(alert.acknowledged for alert in archive.alerts())


def test_what_is_missing_for_a_radio_is_said(browser, live):
    """A scan where there is none: the words of the command, with the remedy."""
    with looking(browser, live) as window:
        window.goto("/setup")
        window.get_by_role("button", name="Scan").click()
        window.locator(".notice.warn").first.wait_for()
        window.get_by_role("button", name="forearm").click()
        window.locator(".sites", has_text="flexor carpi radialis").wait_for()
        window.get_by_role("cell", name="good").first.wait_for()


def test_a_report_is_made(browser, live):
    """In a window of its own."""
    with looking(browser, live) as window:
        window.goto("/setup")
        with window.context.expect_page() as opened:
            window.get_by_role("link", name="Make the report").click()
        opened.value.get_by_role("heading", name="Muscle twitches").wait_for()


def test_it_comes_back_after_the_server(browser, live):
    """Killed and started again on its port: the open window goes on by itself."""
    with browser.new_context(base_url=live.url) as context:
        window = context.new_page()
        window.set_default_timeout(4 * LONG_MS)
        window.goto("/")
        window.wait_for_function("document.querySelector('fw-signals').frames > 5")
        window.evaluate("window.before = true")
        live.kill()
        live.start()
        window.wait_for_function("!window.before && document.querySelector('fw-signals')?.frames > 5")
        window.get_by_role("cell", name=re.compile("rest|voluntary|artefact|bad contact")).first.wait_for()


def test_a_twitch_is_labelled(browser, month):
    """Opened from its day, with its neighbours; what is said is exported."""
    with looking(browser, month) as window:
        window.goto("/history?range=day&on=2026-02-04")
        window.locator(".thumbnail").first.click()
        window.get_by_text("Detector's confidence").wait_for()
        window.get_by_role("button", name="Artefact").click()
        window.locator("[aria-pressed=true]", has_text="Artefact").wait_for()
        window.get_by_role("button", name="Close").click()
        window.locator(".thumbnail", has_text="label: artefact").first.wait_for()
    (fields,) = labelled(month.folder)
    assert fields["label"] == "artefact"
    assert len(fields["waveform"]) == 24
    done = subprocess.run([PROGRAM, "labels", "--data", month.folder], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == fields


def test_answers_come_in_words(browser, month):
    """What was suspected beside what was found, with the numbers behind it."""
    with looking(browser, month) as window:
        window.goto("/answers")
        window.get_by_role("row", name=re.compile("caffeine linked")).wait_for(timeout=COMPUTED_MS)
        assert window.locator(".forest svg").is_visible()
        window.locator("summary", has_text="hours after caffeine").first.click()
        window.locator(".lag svg").first.wait_for()


def test_keyboard_alone_suffices(browser, month):
    """From the address line to a logged coffee, and through an hour of the heat map to a twitch."""
    with looking(browser, month) as window:
        window.goto("/")
        window.get_by_role("heading", name="Now", exact=True).wait_for()
        window.keyboard.press("Tab")
        assert window.evaluate("document.activeElement.textContent") == "Skip to the content"
        for _ in range(2):
            window.keyboard.press("Tab")
        assert window.evaluate("document.activeElement.getAttribute('href')") == "/log"
        window.keyboard.press("Enter")
        window.wait_for_url("**/log")
        tap = window.get_by_role("button", name="nothing today")
        tap.wait_for()
        reach(window, "nothing today, confirmed")
        window.keyboard.press("Enter")
        window.get_by_text(re.compile("Logged: nothing")).wait_for()
        window.goto("/history?range=day&on=2026-02-04")
        window.locator(".thumbnail").first.focus()
        window.keyboard.press("Enter")
        window.get_by_role("button", name="Real").wait_for()
        window.keyboard.press("Escape")
        window.get_by_role("button", name="Real").wait_for(state="detached")


def reach(window, label):
    for _ in range(60):
        window.keyboard.press("Tab")
        if window.evaluate("document.activeElement.getAttribute('aria-label')") == label:
            return
    raise AssertionError(f"{label} cannot be reached with Tab")


@pytest.mark.parametrize("colours", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_axe_finds_nothing_serious_and_a_phone_shows_all(browser, month, colours):
    """Every screen, at the width of a small phone: no serious finding, no scrolling sideways, nothing hostile."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with looking(browser, month, viewport={"width": 360, "height": 740}, color_scheme=colours) as window:
        for path in SCREENS:
            window.goto(f"{path}?range=month&on=2026-02-04" if path == "/history" else path)
            window.get_by_role("heading", level=1).wait_for()
            if path == "/answers":
                window.locator(".finding").first.wait_for(timeout=COMPUTED_MS)
            window.wait_for_timeout(300)
            assert window.evaluate("document.scrollingElement.scrollWidth") <= 360, path
            small = window.evaluate(
                "[...document.querySelectorAll('nav a')].filter(a => a.offsetHeight < 44).length"
            )
            assert not small, path
            found = axe.run(window).response["violations"]
            serious = [
                (each["id"], each["nodes"][0]["html"][:200])
                for each in found
                if each["impact"] in ("serious", "critical")
            ]
            assert not serious, path
            assert window.evaluate("[window.hacked, document.querySelectorAll('img[src=x]').length]") == [None, 0]


def test_the_page_comes_with_the_demo(tmp_path):
    """Up within ten seconds on a machine that is not busy; its address is told once it answers there. It ends with
    it, also by force."""
    config = tmp_path / "config.toml"
    config.write_text("[page]\nport = 8600\n")
    began = time.monotonic()
    command = [PROGRAM, "demo", "--page", "--json", "--data", tmp_path / "data", "--config", config]
    demo = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        said = (re.search(r"the page: http://127.0.0.1:(\d+)/", line) for line in demo.stderr)
        port = int(next(filter(None, said))[1])
        assert answers(port)
        if os.getloadavg()[0] < 1.5:
            assert time.monotonic() - began < 10
    finally:
        demo.kill()
        demo.communicate()
    wait_for(lambda: not answers(port), 20)


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def wait_for(what, seconds):
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_every_asset_is_there():
    """By the names that are served."""
    for name in ASSETS:
        assert asset(name)
    manifest = json.loads(asset("manifest.webmanifest"))
    assert (manifest["display"], manifest["start_url"]) == ("standalone", "/log")
    assert {Path(icon["src"]).name for icon in manifest["icons"]} <= set(ASSETS)
