"""What is needed here, and what to do where it lacks.

Rule: nothing is left behind that was not there before, and nothing is switched on.
"""

from __future__ import annotations

import asyncio
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import monitor
from firmware_interface.ble import Radio
from firmware_interface.codecs import Codec
from firmware_interface.errors import Fault
from monitor.database import StoreError, damaged, database_version, verify
from monitor.raw import FOLDER, RawArchive
from monitor.store import DATABASE, Archive, Store, is_written

_OLDEST_BLEAK = (3, 0, 2)
"""2.0 to 3.0.1 lose notifications on BlueZ (https://github.com/hbldh/bleak/issues/1885)."""
_SCAN_S = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    found: str
    remedy: str = ""
    """Empty where all is well."""


def checks(
    folder: Path, codecs: Sequence[type[Codec]], trials: Mapping[str, Callable[[], Awaitable[None]]]
) -> Iterator[Check]:
    """All of them; the last one listens to the radio.

    Args:
        folder: of the data.
        codecs: of the devices that we know.
        trials: name of a server -> has something sent there, and sees it come back.
    """
    yield Check(
        "fasciwatch", f"{monitor.__version__} on Python {platform.python_version()}, {platform.platform()}"
    )
    yield Check("libraries", ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy")))
    yield bleak_checked(version("bleak"))
    yield Check("SQLite", database_version())
    yield _tried("data folder", lambda: _folder_found(folder))
    yield _tried("stored data", lambda: _data_verified(folder))
    for name, trial in trials.items():
        yield _tried(name, lambda trial=trial: asyncio.run(_answered(trial)))  # type: ignore[misc]
    if sys.platform == "linux":
        yield bluez_checked(_bluez_version())
        yield switches_checked(Path("/sys/class/rfkill"))
    yield _tried("Bluetooth", lambda: _bluetooth_found(codecs))


def bleak_checked(found: str) -> Check:
    """Whether this bleak keeps notifications."""
    sound = tuple(int(number) for number in re.findall(r"\d+", found)[:3]) >= _OLDEST_BLEAK
    return Check("bleak", found, "" if sound else "Run `pip install --upgrade bleak`: this one loses packets")


def bluez_checked(found: str | None) -> Check:
    """Whether Linux's Bluetooth service is there."""
    if found is None:
        return Check("BlueZ", "not installed", "Run `apt install bluez`, or what your system has for it")
    return Check("BlueZ", found)


def switches_checked(folder: Path) -> Check:
    """Whether Bluetooth is switched off in software, or by a key of the computer."""
    radios = [radio for radio in sorted(folder.glob("rfkill*")) if _said(radio / "type") == "bluetooth"]
    if any(_said(radio / "hard") == "1" for radio in radios):
        return Check("Bluetooth switch", "off", "Press the key or switch of this computer that turns radios on")
    if any(_said(radio / "soft") == "1" for radio in radios):
        return Check("Bluetooth switch", "off", "Run `rfkill unblock bluetooth`")
    return Check("Bluetooth switch", "on" if radios else "none")


def _said(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _bluez_version() -> str | None:
    command = shutil.which("bluetoothctl")
    if command is None:
        return None
    done = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    return done.stdout.split()[-1] if done.stdout.split() else "of unknown version"


def _tried(name: str, find: Callable[[], str]) -> Check:
    try:
        return Check(name, find())
    except Fault as fault:
        return Check(name, str(fault.args[0]), fault.remedy)


def _folder_found(folder: Path) -> str:
    try:
        Archive.open(folder).close()
    except StoreError:
        if (folder / DATABASE).exists():
            raise
        return _made_and_removed(folder)
    if is_written(folder):
        return f"{folder}, being written"
    Store.open(folder).close(time.time_ns())
    return f"{folder}, can be written"


def _data_verified(folder: Path) -> str:
    """Every page of the store, and every block of the newest two days: gigabytes of older ones would take minutes,
    and `fasciwatch backup` reads them all."""
    if not (folder / DATABASE).exists():
        return "none yet"
    for database in folder.glob("*.sqlite"):  # the diary, too
        verify(database)
    raw = RawArchive(folder)
    days = raw.days()
    for day in days[-2:]:
        broken = raw.check(day)
        if broken:
            raise damaged(day, f"{broken} blocks do not match their checksum; all others can be read")
    aside = sorted((folder / FOLDER).glob("*.damaged-*.sqlite"))
    if aside:
        raise StoreError(
            f"{aside[0]} was found damaged and set aside",
            "Save what `sqlite3 FILE .recover` reads, then remove it",
        )
    return f"whole: the store, and {len(days[-2:])} of {len(days)} days of raw signal"


async def _answered(trial: Callable[[], Awaitable[None]]) -> str:
    await trial()
    return "what was sent there came back"


def _made_and_removed(folder: Path) -> str:
    """Whether a database can be made there; none stays, which would look like data."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="doctor-", dir=folder) as trial:
            Store.open(Path(trial)).close(time.time_ns())
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error.strerror}", "Name another data folder") from error
    finally:
        for path in made:
            with suppress(OSError):
                path.rmdir()
    return f"{folder}, empty, can be written"


def _bluetooth_found(codecs: Sequence[type[Codec]]) -> str:
    found = asyncio.run(Radio(codecs).scan(_SCAN_S))
    ours = sum(sighting.codec is not None for sighting in found)
    return f"adapter works, {len(found)} devices in reach, {ours} of them supported"
