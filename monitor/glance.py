"""What the collector sees now, in a file beside the store, once a second, for readers in other processes.

    Collector.views ─► Glances ─► now.json ─► read

Rules:

* What lasts is in the store. Here is what is too young for it: the state of a channel before it ends, a link that
  is down, the loss of the last minute.
* Written by a thread of its own and never waited for: a slow disk makes the glance old, and nothing else.
* A file is replaced as a whole, so that a reader finds one that is complete. An old one says that nothing runs.
"""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final, Self

from monitor.collector import ChannelView, Collector, DeviceView

FILE: Final = "now.json"
STREAMING: Final = "streaming"
"""`DeviceGlance.link` while all is well."""

_EVERY_S = 1.0
_OLD_NS = 5 * 10**9
_LEAVE_S = 2.0


@dataclass(frozen=True, slots=True)
class ChannelGlance:
    """A channel now."""

    label: str
    unit: str
    noise: float | None
    state: str | None
    """Of `State`; `None` at rest."""
    state_since_ns: int
    """To a second."""
    twitches: int
    """In this session."""
    analysable_s: float


@dataclass(frozen=True, slots=True)
class DeviceGlance:
    """A device now."""

    id: int
    """As in the Archive; 0 before it was met."""
    name: str
    link: str
    since_ns: int
    """The link has been like this since."""
    battery_percent: int | None
    rssi: int | None
    loss: float
    loss_minute: float
    loss_exact: bool
    off: tuple[str, ...]
    """Channels without contact, as the device says."""
    impedance_ohm: tuple[int, ...]
    channels: tuple[ChannelGlance, ...]


@dataclass(frozen=True, slots=True)
class Glance:
    """All that is watched, now."""

    at_ns: int
    devices: tuple[DeviceGlance, ...]
    troubles: tuple[str, ...]


class Glances:
    """Writes them while the block lasts.

    Args:
        folder: the data folder.
        collector: is looked at from another thread, as the live view does.
    """

    def __init__(self, folder: Path, collector: Collector) -> None:
        self._path = folder / FILE
        self._collector = collector
        self._lasting: dict[object, tuple[object, int]] = {}
        self._over = Event()
        self._thread = Thread(target=self._write, name="glance", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_LEAVE_S)
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        unfinished = self._path.with_name(f"{FILE}.unfinished")
        while not self._over.wait(_EVERY_S):
            with suppress(OSError):  # a full disk; the store says so
                descriptor = os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump(self._glance(time.time_ns()), file)
                unfinished.replace(self._path)

    def _glance(self, now_ns: int) -> dict[str, Any]:
        devices = [self._device(number, view, now_ns) for number, view in enumerate(self._collector.views())]
        return {"at_ns": now_ns, "devices": devices, "troubles": list(self._collector.troubles.values())}

    def _device(self, number: int, view: DeviceView, now_ns: int) -> dict[str, Any]:
        return {
            "id": view.id,
            "name": view.name,
            "link": view.link,
            "since_ns": self._since_ns(number, view.link, now_ns),
            "battery_percent": view.battery_percent,
            "rssi": view.rssi,
            "loss": view.loss,
            "loss_minute": view.loss_minute,
            "loss_exact": view.loss_exact,
            "off": view.off,
            "impedance_ohm": view.impedance_ohm,
            "channels": [
                _channel(each, self._since_ns((number, each.label), each.state, now_ns)) for each in view.channels
            ],
        }

    def _since_ns(self, what: object, how: object, now_ns: int) -> int:
        """Since when something has been as it is."""
        before, since_ns = self._lasting.get(what, (None, 0))
        if not since_ns or before != how:
            self._lasting[what] = how, now_ns
            return now_ns
        return since_ns


def read(folder: Path, now_ns: int) -> Glance | None:
    """The newest; `None` where nothing is being watched."""
    try:
        said = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if abs(now_ns - said["at_ns"]) > _OLD_NS:
        return None
    devices = tuple(_device_glance(each) for each in said["devices"])
    return Glance(said["at_ns"], devices, tuple(said["troubles"]))


def _device_glance(said: dict[str, Any]) -> DeviceGlance:
    channels = tuple(ChannelGlance(**each) for each in said["channels"])
    lists = {name: tuple(said[name]) for name in ("off", "impedance_ohm")}
    return DeviceGlance(**said | lists | {"channels": channels})


def _channel(view: ChannelView, since_ns: int) -> dict[str, Any]:
    return {
        "label": view.label,
        "unit": str(view.unit),
        "noise": view.noise if math.isfinite(view.noise) else None,
        "state": str(view.state) if view.state else None,
        "state_since_ns": since_ns,
        "twitches": view.twitches,
        "analysable_s": view.analysable_s,
    }
