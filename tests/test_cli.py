"""The command as people use it: the real program, in a process of its own where it collects, else in this one."""

import codecs
import fcntl
import itertools
import json
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import numpy as np
import pytest
from edfio import Edf, EdfSignal

from firmware_interface.ble import Radio
from firmware_interface.codecs import Examination
from firmware_interface.codecs.open_profile import Opcode
from firmware_interface.emulated.peripheral import WornWearable
from firmware_interface.virtual_radio import VirtualRadio
from monitor import cli, config
from monitor.collector import Subject
from monitor.store import Archive, Store
from tests.test_collector import FIRST, SmallDisk, Wearing

PROGRAM = Path(sys.executable).with_name("fasciwatch")
ROOT = Path(__file__).parents[1]
CSV = "time,FDI [uV]\n" + "".join(f"{n / 1000:.3f},{n % 7}\n" for n in range(3000))
COMMANDS = [command.name or command.callback.__name__ for command in cli.app.registered_commands]
LONG_S = 60
"""How long a loaded machine may take."""


_AS_IN_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.environ["TERM"] = "xterm"
os.execv(sys.argv[1], sys.argv[1:])
"""


class Demo:
    """`fasciwatch demo` in a process of its own, and what it has said so far."""

    def __init__(self, folder, *options, terminal=None, lines=None):
        self.folder = folder
        self.out, self.err = [], []
        command = [PROGRAM, "demo", "--data", folder, *options]
        self._hung_up = threading.Event()
        if terminal:
            command = [sys.executable, "-c", _AS_IN_A_TERMINAL, *command]
            ours, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *terminal, 0, 0))
            self.process = subprocess.Popen(
                command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
            )
            os.close(theirs)
            listening = [(self._listen_to_terminal, ours)]
        else:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            listening = [
                (self._listen, self.process.stdout, self.out, lines),
                (self._listen, self.process.stderr, self.err),
            ]
        self._threads = [threading.Thread(target=each[0], args=each[1:], daemon=True) for each in listening]
        for thread in self._threads:
            thread.start()

    def _listen(self, file, said, lines=None):
        with file:
            said.extend(itertools.islice(iter(file.readline, ""), lines))

    def _listen_to_terminal(self, terminal):
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # a read may end within a character
        with suppress(OSError):
            while not self._hung_up.is_set():
                if select.select([terminal], [], [], 0.05)[0]:
                    self.out.append(decoder.decode(os.read(terminal, 65536)))
        os.close(terminal)

    def close_terminal(self):
        self._hung_up.set()

    def until(self, condition):
        deadline = time.monotonic() + LONG_S
        while not condition(self):
            assert time.monotonic() < deadline, (self.out, self.err)
            assert self.process.poll() is None, (self.out, self.err)
            time.sleep(0.02)
        return self

    def twitches(self):
        return [line for line in list(self.out) if "twitch" in line and not line.startswith("fasciwatch")]

    def end(self, number=signal.SIGINT):
        """The exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self):
        code = self.process.wait(LONG_S)
        for thread in self._threads:
            thread.join(5)
        return code

    def kill(self):
        self.process.kill()
        self.ended()


def say(capfd, *arguments):
    """Run a command here: (exit code, standard output, standard error)."""
    before, sys.argv = sys.argv, ["fasciwatch", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        sys.argv = before
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return ended.value.code or 0, out, err


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module", autouse=True)
def demos(tmp_path_factory):
    """Several at once, from the start, for they take their time."""
    folder = tmp_path_factory.mktemp("demos")
    try:
        disk = SmallDisk(folder / "disk")
    except pytest.skip.Exception:
        disk = None
    demos = {
        "json": Demo(folder / "json", "--json"),
        "screen": Demo(folder / "screen", terminal=(24, 80)),
        "head": Demo(folder / "head", lines=2),
        "full": Demo(disk.path / "data", "--json") if disk else None,
    }
    yield {**demos, "disk": disk}
    for demo in filter(None, demos.values()):
        demo.kill()
    if disk:
        disk.close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Nobody's settings and data."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


# Ends, in this process ----------------------------------------------------------------------------------------


def test_signals_however_many_end_it_once_with_stop_and_all_stored(tmp_path, capfd):
    """An impatient person: Ctrl-C again and again must not cut short what it began."""
    wearable = []

    @asynccontextmanager
    async def source():
        wearable.append(Wearing())
        async with VirtualRadio() as air, WornWearable(air, wearable[0], FIRST):
            yield Radio(cli.FAMILIES, air.backend), [Subject(FIRST)]

    def interrupt():
        while not wearable or Opcode.START not in wearable[0].requests:
            time.sleep(0.01)
        time.sleep(1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGINT) * 20:
            os.kill(os.getpid(), number)
            time.sleep(0.002)

    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    ignored = signal.signal(signal.SIGINT, signal.SIG_DFL)  # whatever pytest has there
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with _deaf_afterwards():
            cli._collect(source, tmp_path, config.Settings(), json_lines=True, duration_s=30)
            thread.join()
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert wearable[0].requests == [Opcode.START, Opcode.STOP]
    with Archive.open(tmp_path) as archive:
        (session,) = archive.sessions()
        assert session.ended_ns is not None
        assert sum(m.observed_s for _, m in archive.minutes(0, 1 << 62)) > 0.5


def _deaf_afterwards():
    """Signals that come after the session must not end pytest."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    class _Deaf:
        def __enter__(self):
            self.before = {n: signal.signal(n, lambda *_: None) for n in numbers}

        def __exit__(self, *_):
            for number, handler in self.before.items():
                signal.signal(number, handler)

    return _Deaf()


async def test_scan_names_the_wearable_its_streams_and_how_to_start_it(capfd):
    async with VirtualRadio() as air, WornWearable(air, wearable := Wearing(), FIRST):
        await air.add_peripheral("stranger", "C4:5A:00:00:00:02", [])
        found = await cli._survey(Radio(cli.FAMILIES, air.backend), 0.4)
    assert Opcode.START not in wearable.requests
    cli._print_survey(found, everything=False, json_lines=True)
    (device,) = objects(capfd.readouterr().out)
    assert device.pop("rssi_dbm") < 0
    emg, acc = device.pop("streams")
    assert (emg["name"], emg["rate_hz"], emg["channels"], acc["unit"]) == ("emg", 1000.0, ["biceps", "FDI"], "g")
    assert device == {
        "type": "device",
        "address": FIRST,
        "name": "armband",
        "supported": True,
        "family": "open profile",
        "serial": "armband",
        "firmware": "emulated",
        "trouble": None,
        "test": None,
        "advice": "Switch the board on",
        "start": "fasciwatch run",
    }
    cli._print_survey(found, everything=True, json_lines=False)
    out, err = capfd.readouterr()
    ours = rf"^{FIRST} +armband +-\d+ dBm +open profile +emg 1000 Hz × 2 \(uV\), acc 100 Hz × 3 \(g\)$"
    assert re.search(ours, out, re.MULTILINE)
    assert re.search(r"^C4:5A:00:00:00:02 +stranger +-\d+ dBm +not supported$", out, re.MULTILINE)
    assert "to watch it: fasciwatch run\n" in err
    tested = Examination(
        passed=False, found="no square wave", impedance_ohm=(9000, 2_400_000), lead_off=(False, True)
    )
    (ours,) = (each for each in found if each[0].codec)
    cli._print_survey([(*ours[:2], tested)], everything=False, json_lines=False)
    said = "armband: FAILED: no square wave; channel 1 9 kΩ, channel 2 2400 kΩ (no contact)"
    assert said in " ".join(capfd.readouterr().err.split())
    cli._print_survey((), everything=False, json_lines=False)
    out, err = capfd.readouterr()
    assert (out, "scan --all" in err) == ("", True)
    assert all(family.ADVICE in err.replace("\n", " ") for family in cli.FAMILIES)
    cli._print_survey([(ours[0], "no answer in time", None)], everything=False, json_lines=False)
    assert "open profile: Switch the board on\n" in capfd.readouterr().err


def test_a_recorded_session_is_stored_listed_and_replayed(home, monkeypatch, capfd):
    @asynccontextmanager
    async def source(_):
        async with VirtualRadio() as air, WornWearable(air, Wearing(loss=0.5), FIRST):
            yield Radio(cli.FAMILIES, air.backend), [Subject(FIRST)]

    monkeypatch.setattr(cli, "_wearables", source)
    assert say(capfd, "record", home / "bug", "--for", "3", "--json")[0] == 0
    code, out, err = say(capfd, "replay", home / "bug.fasciwatch", "--json")
    (summary, *_) = [line for line in objects(out) if line["type"] == "summary"]
    assert (code, "captured from armband" in err) == (0, True)
    assert summary["recorded_s"] > 0.5
    minutes = objects(say(capfd, "link", "--json")[1])
    emg = [minute for minute in minutes if minute["channel"] == "biceps"]
    assert {minute["device"] for minute in minutes} == {"armband"}
    assert 0 < sum(minute["missing_s"].get("lost", 0) for minute in emg) < 3
    assert sum(minute["observed_s"] for minute in emg) == pytest.approx(summary["recorded_s"], abs=1e-3)
    assert [m["firmware"] for m in minutes if m["firmware"]]
    assert re.search(r" dBm$", say(capfd, "link")[1], re.MULTILINE)
    assert "is there already" in fails(capfd, 1, "record", home / "bug.fasciwatch")


# Errors, one line each ------------------------------------------------------------------------------------------


def fails(capfd, code, *arguments, notes=0):
    """The one line."""
    got, out, err = say(capfd, *arguments)
    assert (got, out) == (code, "")
    *said, line = err.splitlines()
    assert len(said) == notes, err
    assert line.startswith("fasciwatch")
    assert "Errno" not in line
    return line


@pytest.fixture
def no_bluetooth(monkeypatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")


@pytest.mark.skipif(sys.platform != "linux", reason="D-Bus")
def test_no_bluetooth_adapter(home, no_bluetooth, capfd):
    for command, notes in ((("scan",), 0), (("run",), 1)):
        line = fails(capfd, 1, *command, notes=notes)
        assert line.startswith("fasciwatch: Bluetooth cannot be reached through D-Bus: ")
        assert "`fasciwatch demo` needs no Bluetooth" in line
    file = home / "fasciwatch.toml"
    file.write_text(f'[[devices]]\naddress = "{FIRST}"\n')
    assert "Bluetooth cannot be reached" in fails(capfd, 1, "run", "--config", file)


def test_doctor_on_a_good_and_on_a_bad_folder(home, no_bluetooth, capfd):
    good, bad = home / "good", home / "file"
    bad.touch()
    code, out, err = say(capfd, "doctor", "--data", good, "--json")
    found = {check["name"]: check for check in objects(out)}
    assert (code, err) == (1, "")  # no Bluetooth
    assert found["data folder"]["ok"]
    assert not (good / "main.sqlite").exists()
    assert not found["Bluetooth"]["ok"]
    assert found["Bluetooth"]["remedy"]
    code, out, err = say(capfd, "doctor", "--data", bad)
    assert (code, err) == (1, "")
    assert re.search(r"^FAIL data folder: .* cannot be made: .*\. Name another data folder$", out, re.MULTILINE)
    assert re.search(r"^ok   SQLite: 3\.", out, re.MULTILINE)
    Store.open(good).close(time.time_ns())
    assert f"ok   data folder: {good}, can be written\n" in say(capfd, "doctor", "--data", good)[1]
    (good / "main.sqlite").write_bytes(b"no database" * 1000)
    assert "FAIL data folder: " in say(capfd, "doctor", "--data", good)[1]


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("absent.edf", None, (), "no such file"),
        ("unknown.xyz", b"what?", (), ""),
        ("empty.csv", b"", (), "empty"),
        ("empty.edf", b"", (), "empty"),
        ("short.edf", b"0       " + b" " * 100, (), ""),
        ("noise.bdf", bytes(range(256)) * 20, (), ""),
        ("unit.csv", CSV.replace("uV", "furlong").encode(), (), "furlong"),
    ],
)
def test_files_that_cannot_be_replayed(home, capfd, name, content, options, words):
    if content is not None:
        (home / name).write_bytes(content)
    line = fails(capfd, 1, "replay", home / name, *options)
    assert words in line
    assert name in line
    assert re.search(r"\. [A-Z][^.]+", line), "no remedy"


def test_a_truncated_recording(home, capfd):
    signal_ = EdfSignal(
        np.sin(np.arange(10_000) / 10), sampling_frequency=1000, label="FDI", physical_dimension="uV"
    )
    whole = home / "whole.edf"
    Edf([signal_]).write(whole)
    assert say(capfd, "replay", whole)[0] == 0
    (home / "cut.edf").write_bytes(whole.read_bytes()[:300])
    assert "cut.edf" in fails(capfd, 1, "replay", home / "cut.edf")


def test_wrong_configuration_names_the_key(home, capfd):
    file = home / "fasciwatch.toml"
    file.write_text('data_dri = "/x"\n')
    for command in ("run", "status", "events", "doctor"):
        line = fails(capfd, 2, command, "--config", file)
        assert "unknown key data_dri. Did you mean data_dir?" in line
    file.write_text("[detection]\ntwitch_max_s = true\n")
    assert "detection.twitch_max_s" in fails(capfd, 2, "run", "--config", file)
    assert "no such file" in fails(capfd, 2, "run", "--config", home / "absent.toml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("demo", "--frist"), "--frist"),
        (("demo", "--loss", "3"), "--loss"),
        (("demo", "--for", "soon"), "--for"),
        (("events", "--since", "5x"), "'5x' is no duration: use 90s, 30min, 12h, 7d or all"),
        (("events", "--limit", "0"), "--limit '0' is too small: 1 at least"),
        (("trigger", "delete", "abc"), "NUMBER 'abc' is no whole number"),
        (("trigger", "add", "caffeine", "-5mg"), "'-5mg' is negative"),
        (("replay",), "Missing argument"),
        (("replay", "a.csv", "b.csv"), "b.csv"),
        (("replay", "a.csv", "--unit", "furlong"), "furlong"),
        (("watch",), "No such command 'watch'"),
        (("--frist",), "--frist"),
    ],
)
def test_wrong_usage(home, capfd, arguments, words):
    line = fails(capfd, 2, *arguments)
    assert words in line
    assert re.search(r"See `fasciwatch( \w+)* --help`$", line)


def test_data_folders_that_cannot_be_used(home, capfd):
    file = home / "file"
    file.touch()
    assert "is a file" in fails(capfd, 1, "demo", "--data", file)
    assert "is a file" in fails(capfd, 1, "demo", "--data", file / "below")
    assert "there is no data in" in fails(capfd, 1, "events", "--data", home / "absent")
    store = Store.open(home / "held")
    line = fails(capfd, 1, "demo", "--data", home / "held")
    store.close(time.time_ns())
    assert f"is in use by process {os.getpid()}. Stop it first" in line


def test_a_read_only_disk(home, capfd):
    with closing(SmallDisk(home / "disk", "ro")) as disk:
        line = fails(capfd, 1, "demo", "--data", disk.path / "data")
        assert "Read-only file system" in line
        assert "name another data folder" in line
        assert "FAIL data folder" in say(capfd, "doctor", "--data", disk.path / "data")[1]


def test_a_disk_that_is_full_at_the_start(home, capfd):
    with closing(SmallDisk(home / "disk")) as disk:
        disk.fill()
        line = fails(capfd, 1, "demo", "--data", disk.path / "data")
        assert "no room left on the disk" in line
        assert "Free some space" in line


def test_without_bumble_the_demo_says_what_to_install(home, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "bumble", None)  # as Python has it for what cannot be imported
    for name in ("firmware_interface.virtual_radio", "firmware_interface.emulated.peripheral"):
        monkeypatch.delitem(sys.modules, name)
    assert fails(capfd, 1, "demo", "--data", home / "data") == (
        'fasciwatch: the virtual radio needs Bumble, which is not installed. Run `pip install "fasciwatch[demo]"`'
    )


# Help -----------------------------------------------------------------------------------------------------------


def test_help_and_version(capfd):
    code, out, _ = say(capfd, "--help")
    assert code == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} .*\w\.$", out, re.MULTILINE), f"help of {command} is cut"
    assert say(capfd, "--version") == (0, f"fasciwatch {cli.monitor.__version__}\n", "")
    code, out, err = say(capfd)
    assert code == 2
    assert "Commands:" in out + err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_is_in_the_readme(command, capfd):
    code, out, err = say(capfd, command, "--help")
    assert (code, err) == (0, "")
    assert "Usage: fasciwatch" in out
    assert f"fasciwatch {command}" in (ROOT / "README.md").read_text(encoding="utf-8")


# Demos, which have begun meanwhile -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interrupted(demos):
    """A demo with twitches in JSON, ended by Ctrl-C."""
    demo = demos["json"].until(lambda demo: len(demo.twitches()) >= 4)
    return demo, demo.end(signal.SIGINT)


def test_ctrl_c_ends_with_all_that_was_printed_stored(interrupted, capfd):
    demo, code = interrupted
    assert code == 0
    connected, stored = demo.err
    assert "fasciwatch demo: connected (emg 1000 Hz × 4" in connected
    assert stored == f"stored in {demo.folder}\n"
    printed = objects("".join(demo.out))
    assert {each["type"] for each in printed} <= {"twitch", "context", "gap"}
    code, out, err = say(capfd, "events", "--data", demo.folder, "--json")
    assert (code, err) == (0, "")
    stored = objects(out)
    for kind in ("twitch", "context"):
        mine = sorted(json.dumps(e) for e in printed if e["type"] == kind)
        assert mine == sorted(json.dumps(e) for e in stored if e["type"] == kind), kind
    with Archive.open(demo.folder) as archive:
        (session,) = archive.sessions()
    assert session.ended_ns is not None


def test_the_table_of_events_is_that_of_the_lines(interrupted, capfd):
    demo, _ = interrupted
    code, out, _ = say(capfd, "events", "--data", demo.folder)
    assert code == 0
    rows = [
        (row[21:].split()[2], *re.search(r"(\S+) (?:uV|g) +(\d+) ", row).groups()) for row in out.splitlines()[1:]
    ]
    printed = [e for e in objects("".join(demo.out)) if e["type"] == "twitch"]
    said = [(e["channel"], f"{e['peak_to_peak']:.3g}", f"{e['duration_s'] * 1e3:.0f}") for e in printed]
    assert sorted(rows) == sorted(said)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_plain_lines_are_those_of_the_table_however_it_ends(tmp_path, number, capfd):
    demo = Demo(tmp_path).until(lambda demo: len(demo.twitches()) >= 3)
    try:
        assert demo.end(number) == 0
    finally:
        demo.kill()
    _, out, _ = say(capfd, "events", "--data", demo.folder)
    rows = [(row[:19], row[21:].split()[2]) for row in out.splitlines()[1:]]
    said = [re.match(r"(.{19}) fasciwatch demo: twitch on (\w+): ", line).groups() for line in demo.twitches()]
    assert sorted(rows) == sorted(said)


def test_the_live_view_is_drawn_and_a_closed_terminal_ends_it(demos):
    demo = demos["screen"].until(lambda demo: re.search(r" twitch on \w+", "".join(demo.out)))
    demo.close_terminal()
    assert demo.ended() == 0
    text = re.sub(r"\x1b(\[[0-9;?]*[a-zA-Z]?)?", "", "".join(demo.out))  # the last one may be cut off
    for word in ("biceps", "triceps", "FCR", "FDI", "twitches", "battery 100 %", "loss ", "rest", "a minute"):
        assert word in text
    drawn = [line for line in text.replace("\r", "\n").splitlines() if line[:1] in tuple("╭│╰")]
    assert max(map(len, drawn)) == 80
    assert "…" not in text
    with Archive.open(demo.folder) as archive:
        (session,) = archive.sessions()
        assert archive.twitches(0, 1 << 62)
    assert session.ended_ns is not None


def test_a_reader_that_leaves_ends_it_quietly(demos):
    """fasciwatch demo | head -2"""
    demo = demos["head"]
    assert demo.ended() == 0
    assert demo.err == [f"stored in {demo.folder}\n"]
    with Archive.open(demo.folder) as archive:
        (session,) = archive.sessions()
        assert archive.twitches(0, 1 << 62)
    assert session.ended_ns is not None


def test_status_for_programs_and_people(interrupted, capfd):
    demo, _ = interrupted
    code, out, err = say(capfd, "status", "--data", demo.folder, "--json")
    (status,) = objects(out)
    assert (code, err, status["running"]) == (0, "", False)
    (device,) = status["devices"]
    assert (device["device"], device["battery_percent"]) == ("fasciwatch demo", 100)
    assert {c["channel"] for c in device["channels"]} >= {"biceps", "triceps", "FCR", "FDI"}
    twitches = len([e for e in objects("".join(demo.out)) if e["type"] == "twitch"])
    assert sum(c["twitches"] for c in device["channels"]) == twitches
    code, out, err = say(capfd, "status", "--data", demo.folder)
    assert (code, err) == (0, "")
    assert re.match(r"session begun .{19}, ended .{19}\nfasciwatch demo: battery 100 %, heard ", out)
    for channel in device["channels"]:
        assert re.search(rf"^fasciwatch demo  {channel['channel']} .* {channel['twitches']} +", out, re.MULTILINE)


@pytest.mark.parametrize("command", ["events", "replay"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_reader_that_leaves_is_no_error(interrupted, tmp_path, monkeypatch, capfd, command, options):
    """fasciwatch events | head -1, with a pipe that breaks for certain."""
    (tmp_path / "r.csv").write_text(CSV)
    what = {"events": ("--data", interrupted[0].folder), "replay": (tmp_path / "r.csv",)}[command]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert say(capfd, command, *what, *options) == (0, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_cannot_be_written_is_an_error(interrupted, monkeypatch, capfd):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", full)
        code, _, err = say(capfd, "events", "--data", interrupted[0].folder)
    assert (code, err) == (
        1,
        "fasciwatch: the output cannot be written: No space left on device. Send it elsewhere\n",
    )


@pytest.mark.long
@pytest.mark.parametrize("command", ["events", "replay"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_head_of_the_real_program(interrupted, tmp_path, command, options):
    (tmp_path / "r.csv").write_text(CSV)
    what = {"events": ("--data", interrupted[0].folder), "replay": (tmp_path / "r.csv",)}[command]
    line = shlex.join(map(str, [PROGRAM, command, *what, *options])) + " | head -1; echo ${PIPESTATUS[0]}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert (done.stderr, done.stdout.splitlines()[1:]) == ("", ["0"])


@pytest.mark.skipif(sys.platform != "linux", reason="XDG")
def test_without_real_data_the_demo_s_is_shown_and_said_to_be(home, interrupted, capfd):
    demo, _ = interrupted
    (home / "data/fasciwatch").mkdir(parents=True)
    (home / "data/fasciwatch/demo").symlink_to(demo.folder)
    for command in ("events", "status"):
        code, out, err = say(capfd, command, "--json")
        assert (code, err.count("\n")) == (0, 1)
        assert "this is the demo's data" in err
        assert "fasciwatch demo" in out
    Store.open(home / "data/fasciwatch").close(time.time_ns())
    code, out, err = say(capfd, "events")
    assert (code, out, err) == (0, "", "no twitch stored in the last 24h\n")
    assert say(capfd, "status") == (0, "", "nothing was recorded yet\n")


def test_a_disk_that_fills_up_gets_room_and_fills_up_again(demos):
    demo, disk = demos["full"], demos["disk"]
    if demo is None:
        pytest.skip("needs root, to mount a small disk")
    demo.until(lambda demo: demo.twitches())
    disk.fill()
    demo.until(lambda demo: "not stored for now: no room left" in "".join(demo.err))
    before = len(demo.twitches())
    demo.until(lambda demo: len(demo.twitches()) > before)
    disk.free()
    demo.until(lambda demo: "storing again, nothing was lost" in "".join(demo.err))
    kept = len(demo.twitches())
    disk.fill()
    demo.until(lambda demo: "".join(demo.err).count("not stored for now") == 2)
    assert demo.end() == 1
    assert re.match(r"fasciwatch: \d+ records could not be kept: no room left on the disk", demo.err[-1])
    said = [re.sub(r"^[-\d]{10} [:\d]{8} ", "", line) for line in demo.err]
    of_the_store = [line for line in said if not line.startswith(("fasciwatch demo: ", "the raw signal"))]
    assert len(of_the_store) == 4, of_the_store
    full, room, full_again, end = of_the_store
    assert all(line.startswith("not stored for now: no room left on the disk") for line in (full, full_again))
    assert room == "storing again, nothing was lost\n"
    assert end == demo.err[-1]
    disk.free()
    with Archive.open(demo.folder) as archive:
        stored = archive.twitches(0, 1 << 62)
    assert kept <= len(stored) <= len(demo.twitches())
