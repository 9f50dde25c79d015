"""The live view: what every channel does now, in a terminal; plain lines or JSON where there is none.

Rules: nothing here changes what is collected. All writing is in a thread of the view's own: one that cannot
keep up, or whose reader has left, loses frames and lines, not samples. Calm: a rate is a number, not a colour,
and there is no score. At 80 columns nothing wraps.
"""

from __future__ import annotations

import errno
import os
import queue
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from types import TracebackType
from typing import Protocol, Self, TextIO

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from firmware_interface.ble import Connected, Lost
from firmware_interface.samples import Gap, Unit
from monitor import lines
from monitor.collector import ChannelView, Collector, DeviceView, Told
from monitor.detection.events import Context, State, Twitch

_BARS = "▁▂▃▄▅▆▇█"
_LOWEST_SIGMA, _FULL_SIGMA = 2.0, 24.0
"""A bar is lowest and full at these many noise sigmas, logarithmic between: rest is low, twitches stand out."""
_TRACE_WIDTH_MIN = 10
_NEWS = 8
_FRAMES_PER_S = 5
_LINES_WAITING = 10_000
READER_LEFT = errno.EPIPE, errno.EIO
"""Errors of a pipe and of a terminal that nobody reads any more."""
_CONTACT_S = 2.0
"""A bad contact of less is not worth a line: three axes settle for 1.4 s after each gap."""
_LEAVE_S = 2.0
"""How long a reader may take with what is left at the end."""
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


def hang_up(file: TextIO) -> None:
    """Let what is still to be written to `file` go nowhere, where its reader has left."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, file.fileno())
        os.close(nowhere)


def _write_past_buffers(file: TextIO, line: str) -> None:
    """A thread that hangs in one of Python's buffers would hang the end of the program too."""
    data = f"{line}\n".encode(file.encoding or "utf-8", "replace")
    while data:
        data = data[os.write(file.fileno(), data) :]


class Lines:
    """One line for each thing that happens, on standard output: plain, or JSON for events alone.

    Args:
        as_json: words for a person go to standard error then.
        gone: called once nobody reads standard output any more, from another thread.
    """

    def __init__(self, *, as_json: bool, gone: Callable[[], None]) -> None:
        self._as_json = as_json
        self._gone = gone
        self._left_out = 0
        self._waiting: queue.Queue[tuple[TextIO, str] | None] = queue.Queue(_LINES_WAITING)
        self._thread = Thread(target=self._write, name="lines", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._left_out:
            self._put(sys.stderr, f"{self._left_out} lines could not be written and were left out; all is stored")
        with suppress(queue.Full):
            self._waiting.put(None, timeout=_LEAVE_S)
        self._thread.join(_LEAVE_S)

    def tell(self, device: str, what: Told) -> None:
        """Have it written."""
        if not self._as_json:
            if not _is_brief(what):
                self._put(sys.stdout, _sentence(device, what))
        elif isinstance(what, Twitch | Context | Gap):
            self._put(sys.stdout, lines.as_json(lines.at_utc(what, device)))
        else:
            self._put(sys.stderr, _sentence(device, what))

    def _put(self, file: TextIO, line: str) -> None:
        try:
            self._waiting.put_nowait((file, line))
        except queue.Full:
            self._left_out += 1

    def _write(self) -> None:
        for file, line in iter(self._waiting.get, None):
            try:
                _write_past_buffers(file, line)
            except OSError as error:
                self._left_out += 1  # a full disk; there may be room again
                if error.errno in READER_LEFT:
                    self._gone()
                    return


class LinesWithoutCounts(Lines):
    """The same for those who are not to know what is counted: how all is heard, and no twitch."""

    def tell(self, device: str, what: Told) -> None:
        """Have it written, unless it is a twitch."""
        if not isinstance(what, Twitch):
            super().tell(device, what)


class Screen:
    """The live view in a terminal.

    Args:
        collector: gives the devices as they are now.
        console: the terminal.
    """

    def __init__(self, collector: Collector, console: Console) -> None:
        self._collector = collector
        self._news: deque[Text] = deque(maxlen=_NEWS)
        self._live = Live(console=console, auto_refresh=False, get_renderable=self.render, transient=False)
        self._over = Event()
        self._thread = Thread(target=self._draw, name="screen", daemon=True)

    def __enter__(self) -> Self:
        self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(_LEAVE_S)
        if not self._thread.is_alive():
            self._write(self._live.stop)

    def tell(self, device: str, what: Told) -> None:
        """Show it among the last lines; contexts are on the channels already."""
        if not isinstance(what, Context):
            clock = time.strftime("%H:%M:%S")
            names = f" {device}:" if device and len(self._collector.views()) > 1 else ""
            self._news.append(_one_line(f"{clock}{names} {_news(what)}", "dim"))

    def render(self) -> RenderableType:
        """The whole view."""
        panels = [_panel(view) for view in self._collector.views()]
        troubles = [_one_line(trouble, "red") for trouble in list(self._collector.troubles.values())]
        last = Text("Ctrl-C ends", style="dim italic")
        return Group(*panels, *troubles, *list(self._news), last)

    def _draw(self) -> None:
        while not self._over.wait(1 / _FRAMES_PER_S):
            self._write(self._live.refresh)

    def _write(self, what: Callable[[], None]) -> None:
        try:
            what()
        except OSError:  # the terminal was closed; SIGHUP tells
            hang_up(sys.stdout)


class _Trace:
    """The last 6 s in as many characters as there is room for, the newest on the right."""

    def __init__(self, channel: ChannelView, style: str) -> None:
        self._channel = channel
        self._style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(_bars(self._channel.trace, self._channel.noise, options.max_width), style=self._style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        widest = max(min(self._channel.trace.size, options.max_width), 1)
        return Measurement(min(_TRACE_WIDTH_MIN, widest), widest)


def _panel(view: DeviceView) -> Panel:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim")
    for title, justify in (("", "left"), ("now", "left"), ("noise", "right")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("last 6 s", ratio=1, no_wrap=True, min_width=_TRACE_WIDTH_MIN)
    table.add_column("twitches", justify="right", no_wrap=True)
    table.add_column("a minute", justify="right", no_wrap=True)
    for channel in view.channels:
        table.add_row(*_row(channel))
    return Panel(
        table, title=f"[bold]{view.name}[/]", subtitle=_link(view), title_align="left", subtitle_align="left"
    )


def _link(view: DeviceView) -> str:
    estimated = "" if view.loss_exact else ", estimated"
    lost = f"loss {100 * view.loss_minute:.1f} % (all {100 * view.loss:.1f} %{estimated})"
    parts = [view.link, lines.battery(view.battery_percent), lost]
    if view.rssi is not None:
        parts.append(f"{view.rssi} dBm")
    if view.malformed:
        parts.append(f"{view.malformed} malformed")
    if view.off:
        parts.append(f"no contact: {', '.join(view.off)}")
    if view.impedance_ohm:
        parts.append(lines.impedance(view.impedance_ohm))
    return " · ".join(parts)


def _row(channel: ChannelView) -> tuple[RenderableType, ...]:
    word, colour = _STATES[channel.state]
    minutes = channel.analysable_s / 60
    rate = f"{channel.twitches / minutes:.1f}" if minutes > 0.25 else "–"
    return (
        channel.label,
        Text(word, style=colour),
        _noise(channel),
        _Trace(channel, colour),
        str(channel.twitches),
        rate,
    )


def _noise(channel: ChannelView) -> str:
    if not np.isfinite(channel.noise):
        return "–"
    in_mg = channel.unit == Unit.G  # a thousandth of it is usual
    return f"{channel.noise * 1e3:.2g} mg" if in_mg else f"{channel.noise:.2g} {channel.unit}"


def _bars(trace: NDArray[np.float64], noise: float, width: int) -> str:
    """One character for each one, two, ... ticks, its height the logarithm of the deflection in noise sigmas."""
    if not noise > 0 or width < 1:
        return ""
    ticks = -(-trace.size // width)
    padded = np.pad(trace, (-trace.size % ticks, 0))
    share = np.log(np.maximum(padded / noise, 1e-9) / _LOWEST_SIGMA) / np.log(_FULL_SIGMA / _LOWEST_SIGMA)
    levels = np.clip(share.reshape(-1, ticks).max(axis=1) * len(_BARS), 0, len(_BARS) - 1)
    return "".join(_BARS[int(level)] for level in levels)


def _one_line(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _is_brief(what: Told) -> bool:
    """Over before a person could do something about it."""
    return isinstance(what, Context) and what.state is State.BAD_CONTACT and what.duration_s < _CONTACT_S


def _sentence(device: str, what: Told) -> str:
    """For a line that stands alone."""
    match what:
        case Gap():
            return f"{lines.local(what.start_ns)} {device}: {_news(what)}"
        case Twitch() | Context():
            return f"{lines.local(what.onset_ns)} {device}: {_news(what)}"
        case _:
            now = lines.local(time.time_ns())
            return f"{now} {device}: {_news(what)}" if device else f"{now} {_news(what)}"


def _news(what: Told) -> str:
    """For a line below the device's panel."""
    match what:
        case str():
            return what
        case Connected():
            streams = ", ".join(f"{s.name} {s.rate_hz:g} Hz × {len(s.channels)}" for s in what.device.streams)
            return f"connected ({streams})"
        case Lost():
            return f"{what.reason}, reconnecting ({what.detail})"
        case _:
            return lines.plain(what)
