"""Run by the system: what it is told, and what we tell it."""

import os
import plistlib
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from monitor.service import ServiceError, command_line, install, kept_awake, remove, service, tell_systemd
from tests.test_cli import Demo, home, say  # noqa: F401 - a fixture


def told(listening, word, seconds=60):
    deadline = time.monotonic() + seconds
    listening.settimeout(seconds)
    said = []
    while word not in said:
        assert time.monotonic() < deadline, said
        said.append(listening.recv(4096).decode())
    return said


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
def test_systemd_is_told_when_it_is_ready_alive_and_ending(tmp_path, monkeypatch):
    """By a real process: a sign of life a second, and only after readiness."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        demo = Demo(tmp_path / "data", "--json")
        try:
            assert told(listening, "READY=1") == ["READY=1"]
            begun = time.monotonic()
            assert told(listening, "WATCHDOG=1") == ["WATCHDOG=1"]
            told(listening, "WATCHDOG=1")
            assert time.monotonic() - begun < 15
            assert demo.end() == 0
            assert told(listening, "STOPPING=1")[-1] == "STOPPING=1"
        finally:
            demo.kill()


@pytest.mark.parametrize("address", ["", "unix:/x", "/nowhere/socket", "@nobody"])
def test_nobody_who_listens_is_no_trouble(address, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    tell_systemd("READY=1")


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
def test_install_writes_a_unit_that_systemd_understands_and_remove_removes_it(home, capfd):  # noqa: F811
    code, _, err = say(capfd, "service", "install")
    assert code == 0
    unit = home / "config/systemd/user/fasciwatch.service"
    assert f"wrote {unit}" in err
    text = unit.read_text()
    assert f'ExecStart="{Path(sys.executable).with_name("fasciwatch")}" "run"\n' in text
    if shutil.which("systemd-analyze"):
        checked = subprocess.run(
            ["systemd-analyze", "verify", "--user", unit],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "XDG_RUNTIME_DIR": str(home)},
        )
        assert "fasciwatch.service:" not in checked.stderr, checked.stderr
    assert say(capfd, "service", "remove")[0] == 0
    assert not unit.exists()


def test_a_unit_quotes_what_systemd_would_expand():
    text = service(["/opt/50 % $HOME/fasciwatch", "run"], "linux").contents.decode()
    assert 'ExecStart="/opt/50 %% $$HOME/fasciwatch" "run"\n' in text


def test_other_systems_are_written_for_and_say_that_it_was_never_tried():
    mac = service(command_line([]), "darwin")
    assert plistlib.loads(mac.contents)["ProgramArguments"] == command_line([])
    windows = service(command_line([]), "win32")
    assert windows.start[0][-1].endswith("run")
    assert all("never tried" in each.note for each in (mac, windows))
    with pytest.raises(ServiceError, match="no service is known for plan9"):
        service([], "plan9")


def test_what_cannot_be_run_is_left_to_the_person(home):  # noqa: F811
    wanted = service(["fasciwatch", "run"], "darwin")
    if shutil.which("launchctl"):
        pytest.skip("this is a Mac")
    assert any("could not run `launchctl load" in said for said in install(wanted))
    assert any("removed" in said for said in remove(wanted))


@pytest.mark.parametrize("wanted", [True, False])
def test_awake_while_it_is_wanted(wanted, tmp_path, monkeypatch):
    """By whatever the system has for it: a helper that is there in the block, and not after it."""
    helper = tmp_path / "systemd-inhibit"
    helper.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nshift 4\nexec "$@"\n')
    helper.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with kept_awake(wanted=wanted) as trouble:
        assert trouble is None
        deadline = time.monotonic() + 5
        while wanted and not (tmp_path / "asked").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert (tmp_path / "asked").exists() == wanted
    if wanted:
        assert f"tail --pid={os.getpid()}" in (tmp_path / "asked").read_text()
