"""Monitoring that starts with the computer: a service of the person's own, without any rights that they lack.

Rules of this module:

* On Linux a systemd user unit: restarted whenever it ends, except for a wrong configuration; what it prints
  goes to the journal; ready when the session has begun; alive only while commits are tried, so that a collector
  that hangs is restarted.
* macOS and Windows have an equivalent that is written by the book and **was never tried**; each says so.
* Nothing here is needed: `fasciwatch run` is the same program.
"""

from __future__ import annotations

import os
import plistlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from firmware_interface.errors import Fault

_NAME = "fasciwatch"
_STOP_S = 10.0

_UNIT = """\
# Written by `fasciwatch service install`, and written anew by it.
[Unit]
Description=fasciwatch, which watches muscle twitches
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={command}
Restart=always
RestartSec=5
RestartPreventExitStatus=2
WatchdogSec=60
TimeoutStopSec=30
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""
_UNTESTED = "this was never tried on {}: please tell us how it went"


class ServiceError(Fault):
    """The service cannot be installed or removed here."""


@dataclass(frozen=True, slots=True)
class Service:
    """How a system is told to run us."""

    file: Path | None
    """What it reads, where it reads a file."""
    contents: bytes
    start: tuple[Sequence[str], ...]
    """Commands that take it into use; the first that fails is said."""
    stop: tuple[Sequence[str], ...]
    note: str


def service(command: Sequence[str], platform: str = sys.platform) -> Service:
    """The service of this computer that runs `command`."""
    if platform == "linux":
        return _systemd(command)
    if platform == "darwin":
        return _launchd(command)
    if platform == "win32":
        return _scheduled(command)
    raise ServiceError(f"no service is known for {platform}", "Have `fasciwatch run` started as you start others")


def install(wanted: Service) -> Iterator[str]:
    """Write it and take it into use; what was done, and what remains for the person."""
    if wanted.file is not None:
        try:
            wanted.file.parent.mkdir(parents=True, exist_ok=True)
            wanted.file.write_bytes(wanted.contents)
        except OSError as error:
            raise ServiceError(f"{wanted.file} cannot be written: {error.strerror}", "See its folder") from error
        yield f"wrote {wanted.file}"
    for command in wanted.start:
        said = _run(command)
        yield (
            f"ran {' '.join(command)}" if said is None else f"could not run `{' '.join(command)}` ({said}): run it"
        )
    yield wanted.note


def remove(wanted: Service) -> Iterator[str]:
    """Stop it and remove what was written."""
    for command in wanted.stop:
        said = _run(command)
        yield _outcome(command, said)
    if wanted.file is not None and wanted.file.exists():
        wanted.file.unlink()
        yield f"removed {wanted.file}"


def _outcome(command: Sequence[str], said: str | None) -> str:
    words = " ".join(command)
    return f"ran {words}" if said is None else f"could not run `{words}` ({said})"


def command_line(options: Sequence[str]) -> list[str]:
    """What starts this very installation."""
    program = Path(sys.executable).with_name(_NAME + (".exe" if sys.platform == "win32" else ""))
    return [str(program), "run", *options]


def _systemd(command: Sequence[str]) -> Service:
    file = platformdirs.user_config_path("systemd") / "user" / f"{_NAME}.service"
    ctl = "systemctl", "--user"
    return Service(
        file,
        _UNIT.format(command=" ".join(map(_quoted, command))).encode(),
        start=((*ctl, "daemon-reload"), (*ctl, "enable", "--now", _NAME)),
        stop=((*ctl, "disable", "--now", _NAME),),
        note=f"it runs while you are logged in; always, after `loginctl enable-linger`. "
        f"It tells its story with `journalctl --user -u {_NAME}`",
    )


def _quoted(word: str) -> str:
    """As ExecStart has it: specifiers and variables are no such."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"'


def _launchd(command: Sequence[str]) -> Service:
    label = f"org.{_NAME}.collector"
    log = str(platformdirs.user_log_path(_NAME) / "log")
    fields = {"Label": label, "ProgramArguments": list(command), "RunAtLoad": True, "KeepAlive": True}
    file = Path.home() / "Library/LaunchAgents" / f"{label}.plist"
    return Service(
        file,
        plistlib.dumps({**fields, "StandardOutPath": log, "StandardErrorPath": log}),
        start=(("launchctl", "load", "-w", str(file)),),
        stop=(("launchctl", "unload", "-w", str(file)),),
        note=f"{_UNTESTED.format('macOS')}. macOS asks once whether it may use Bluetooth",
    )


def _scheduled(command: Sequence[str]) -> Service:
    line = subprocess.list2cmdline(command)
    create = "schtasks", "/Create", "/F", "/TN", _NAME, "/SC", "ONLOGON", "/TR", line
    return Service(
        None,
        b"",
        start=(create, ("schtasks", "/Run", "/TN", _NAME)),
        stop=(("schtasks", "/End", "/TN", _NAME), ("schtasks", "/Delete", "/F", "/TN", _NAME)),
        note=_UNTESTED.format("Windows"),
    )


def _run(command: Sequence[str]) -> str | None:
    """Why it failed, or `None`."""
    if shutil.which(command[0]) is None:
        return f"there is no {command[0]}"
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    if done.returncode == 0:
        return None
    return " ".join((done.stderr or done.stdout).split()) or f"it ended with {done.returncode}"


# ---- While it runs ----


def tell_systemd(state: str) -> None:
    """READY=1, WATCHDOG=1 or STOPPING=1, where systemd started us; elsewhere nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.setblocking(False)
        told.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)


@contextmanager
def kept_awake(*, wanted: bool) -> Iterator[str | None]:
    """The computer does not fall asleep for idleness in the block; what prevents that, if anything. A lid that is
    closed and a person who asks for it still send it to sleep.

    The helper ends with this process, however that ends.
    """
    command = _awake_command() if wanted else None
    if command is None:
        yield "this computer cannot be kept awake from here" if wanted else None
        return
    silent = subprocess.DEVNULL
    helper = subprocess.Popen(command, stdin=silent, stdout=silent, stderr=silent)  # noqa: S603
    try:
        yield None
    finally:
        helper.terminate()
        try:
            helper.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            helper.kill()
            helper.wait()


def _awake_command() -> list[str] | None:
    me = str(os.getpid())
    if shutil.which("systemd-inhibit") and shutil.which("tail"):
        why = ["--what=idle", f"--who={_NAME}", "--why=watching muscle twitches", "--mode=block"]
        return ["systemd-inhibit", *why, "tail", f"--pid={me}", "-f", "/dev/null"]
    if shutil.which("caffeinate"):
        return ["caffeinate", "-i", "-w", me]
    return None
