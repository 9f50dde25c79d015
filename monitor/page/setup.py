"""Set-up: which wearable, where the electrodes go, how good the signal is; what is kept, and where it goes.

Rules:

* What is missing is said in the words of `fasciwatch scan` and `fasciwatch doctor`, with the remedy.
* A device is chosen by adding its block to the configuration, which is checked before the file is replaced.
* Red flags are the same text everywhere, and depend on nothing that was measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nicegui import ui

from firmware_interface.errors import Fault
from firmware_interface.samples import Sensor
from monitor import config
from monitor.correlation.catalogue import SITES
from monitor.database import StoreError
from monitor.detection.calibration import Calibration, CalibrationError, calibrate
from monitor.detection.detector import VISIBLE
from monitor.glance import ChannelGlance, Glance
from monitor.page import frame
from monitor.page.body_figure import SPOTS, figure
from monitor.page.frame import button, card, markup, notice, quiet, text
from monitor.page.now import ACCELERATION, START, noise_said, state_said
from monitor.page.qr import picture
from monitor.page.reader import Reader
from monitor.redflags import ADVICE, NOT_A_DEVICE
from monitor.store import Archive, KnownDevice, SinkState

_REST_S, _PAUSE_S, _CONTRACTION_S = 60, 5, 5
_STORED_LATE_S = 3
_SCAN_S = 90.0
_EXPORTS = {
    "triggers": "the diary, CSV",
    "minutes": "minutes of every channel, CSV",
    "twitches": "twitches with waveforms, JSON lines",
    "labels": "labelled twitches for benchmarks, JSON lines",
}


@dataclass(frozen=True, slots=True)
class _Kept:
    sinks: list[SinkState]
    outbox_end: int
    refusals: Mapping[str, str]
    raw_bytes: int
    raw_days: int


async def build(reader: Reader, new_link: Callable[[], str]) -> None:
    """The screen."""
    with frame.screen("/setup", "Set-up"):
        with ui.element("div").classes("columns"):
            with ui.element("div"):
                _scan(reader)
                _quality(reader)
                _calibration(reader)
            with ui.element("div"):
                _placement()
                await _kept(reader)
                _taken_away()
                _phone(new_link)
        _red_flags()


# Wearables ------------------------------------------------------------------------------------------------------


def _scan(reader: Reader) -> None:
    with card("Wearables in reach", "spaced"):
        quiet("Switch the wearable on, and keep it near. Nothing is started on it.")
        place = ui.element("div")

        async def look() -> None:
            place.clear()
            with place:
                markup('<p role="status">Listening for some seconds …</p>')
            found, words = await _scanned()
            place.clear()
            with place:
                for each in found:
                    _found(reader, each)
                for said in words:
                    notice(said, "info" if found else "warn")

        button("Scan", look, primary=True)


async def _scanned() -> tuple[list[dict[str, Any]], list[str]]:
    """What `fasciwatch scan` finds, and what it says besides."""
    command = sys.executable, "-c", "from monitor.cli import main; main()", "scan", "--json"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        out, err = await asyncio.wait_for(process.communicate(), _SCAN_S)
    except TimeoutError:
        process.kill()
        return [], ["The radio did not answer. See `fasciwatch doctor`"]
    found = [json.loads(line) for line in out.decode("utf-8", "replace").splitlines() if line.startswith("{")]
    said = [line for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
    if not found and not said:
        said = ["No supported wearable is in reach. Switch it on and near, or see the device table in the README"]
    return found, said


def _found(reader: Reader, device: Mapping[str, Any]) -> None:
    name = str(device.get("name") or device["address"])
    streams = ", ".join(f"{s['name']} {s['rate_hz']:g} Hz × {len(s['channels'])}" for s in device["streams"] or ())
    with ui.element("div").classes("entry"):
        told = f"{device['family']}, {device['rssi_dbm']} dBm{', ' + streams if streams else ''}"
        markup(f"<div><strong>{text(name)}</strong><br><span class='quiet'>{text(told)}</span></div>")
        said = markup("").props('role="status"')

        async def choose() -> None:
            try:
                path = await reader.do(lambda: chosen(reader.config_file, str(device["address"]), name))
            except Fault as fault:
                said.content = f"<p>{text(fault)}</p>"
                return
            then = f"It is watched from the next start on. {START}"
            said.content = f"<p>Added to <code>{text(path)}</code>. {then}</p>"

        button("Watch it", choose, label=f"Watch {name}")


def chosen(config_file: Path | None, address: str, name: str) -> Path:
    """The configuration file with one more device; checked as a whole before it is put in its place.

    Raises:
        ConfigError: it is there already, or the file is wrong or cannot be written.
    """
    path = config_file or config.default_path()
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    plain = "".join(c for c in name if c.isprintable() and c not in "/+#")[:60].strip() or address
    block = f"[[devices]]\naddress = {json.dumps(address)}\nname = {json.dumps(plain, ensure_ascii=False)}\n"
    joined = f"{before.rstrip()}\n\n{block}" if before.strip() else block
    trial = path.with_name(f"{path.name}.trial")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        trial.write_text(joined, encoding="utf-8")
        config.load(trial)
        trial.replace(path)
    except OSError as error:
        raise config.ConfigError(f"{path}: {error.strerror}", "Check its permissions") from error
    finally:
        trial.unlink(missing_ok=True)
    return path


# Electrodes -----------------------------------------------------------------------------------------------------


def _placement() -> None:
    with card("Where the electrodes go", "spaced"):
        with ui.element("div").classes("sites"):
            drawing = markup(figure("calf"))
            with ui.element("div"):
                with ui.element("div").classes("row").props('role="group" aria-label="Place"'):
                    buttons = {site: button(site, lambda site=site: show(site)) for site in SPOTS}
                words = markup(_steps("calf"))

        def show(site: str) -> None:
            drawing.content, words.content = figure(site), _steps(site)
            for name, made in buttons.items():
                made.props(f'aria-pressed="{str(name == site).lower()}"')

        show("calf")


def _steps(site: str) -> str:
    spot = SPOTS[site]
    return (
        f"<p><strong>{text(site.capitalize())}:</strong> {text(SITES[site])}.</p><ol>"
        "<li>Clean the skin with water or alcohol, and let it dry.</li>"
        "<li>Two electrodes along the muscle, two fingers apart, on its belly, not over the tendon.</li>"
        f"<li>The reference {text(spot.reference)}.</li>"
        "<li>Fix the cable, so that it does not pull.</li>"
        f"<li>Look at “Signal now”: at rest the noise should stay under {100 / VISIBLE:.0f} µV.</li></ol>"
    )


def _quality(reader: Reader) -> None:
    with card("Signal now", "spaced"):
        table = markup('<p class="quiet">Looking …</p>')

        async def look() -> None:
            html = _signal(await reader.glance())
            if html != table.content:
                table.content = html

        ui.timer(1.0, look)


def _signal(seen: Glance | None) -> str:
    if seen is None:
        return f'<p class="quiet">Nothing is being watched. {START}</p>'
    rows = [
        (text(c.label), text(state_said(c)[0]), noise_said(c), quality(c))
        for device in seen.devices
        for c in device.channels
    ]
    return frame.table(("Channel", "Now", "Noise", "Signal"), rows, numbers=(2,))


def quality(channel: ChannelGlance) -> str:
    """How well twitches can be seen now, in words."""
    if channel.state == "bad_contact":
        if channel.unit in ACCELERATION:
            return "listening; if it lasts, restart the wearable"
        return "no contact: press or replace the electrode"
    if channel.noise is None:
        return "listening"
    if channel.unit != "uV":
        return "heard"
    visible_uv = VISIBLE * channel.noise
    if visible_uv < 50:
        return "good"
    return "fair" if visible_uv < 100 else "poor: small twitches are hidden"


def _calibration(reader: Reader) -> None:
    with card("Calibrate, about a minute", "spaced"):
        quiet("A minute of rest, then a firm contraction: the levels of this person. Optional.")
        said = markup("").props('role="status" aria-live="polite"')
        place = ui.element("div")

        async def begin() -> None:
            place.clear()
            seen = await reader.glance()
            if seen is None or not any(device.channels for device in seen.devices):
                said.content = f"<p>Nothing is being watched. {START}</p>"
                return
            start_ns = time.time_ns()
            await _counted(said, "Rest: keep the muscle still", _REST_S)
            await _counted(said, "Now contract the muscles firmly, and hold", _PAUSE_S + _CONTRACTION_S)
            await _counted(said, "Thank you. Reading what was stored", _STORED_LATE_S)
            rest = start_ns, start_ns + _REST_S * 10**9
            held = rest[1] + _PAUSE_S * 10**9, rest[1] + (_PAUSE_S + _CONTRACTION_S) * 10**9
            try:
                found = await reader.do(lambda: calibrated(reader, rest, held))
            except Fault as fault:
                said.content = frame.warning("Not calibrated", fault)
                return
            said.content = "<p>Done.</p>"
            with place:
                markup(_levels(found))

        button("Begin", begin)


async def _counted(said: ui.html, words: str, seconds: int) -> None:
    """Tell what to do, and how long it takes."""
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        done = 100 - round(100 * left / seconds)
        said.content = f"<p><strong>{words}</strong>: {left:.0f} s</p>{frame.progress(done)}"
        await asyncio.sleep(min(left, 1.0))


def calibrated(reader: Reader, rest: tuple[int, int], held: tuple[int, int]) -> list[Calibration]:
    """The levels of all EMG channels, from the stored signal.

    Raises:
        CalibrationError: the signal does not hold what is needed.
    """
    found: list[Calibration] = []
    for device in reader.archive().devices():
        for stream in device.device.streams:
            if stream.sensor is Sensor.EMG and _is_heard(device, held[0]):
                spans = (reader.signal(device.id, stream.name, *span) for span in (rest, held))
                found += calibrate(stream, *spans)
    if not found:
        raise CalibrationError("no EMG was stored in this minute", "Wear an EMG device, and keep raw.days above 0")
    return found


def _is_heard(device: KnownDevice, since_ns: int) -> bool:
    return any(until_ns > since_ns for until_ns in device.accounted_ns.values())


def _levels(found: list[Calibration]) -> str:
    heads = ("Channel", "Noise", "Smallest twitch", "Contraction")
    rows = [(text(c.channel), *(f"{each:.3g} µV" for each in (c.noise, c.smallest, c.contraction))) for c in found]
    toml = "[detection]\n" + "\n".join(
        f"{key} = {{ {', '.join(f'{json.dumps(c.channel)} = {getattr(c, name):.4g}' for c in found)} }}"
        for key, name in (("smallest_at", "smallest"), ("contraction_at", "contraction"))
    )
    told = "<p>For the configuration, used from the next start of watching on; put it there by hand:</p>"
    return f"{frame.table(heads, rows, numbers=(1, 2, 3))}{told}<pre><code>{text(toml)}</code></pre>"


# What is kept ---------------------------------------------------------------------------------------------------


async def _kept(reader: Reader) -> None:
    with card("What is kept, and where it goes", "spaced"):
        try:
            kept = await reader.ask(lambda archive: _read(reader, archive))
        except StoreError as error:
            quiet(str(error))
            return
        raw = reader.settings.raw
        share = 100 * kept.raw_bytes / (raw.size_gb * 1e9)
        facts = [
            ("Data folder", str(reader.folder)),
            (
                "Raw signal",
                f"{kept.raw_bytes / 1e9:.2f} GB of {raw.size_gb:g} GB ({share:.0f} %), "
                f"{kept.raw_days} {'day' if kept.raw_days == 1 else 'days'}",
            ),
            ("Kept for", f"{raw.days:g} days (raw.days)" if raw.days else "not at all (raw.days = 0)"),
            ("Twitches, minutes, diary", "for ever"),
        ]
        markup(frame.facts(facts))
        if not kept.sinks:
            quiet("Nothing is sent anywhere. A server is named in the configuration: docs/influxdb.md says how.")
        for sink in kept.sinks:
            markup(_sink(sink, kept))


def _read(reader: Reader, archive: Archive) -> _Kept:
    sinks = archive.sinks()
    refused = {each.name: letters[0].reason for each in sinks if (letters := archive.dead_letters(each.name, 1))}
    return _Kept(sinks, archive.outbox_end(), refused, reader.raw.size_bytes(), len(reader.raw.days()))


def _sink(sink: SinkState, kept: _Kept) -> str:
    waiting = kept.outbox_end - sink.seq
    health = "has all" if not waiting else f"{waiting} records wait"
    refused = f", refused {sink.refused}: {kept.refusals.get(sink.name, '')}" if sink.refused else ""
    return f'<div class="entry"><strong>{text(sink.name)}</strong><span>{text(health + refused)}</span></div>'


def _taken_away() -> None:
    with card("Take it with you", "spaced"):
        links = "".join(f'<a class="button" href="/api/v1/export/{what}" download>{what}</a>' for what in _EXPORTS)
        said = "; ".join(f"{what}: {words}" for what, words in _EXPORTS.items())
        markup(f'<div class="row">{links}</div><p class="quiet">{text(said)}.</p>')
        report = '<a class="button primary" href="/report" target="_blank" rel="noopener">Make the report</a>'
        markup(f'<div class="row">{report}</div>')
        quiet("All of it on one page, to read, to print, to take to a doctor. Nothing leaves this computer.")


def _phone(new_link: Callable[[], str]) -> None:
    with card("On your phone", "spaced"):
        if not new_link():
            quiet(
                "This page is for this computer alone, and cannot change that itself. One for your own network, "
                "encrypted and with a token, is started in a terminal of this computer:"
            )
            markup("<pre><code>fasciwatch page --phone</code></pre>")
            return
        quiet(
            "Scan it with the phone's camera: it logs in once, within ten minutes. Then add it to the home screen."
        )
        place = markup("")
        button("Show a new link", lambda: place.set_content(picture(new_link())))


def _red_flags() -> None:
    with card("When to see a doctor, and when to call for help"):
        parts = "".join(
            f"<h3>{text(each.what)}</h3><ul>{''.join(f'<li>{text(sign)}</li>' for sign in each.signs)}</ul>"
            for each in ADVICE
        )
        markup(f'<div class="side-by-side">{parts}</div><p class="quiet">{text(NOT_A_DEVICE)}</p>')
