"""Now: the signal with what is found in it, the devices, and the latest twitches by motor unit.

Rules:

* The signal is drawn by the browser (static/signals.js) from /api/v1/signal; here is what stands around it.
* A state is told as a word. Nothing on this screen is a score, and no word of it names a disease.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from nicegui import ui

from monitor import lines
from monitor.database import StoreError
from monitor.detection.events import Twitch
from monitor.glance import STREAMING, ChannelGlance, DeviceGlance, Glance
from monitor.page import frame
from monitor.page.frame import card, markup, moment, quiet, text, unit_said
from monitor.page.reader import Reader
from monitor.store import Archive

STATES = {
    None: ("rest", "●"),
    "voluntary": ("voluntary", "▲"),
    "artefact": ("artefact", "✕"),
    "bad_contact": ("bad contact", "○"),
    "gap": ("gap", "–"),
}
"""State -> its word and its sign: colour alone tells nothing."""
ACCELERATION = ("g", "m/s^2")
"""Units of what has no electrodes."""
START = "Watching starts by a command, in a terminal of this computer: <code>fasciwatch run</code>."
_NEWEST = 240
_OVERLAID = 20
_LEAST_ANALYSABLE_S = 15.0
_SHAPE_WIDTH, _SHAPE_HEIGHT = 132, 64


def build(reader: Reader) -> None:
    """The screen."""
    with frame.screen("/", "Now"):
        ui.add_head_html('<script defer src="/assets/signals.js"></script>')
        told = markup("", "live-status")
        markup("<fw-signals></fw-signals>", "signals")
        with ui.element("div").classes("columns"):
            with card("Devices"):
                devices = markup('<p class="quiet">Looking …</p>')
            with card("Latest twitches"):
                quiet(
                    "Each picture is a group of twitches of like shape on one channel, which probably come from "
                    "one motor unit, a nerve cell with its muscle fibres. They lie over one another; the newest "
                    "is the strongest line. The size is their mean from peak to peak; each picture has a scale of "
                    "its own."
                )
                latest = markup('<p class="quiet">None yet.</p>')

    async def look() -> None:
        """What changes every second."""
        seen = await reader.glance()
        _set(told, _status(seen))
        _set(devices, _devices(seen))

    async def gather() -> None:
        """What changes every few seconds."""
        try:
            _set(latest, await reader.ask(_latest))
        except StoreError as error:
            _set(latest, f'<p class="quiet">{text(error.args[0])}. {text(error.remedy)}.</p>')

    ui.timer(1.0, look)
    ui.timer(4.0, gather)


def _set(element: ui.html, html: str) -> None:
    """Without a change nothing is sent."""
    if element.content != html:
        element.content = html


def _status(seen: Glance | None) -> str:
    if seen is None:
        said = (
            f"Nothing is being watched now. {START} A wearable is chosen in "
            '<a href="/setup">Set-up</a>; what was recorded is in <a href="/history">History</a>.'
        )
        return f'<p class="notice info" role="status"><strong>Note:</strong> {said}</p>'
    return "".join(frame.warning("Attention", each) for each in seen.troubles)


def _devices(seen: Glance | None) -> str:
    if seen is None:
        return '<p class="quiet">None.</p>'
    return "".join(_device(each, seen.at_ns) for each in seen.devices)


def _device(device: DeviceGlance, now_ns: int) -> str:
    facts = [
        ("Link", _link(device, now_ns)),
        ("Battery", "not told" if device.battery_percent is None else f"{device.battery_percent} %"),
        (
            "Lost in the last minute",
            f"{100 * device.loss_minute:.1f} %{'' if device.loss_exact else ', estimated'}",
        ),
        ("Contact", _contact(device)),
    ]
    if device.rssi is not None:
        facts.append(("Radio, when found", f"{device.rssi} dBm"))
    heads = ("Channel", "Now", "Noise", "Twitches", "a minute")
    rows = [_channel(each) for each in device.channels]
    table = frame.table(heads, rows, numbers=(2, 3, 4), counts=(3, 4)) if rows else ""
    return f'<div class="device"><h3>{text(device.name)}</h3>{frame.facts(facts)}{table}</div>'


def _link(device: DeviceGlance, now_ns: int) -> str:
    if device.link == STREAMING:
        return f"streaming since {moment(device.since_ns)}"
    away = lines.length(max(now_ns - device.since_ns, 0) * 1e-9)
    return f"{device.link} since {moment(device.since_ns)} ({away})"


def _contact(device: DeviceGlance) -> str:
    electrodes = [each for each in device.channels if each.unit not in ACCELERATION]
    if device.channels and not electrodes:
        return "has no electrodes"
    if device.impedance_ohm:
        return lines.impedance(device.impedance_ohm)
    if device.off:
        return f"none at {', '.join(device.off)}"
    bad = [each.label for each in electrodes if each.state == "bad_contact"]
    return f"bad at {', '.join(bad)}" if bad else "good"


def _channel(channel: ChannelGlance) -> tuple[str, ...]:
    word, sign = state_said(channel)
    shown = f'<span aria-hidden="true">{sign}</span> {text(word)}'
    state = f'<span class="state {text(channel.state or "rest")}">{shown}</span>'
    minutes = channel.analysable_s / 60
    rate = f"{channel.twitches / minutes:.1f}" if channel.analysable_s > _LEAST_ANALYSABLE_S else "–"
    return text(channel.label), state, noise_said(channel), str(channel.twitches), rate


def state_said(channel: ChannelGlance) -> tuple[str, str]:
    """What a channel is doing: its word and its sign."""
    if channel.state == "bad_contact" and channel.unit in ACCELERATION:
        return "settling", "○"  # for 1.4 s after each gap; if it lasts, it gives one number
    return STATES.get(channel.state, (str(channel.state), "?"))


def noise_said(channel: ChannelGlance) -> str:
    """The noise of a channel with its unit."""
    if channel.noise is None:
        return "–"
    if channel.unit == "g":
        return f"{channel.noise * 1e3:.2g} mg"
    return f"{channel.noise:.2g} {text(unit_said(channel.unit))}"


def _latest(archive: Archive) -> str:
    twitches = archive.twitches(0, time.time_ns(), limit=_NEWEST)
    if not twitches:
        return '<p class="quiet">None yet.</p>'
    by_unit: dict[tuple[str, int], list[Twitch]] = defaultdict(list)
    for _, twitch in twitches:
        by_unit[twitch.channel, twitch.motor_unit or 0].append(twitch)
    order = sorted(by_unit, key=lambda key: (key[0], key[1] == 0, key[1]))
    return '<div class="shapes">' + "".join(_overlaid(*key, by_unit[key][-_OVERLAID:]) for key in order) + "</div>"


def _overlaid(channel: str, unit: int, twitches: Sequence[Twitch]) -> str:
    size = float(np.mean([each.peak_to_peak for each in twitches]))
    named = f"motor unit {unit}" if unit else "of no known unit"
    about = f"{channel}, {named}"
    last = twitches[-1]
    many = f"{len(twitches)} twitches" if len(twitches) > 1 else "1 twitch"
    svg = overlay(aligned(twitches), f"{about}: {many} laid over one another")
    return (
        f'<figure class="shape">{svg}<figcaption><strong>{text(channel)}</strong>, {named}<br>'
        f'<span class="quiet">{frame.size_said(size, last.unit)}, last {moment(last.onset_ns)}'
        f'<span class="count">, {many}</span></span></figcaption></figure>'
    )


def aligned(twitches: Sequence[Twitch]) -> list[list[float]]:
    """Their waveforms, with the largest deflections over one another."""
    peaks = [int(np.abs(each.waveform).argmax()) if each.waveform.size else 0 for each in twitches]
    before = min(peaks)
    after = min(each.waveform.size - peak for each, peak in zip(twitches, peaks, strict=True))
    return [
        each.waveform[peak - before : peak + after].tolist() for each, peak in zip(twitches, peaks, strict=True)
    ]


def overlay(
    shapes: Sequence[Sequence[float]], title: str, width: int = _SHAPE_WIDTH, height: int = _SHAPE_HEIGHT
) -> str:
    """Waveforms over one another, the last the darkest."""
    reach = max((abs(value) for shape in shapes for value in shape), default=1.0) or 1.0
    parts = []
    for number, shape in enumerate(shapes, 1):
        step = width / max(len(shape) - 1, 1)
        points = " ".join(
            f"{n * step:.1f},{height / 2 - value / reach * (height / 2 - 3):.1f}" for n, value in enumerate(shape)
        )
        opacity = 1.0 if number == len(shapes) else 0.12 + 0.3 * number / len(shapes)
        parts.append(f'<polyline points="{points}" fill="none" stroke="var(--trace)" opacity="{opacity:.2f}"/>')
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg {size} role="img" aria-label="{text(title)}">{"".join(parts)}</svg>'
