"""What a person sees while it happens: the view at several widths, and the lines of a view without a terminal."""

import asyncio
import json
import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from firmware_interface.ble import Connected, Lost, Radio
from firmware_interface.codecs.open_profile import OpenProfile
from firmware_interface.emulated.arm import Arm, ArmSettings
from firmware_interface.emulated.wearable import Wearable, WearableSettings
from firmware_interface.samples import Gap, GapReason
from monitor import live
from monitor.clock import HostClock
from monitor.collector import Collector, Subject
from monitor.detection.events import Context, State, Twitch
from monitor.detection.settings import DetectorSettings
from monitor.live import Lines, Screen
from monitor.store import Store

CHANNELS = ("biceps", "triceps", "brachioradialis", "FDI")
ROWS = *CHANNELS, "x", "y", "z"


class Heard:
    """A collector that heard `seconds` of wearables, without the waiting."""

    def __init__(self, store, seconds, names=("armband",)):
        self.told = []
        self.store = store
        self.seconds = seconds
        subjects = [Subject(f"C4:5A:00:00:00:0{number}") for number, _ in enumerate(names)]
        self.collector = Collector(Radio([OpenProfile]), store, subjects, DetectorSettings(), HostClock())
        self.collector._tell = lambda device, what: self.told.append((device, what))
        self.names = names

    async def listen(self):
        for number, name in enumerate(self.names):
            arm = ArmSettings(channels=CHANNELS, twitches_per_min=60, lift_off_per_hour=0)
            settings = WearableSettings(name=name, serial=name, loss=0.05, battery_percent=87)
            start_ns = time.monotonic_ns()
            wearable = Wearable(settings, Arm(arm, number + 1), number, start_ns)
            watch = self.collector._watches[number]
            await watch.handle(
                Connected(wearable.device, wearable.codec, start_ns, name, -50, name, (wearable.info,))
            )
            wearable.handle(OpenProfile.START[0].data)
            for notification in wearable.advance(start_ns + round(self.seconds * 1e9)):
                await watch.handle(notification)
        return self


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("live")


def heard(folder, *args, **kwargs):
    store = Store.open(folder)
    store.begin(now_ns=time.time_ns(), version="test", settings={})
    return asyncio.run(Heard(store, *args, **kwargs).listen())


@pytest.fixture(scope="module")
def collector(folder):
    heard_ = heard(folder, 30)
    yield heard_
    heard_.collector._executor.shutdown()
    heard_.store.close(time.time_ns())


def drawn(screen, width):
    with (
        console := Console(width=width, height=24, force_terminal=True, color_system=None, legacy_windows=False)
    ).capture() as out:
        console.print(screen.render())
    return out.get().splitlines()


def screen_after(heard_, width=80):
    screen = Screen(heard_.collector, Console(width=width, force_terminal=True))
    for device, what in heard_.told:
        screen.tell(device, what)
    return screen


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_nothing_wraps_or_is_cut(collector, width):
    lines = drawn(screen_after(collector), width)
    assert all(len(line) <= width for line in lines)
    assert not [line for line in lines if "…" in line]
    assert lines[0].startswith("╭─ armband ─")
    assert re.split(r"  +", lines[1].strip("│ ")) == ["now", "noise", "last 6 s", "twitches", "a minute"]
    for line, channel in zip(lines[2:9], ROWS, strict=True):
        now = r"(rest|voluntary|artefact|bad contact) +\d+(?:\.\d+)? (?:uV|mg)"
        row = rf"│ +(\S+) +{now} +([▁▂▃▄▅▆▇█]+) +(\d+) +(\d+\.\d|–) +│"
        label, _, bars, _, _ = re.fullmatch(row, line).groups()
        assert label == channel
        assert 15 <= len(bars) <= 60
    assert re.match(r"╰─ streaming · battery 87 % · loss \d\.\d % \(all \d\.\d %\) · -50 dBm ─+╯", lines[9])
    assert lines[-1] == "Ctrl-C ends"
    assert [line for line in lines[10:-1] if re.match(r"\d\d:\d\d:\d\d twitch on \w+: ", line)]
    assert len(lines) <= 24


def test_twitches_and_rates_are_those_that_were_said(collector):
    said = [what.channel for _, what in collector.told if isinstance(what, Twitch)]
    view = collector.collector.views()[0]
    assert {channel.label: channel.twitches for channel in view.channels} == {c: said.count(c) for c in ROWS}
    assert len(said) > 5
    lines = drawn(screen_after(collector), 80)
    for line, channel in zip(lines[2:9], view.channels, strict=True):
        rate = f"{60 * channel.twitches / channel.analysable_s:.1f}" if channel.analysable_s > 15 else "–"
        assert line.split()[-3:-1] == [str(channel.twitches), rate]


def test_bars_show_the_newest_on_the_right_and_all_six_seconds():
    trace = np.full(60, 2.0)
    trace[-1], trace[0] = 48.0, 4.0
    wide, narrow = live._bars(trace, 2.0, 80), live._bars(trace, 2.0, 30)
    assert (len(wide), len(narrow)) == (60, 30)
    assert wide == "▁" * 59 + "█"
    assert narrow == "▁" * 29 + "█"
    assert len(live._bars(trace, 2.0, 25)) == 20
    assert live._bars(trace, float("nan"), 30) == ""


def test_what_is_estimated_says_so_and_electrodes_are_shown(collector):
    view = collector.collector.views()[0]
    assert "estimated" not in live._link(view)
    told = live._link(replace(view, loss=0.01, loss_exact=False, impedance_ohm=(12_000, 2_400_000)))
    assert "(all 1.0 %, estimated)" in told
    assert told.endswith("12/2400 kΩ")


def test_two_devices_are_told_apart(tmp_path):
    two = heard(tmp_path, 1, ("left", "right"))
    try:
        lines = drawn(screen_after(two), 80)
    finally:
        two.collector._executor.shutdown()
        two.store.close(time.time_ns())
    assert [line.split()[1] for line in lines if line.startswith("╭")] == ["left", "right"]
    assert any(re.match(r"\d\d:\d\d:\d\d left: connected", line) for line in lines)
    assert any(re.match(r"\d\d:\d\d:\d\d right: connected", line) for line in lines)


def test_trouble_stays_in_sight(collector):
    collector.collector.troubles["store"] = "not stored for now: no room left on the disk"
    try:
        lines = drawn(screen_after(collector), 80)
    finally:
        collector.collector.troubles.clear()
    assert "not stored for now: no room left on the disk" in lines


def test_long_news_is_one_line(collector):
    screen = Screen(collector.collector, Console())
    screen.tell("armband", Lost(GapReason.DISCONNECTED, 0, "why " * 40))
    lines = drawn(screen, 80)
    assert lines[10].endswith("…")
    assert lines[11] == "Ctrl-C ends"


def events(collector):
    found = [(device, what) for device, what in collector.told if isinstance(what, Twitch)]
    stream = next(what.device.streams[0] for _, what in collector.told if isinstance(what, Connected))
    extra = [
        Gap(stream, 0, 10**10, 10_000, GapReason.STOPPED, exact=False),
        Context(State.VOLUNTARY, "FDI", 0, 2.0),
    ]
    return [*found, *(("armband", each) for each in extra)]


def test_lines_are_json_for_events_and_words_go_to_standard_error(collector, capfd):
    with Lines(as_json=True, gone=pytest.fail) as view:
        for device, what in events(collector):
            view.tell(device, what)
        view.tell("", "not stored for now")
        view.tell("armband", Lost(GapReason.STALLED, 0, "silence"))
    out, err = capfd.readouterr()
    objects = [json.loads(line) for line in out.splitlines()]
    assert [o["type"] for o in objects[-3:]] == ["twitch", "gap", "context"]
    assert all(o["device"] == "armband" for o in objects)
    now = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    said = f"{now} not stored for now\n{now} armband: stalled, reconnecting \\(silence\\)\n"
    assert re.fullmatch(said, err)


def test_lines_are_plain_for_a_person(collector, capfd):
    with Lines(as_json=False, gone=pytest.fail) as view:
        for device, what in events(collector):
            view.tell(device, what)
    out, err = capfd.readouterr()
    twitch = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d armband: twitch on \w+: .* uV peak to peak, \d+ ms, SNR \d+$"
    assert re.search(twitch, out, re.MULTILINE)
    assert "armband: gap of 10.0 s on emg: stopped\n" in out
    assert "armband: voluntary on FDI for 2.0 s\n" in out
    assert err == ""


def test_a_reader_that_hangs_holds_nobody_up(monkeypatch, capfd):
    """A pipe that nobody reads takes 64 kB; what is beyond waits, and then is left out and counted."""
    monkeypatch.setattr(live, "_LINES_WAITING", 100)
    monkeypatch.setattr(live, "_LEAVE_S", 0.2)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        view = Lines(as_json=False, gone=lambda: None)
        began = time.monotonic()
        with view:
            for number in range(3000):
                view.tell("", f"{number:0100}")
                if number % 50 == 0:
                    time.sleep(0.005)
        assert time.monotonic() - began < 5
        assert view._left_out > 1000
        said = os.read(reading, 2 * len(f"2026-11-22 22:00:00 {0:0100}\n")).decode().splitlines()
        assert [line.split()[-1] for line in said] == [f"{0:0100}", f"{1:0100}"]
        os.close(reading)
        view._thread.join(5)
        assert not view._thread.is_alive()


def test_a_reader_that_leaves_is_told_of_once(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    gone = []
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with Lines(as_json=False, gone=lambda: gone.append(1)) as view:
            view.tell("", "one")
            view.tell("", "two")
    assert gone == [1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_ends_nothing(monkeypatch, capfd):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", full)
        with Lines(as_json=False, gone=pytest.fail) as view:
            view.tell("", "one")
            view.tell("", "two")
            while view._left_out < 2:
                time.sleep(0.01)
    assert capfd.readouterr().err == "2 lines could not be written and were left out; all is stored\n"
