"""The live view: what every channel does now, in a terminal; plain lines or JSON where there is none.

Rules: nothing here changes what is collected; a view that fails to keep up loses frames, not samples. Calm: a
rate is a number, not a colour, and there is no score.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from firmware_interface.ble import Connected, Lost
from firmware_interface.samples import Gap
from monitor import lines
from monitor.collector import ChannelView, DeviceView, Told
from monitor.detection.events import Context, State, Twitch

_BARS = "▁▂▃▄▅▆▇█"
_FULL_SCALE_SIGMA = 24.0
"""A bar is full at this many noise sigmas; logarithmic, so that rest still shows."""
_NEWS = 8
_FRAMES_PER_S = 5
_STATES: dict[State | None, tuple[str, str]] = {
    None: ("rest", "green"),
    State.VOLUNTARY: ("voluntary", "cyan"),
    State.ARTEFACT: ("artefact", "yellow"),
    State.BAD_CONTACT: ("bad contact", "red"),
    State.GAP: ("gap", "red"),
}


class View(Protocol):
    """Where a person or a program follows what happens; a context manager while it lasts."""

    def tell(self, device: str, what: Told) -> None:
        """Something happened."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Lines:
    """One line for each thing that happens, on standard output: plain, or JSON for events alone."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def tell(self, device: str, what: Told) -> None:
        """Print it; words for a person go to standard error where standard output is for a program."""
        if not self._as_json:
            print(_sentence(device, what), flush=True)  # noqa: T201
        elif isinstance(what, Twitch | Context | Gap):
            print(lines.as_json(lines.at_utc(what, device)), flush=True)  # noqa: T201
        else:
            print(_sentence(device, what), file=sys.stderr, flush=True)  # noqa: T201


class Screen:
    """The live view in a terminal.

    Args:
        views: gives the devices as they are now.
        console: the terminal.
    """

    def __init__(self, views: Callable[[], Sequence[DeviceView]], console: Console) -> None:
        self._views = views
        self._news: deque[str] = deque(maxlen=_NEWS)
        self._live = Live(
            console=console, refresh_per_second=_FRAMES_PER_S, get_renderable=self.render, screen=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def tell(self, device: str, what: Told) -> None:
        """Show it among the last lines; contexts are on the channels already."""
        if not isinstance(what, Context):
            self._news.append(_sentence(device, what))

    def render(self) -> RenderableType:
        """The whole view."""
        panels = [_panel(view) for view in self._views()]
        return Group(*panels, Text("\n".join(self._news), style="dim"), Text("Ctrl-C ends", style="dim italic"))


def _panel(view: DeviceView) -> Panel:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim")
    for title, justify in (("", "left"), ("now", "left"), ("noise", "right")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("last 6 s", ratio=1, no_wrap=True)
    table.add_column("twitches", justify="right", no_wrap=True)
    table.add_column("a minute", justify="right", no_wrap=True)
    for channel in view.channels:
        table.add_row(*_row(channel))
    return Panel(
        table, title=f"[bold]{view.name}[/]", subtitle=_link(view), title_align="left", subtitle_align="left"
    )


def _link(view: DeviceView) -> str:
    battery = "battery ?" if view.battery_percent is None else f"battery {view.battery_percent} %"
    parts = [view.link, battery, f"loss {100 * view.loss:.1f} %"]
    if view.malformed:
        parts.append(f"{view.malformed} malformed")
    return " · ".join(parts)


def _row(channel: ChannelView) -> tuple[RenderableType, ...]:
    word, colour = _STATES[channel.state]
    minutes = channel.analysable_s / 60
    rate = f"{channel.twitches / minutes:.1f}" if minutes > 0.25 else "–"
    noise = f"{channel.noise:.1f} {channel.unit}" if np.isfinite(channel.noise) else "–"
    bars = Text(_bars(channel.trace, channel.noise), style=colour)
    return channel.label, Text(word, style=colour), noise, bars, str(channel.twitches), rate


def _bars(trace: NDArray[np.float64], noise: float) -> str:
    """One character a tick, its height the logarithm of the deflection in noise sigmas."""
    if not noise > 0:
        return ""
    share = np.log1p(trace / noise) / np.log1p(_FULL_SCALE_SIGMA)
    return "".join(_BARS[level] for level in np.clip(share * len(_BARS), 0, len(_BARS) - 1).astype(int))


def _sentence(device: str, what: Told) -> str:
    match what:
        case str():
            return what
        case Connected():
            streams = ", ".join(f"{s.name} {s.rate_hz:g} Hz × {len(s.channels)}" for s in what.device.streams)
            return f"{device}: connected ({streams})"
        case Lost():
            return f"{device}: {what.reason}, reconnecting ({what.detail})"
        case Gap():
            return f"{lines.local(what.start_ns)} {device}: {lines.plain(what)}"
        case _:
            return f"{lines.local(what.onset_ns)} {device}: {lines.plain(what)}"
