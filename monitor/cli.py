"""The command `fasciwatch`.

Rules: standard output is for data, standard error for words. `--json` is on every command that prints data.
Exit codes: 0 done, 1 failed at run time, 2 wrong usage or configuration. A fault is one line with its remedy.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer
from rich.console import Console

import monitor
from firmware_interface.ble import Radio, Sighting
from firmware_interface.capture import SUFFIX, Writer
from firmware_interface.codecs import Codec, Device, Examination
from firmware_interface.codecs.families import FAMILIES
from firmware_interface.descriptions import families
from firmware_interface.emulated.arm import Arm, ArmSettings
from firmware_interface.emulated.wearable import Wearable, WearableSettings
from firmware_interface.errors import Fault, RadioError
from firmware_interface.samples import Gap, GapReason, SampleBlock, Sensor, Status, Unit
from monitor import (
    cli_alerts,
    cli_cohort,
    cli_diary,
    cli_experiment,
    cli_export,
    cli_page,
    cli_report,
    cli_simulate,
    cli_stack,
    cli_study,
    config,
    lines,
    service,
    study,
)
from monitor.alerts.alarms import Alarms
from monitor.backup import backed_up, restored
from monitor.clock import HostClock
from monitor.collector import Collector, Subject
from monitor.correlation.bins import Tallies
from monitor.correlation.catalogue import Form, entry
from monitor.correlation.files import read_tallies, read_triggers
from monitor.correlation.findings import Report
from monitor.correlation.findings import correlate as correlated
from monitor.correlation.stored import BIN_NS, tallies_of
from monitor.correlation.triggers import Refusal, Trigger, kind_of
from monitor.credentials import credential
from monitor.database import StoreError
from monitor.detection import calibration
from monitor.detection.events import Context, Twitch
from monitor.diary import read_diary
from monitor.diary import triggers as triggers_of
from monitor.doctor import checks
from monitor.found import keep as keep_findings
from monitor.glance import Glances
from monitor.inbox import Inbox
from monitor.live import Lines, LinesWithoutCounts, Screen, View
from monitor.outbox import Delivery, Outbox
from monitor.raw import Raw
from monitor.reception import Heard, by_minute
from monitor.recording import read
from monitor.replay import replay as replayed
from monitor.score import marked, read_truth, scored
from monitor.sinks.desktop import Desktop
from monitor.sinks.requests import Requests
from monitor.sinks.web import Heartbeat, Webhook
from monitor.store import Archive, Linked, Store, Summary, is_written
from monitor.terminal import ConfigFile, DataDir, Json, Since, TimeZone
from monitor.terminal import demo_folder as _demo_folder
from monitor.terminal import note as _note
from monitor.terminal import open_ended as _open_ended
from monitor.terminal import print_table as _print_table
from monitor.terminal import progress as _progress
from monitor.terminal import readable as _readable
from monitor.terminal import revealed as _revealed
from monitor.terminal import say as _print
from monitor.terminal import since_ns as _since_ns
from monitor.terminal import zone as _zone

if TYPE_CHECKING:
    from monitor.outbox import Sink
    from monitor.sinks.influx import Influx1, Influx2
    from monitor.sinks.mqtt import Broker, Mqtt

_DEMO_ADDRESS = "F0:5C:1A:00:00:01"
_DEMO_SITES = ("biceps", "triceps", "FCR", "FDI")
_SCAN_S = 8.0
_MINUTE_NS = 60 * 10**9
_REFUSALS_SHOWN = 10

app = typer.Typer(
    help="Watch muscle twitches (fasciculations) from a laptop, with wearables that people can buy. "
    "Not a medical device: it counts, it does not diagnose.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Duration = Annotated[float | None, typer.Option("--for", min=1.0, help="Stop after this many seconds.")]


_UsageError: Any = typer.BadParameter.__mro__[1]  # click's own or, by version, the one inside typer


def main() -> None:
    """Run the command; turn faults into one line and an exit code."""
    for library in ("bleak", "bumble", "mqtt"):  # what matters of their warnings, we say; the rest is noise
        logging.getLogger(library).setLevel(logging.CRITICAL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it was closed
            stream.reconfigure(errors="replace")
    try:
        exit_code = app(prog_name="fasciwatch", standalone_mode=False)
        if sys.stdout is not None:
            with _open_ended(sys.stdout):
                sys.stdout.flush()
    except Fault as fault:
        _note(f"fasciwatch: {fault}")
        exit_code = fault.exit_code
    except _UsageError as error:
        _note(_usage(error))
        exit_code = 2
    sys.exit(exit_code)


_WRONG = {
    "int_parsing": "is no whole number",
    "int_from_float": "is no whole number",
    "float_parsing": "is no number",
    "greater_than_equal": "is too small: {} at least",
    "greater_than": "is too small: more than {}",
    "less_than_equal": "is too large: {} at most",
    "less_than": "is too large: less than {}",
}
"""pydantic's names of faults -> words for people who write commands."""


def _usage(error: Any) -> str:  # noqa: ANN401
    """What is wrong, and where the right is described; the help itself where nothing was asked."""
    if error.ctx is None or not sys.argv[1:]:
        return str(error.format_message())
    message = " ".join(error.format_message().replace("Value error, ", "").split())
    faults: list[Any] = getattr(error.__cause__, "errors", list)()  # typer's newer versions check with pydantic
    if faults and faults[0]["type"] in _WRONG:
        fault = faults[0]
        name = error.param.opts[0] if error.param.opts[0].startswith("-") else error.param.name.upper()
        limit = next(iter(fault.get("ctx", {}).values()), "")
        message = f"{name} {fault['input']!r} {_WRONG[fault['type']].format(limit)}"
    elif re.match(r"No such option: -[\d.]", message):  # taken for an option
        said = next(each for each in sys.argv if re.match(r"-[\d.]", each))
        message = f"{said!r} is negative, which nothing here can be"
    return f"{error.ctx.command_path}: {message.rstrip('.')}. See `{error.ctx.command_path} --help`"


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"fasciwatch {monitor.__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    seed: Annotated[int, typer.Option(min=0, help="Of the emulated arm and radio.")] = 1,
    loss: Annotated[float, typer.Option(min=0.0, max=0.5, help="Share of packets that the radio loses.")] = 0.01,
    duration: Duration = None,
    page: cli_page.Wanted = None,
    json_lines: Json = False,
    config_file: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Watch an emulated wearable over a virtual radio."""
    settings = config.load(config_file) if config_file else config.Settings()
    source, folder = partial(_emulated, seed, loss), data or _demo_folder()
    with cli_page.beside(folder, settings, config_file, wanted=page):
        _collect(source, folder, settings, json_lines=json_lines, duration_s=duration)


@app.command()
def run(
    page: cli_page.Wanted = None,
    config_file: ConfigFile = None,
    duration: Duration = None,
    json_lines: Json = False,
    data: DataDir = None,
) -> None:
    """Watch wearables: the configured ones, or all in reach."""
    settings = config.load(config_file)
    source, folder = partial(_wearables, settings), data or settings.data_dir
    with cli_page.beside(folder, settings, config_file, wanted=page):
        _collect(source, folder, settings, json_lines=json_lines, duration_s=duration)


@app.command()
def record(
    file: Annotated[Path, typer.Argument(help=f"A new file; {SUFFIX} is added to its name.", show_default=False)],
    config_file: ConfigFile = None,
    duration: Duration = None,
    json_lines: Json = False,
    data: DataDir = None,
) -> None:
    """Watch as `run` does, and keep what the radio brings in a file."""
    settings = config.load(config_file)
    source = partial(_wearables, settings)
    path = file if file.suffix == SUFFIX else file.with_name(file.name + SUFFIX)
    with closing(Writer(path)) as capture:
        _collect(
            source,
            data or settings.data_dir,
            settings,
            json_lines=json_lines,
            duration_s=duration,
            capture=capture,
        )
    _note(f"captured in {path}; `fasciwatch replay {path}` gives what was seen")


@app.command()
def scan(
    seconds: Annotated[float, typer.Option("--for", min=1.0, help="How long to listen.")] = 8.0,
    everything: Annotated[bool, typer.Option("--all", help="Also devices that are not supported.")] = False,
    test: Annotated[bool, typer.Option("--test", help="Have those that can test themselves.")] = False,
    json_lines: Json = False,
    config_file: ConfigFile = None,
) -> None:
    """Name the wearables in reach, and what they measure."""
    known = families(config.load(config_file).description_folder)
    found = asyncio.run(_survey(Radio(known), seconds, test=test))
    _print_survey(found, known, everything=everything, json_lines=json_lines)


Surveyed = tuple[Sighting, Device | str | None, Examination | None]
"""What a supported device said of itself, or why it said nothing; None for others, which are not asked. What came
of its test, if it has one and was to make it."""


async def _survey(radio: Radio, seconds: float, *, test: bool = False) -> list[Surveyed]:
    """Who is in reach, each asked what it measures: one after the other, and none is left running."""
    surveyed: list[Surveyed] = []
    for sighting in await radio.scan(seconds):
        said: Device | str | None = None
        examined: Examination | None = None
        if sighting.codec:
            try:
                said = await radio.introduce(sighting.address)
                examined = await radio.examine(sighting.address) if test else None
            except RadioError as error:
                said = str(error.args[0])
        surveyed.append((sighting, said, examined))
    return surveyed


def _print_survey(
    surveyed: Iterable[Surveyed], known: Sequence[type[Codec]] = FAMILIES, *, everything: bool, json_lines: bool
) -> None:
    shown = [each for each in surveyed if everything or each[0].codec]
    if json_lines:
        for each in shown:
            _print(lines.as_json(_sighting_fields(*each)))
        return
    if shown:
        rows = (
            (
                s.address,
                s.name or "",
                f"{s.rssi} dBm",
                s.codec.FAMILY if s.codec else "not supported",
                _streams(said),
            )
            for s, said, _ in shown
        )
        _print_table(("address", "name", "signal", "family", "streams"), rows)
    for sighting, _, examined in shown:
        if examined:
            _note(f"{sighting.name or sighting.address}: {_examined(examined)}")
    ours = [sighting for sighting, *_ in shown if sighting.codec]
    silent = {sighting.codec for sighting, said, _ in shown if sighting.codec and not isinstance(said, Device)}
    for family in known:
        if family in silent or not ours:
            _note(f"{family.FAMILY}: {family.ADVICE}")
    if ours:
        _note(f"to watch {'it' if len(ours) == 1 else 'them'}: fasciwatch run")
        _note(f"to choose and name: [[devices]] with address = {ours[0].address!r} in {config.default_path()}")
    else:
        _note("no supported wearable in reach; see the device table in the README, or scan --all")


def _streams(said: Device | str | None) -> str:
    if not isinstance(said, Device):
        return said or ""
    return ", ".join(f"{s.name} {s.rate_hz:g} Hz × {len(s.channels)} ({s.unit})" for s in said.streams)


def _examined(said: Examination) -> str:
    contact = (
        f"channel {n} {ohm / 1000:.0f} kΩ{' (no contact)' if off else ''}"
        for n, (ohm, off) in enumerate(zip(said.impedance_ohm, said.lead_off, strict=True), 1)
    )
    return f"{'passed' if said.passed else 'FAILED'}: {said.found}; {', '.join(contact)}"


@app.command()
def link(
    since: Since = "1h", config_file: ConfigFile = None, data: DataDir = None, json_lines: Json = False
) -> None:
    """List minute by minute how each device was heard."""
    now_ns = time.time_ns()
    since_ns = _since_ns(since, now_ns)
    with Archive.open(_readable(config_file, data)) as archive:
        names = {known.id: known.device.name for known in archive.devices()}
        heard = by_minute(archive.minutes(since_ns, now_ns), archive.gaps(since_ns, now_ns), since_ns, now_ns)
        statuses = {(h.device_id, h.at_ns // _MINUTE_NS): h.status for h in archive.health(since_ns, now_ns)}
        links = {(d, linked.at_ns // _MINUTE_NS): linked for d, linked in archive.links(since_ns, now_ns)}
    if not heard:
        _note(f"nothing was heard in the last {since}")
    keys = [(h.device_id, h.start_ns // _MINUTE_NS) for h in heard]
    found = [(h, statuses.get(key), links.get(key)) for h, key in zip(heard, keys, strict=True)]
    if json_lines:
        for h, status, linked in found:
            _print(lines.as_json(_heard_fields(names[h.device_id], h, status, linked)))
    elif heard:
        titles = ("minute", "device", "from", "observed s", "loss", "missing", "battery", "contact", "signal")
        _print_table(titles, (_heard_row(names[h.device_id], h, status, linked) for h, status, linked in found))


def _heard_fields(device: str, heard: Heard, status: Status | None, linked: Linked | None) -> lines.Fields:
    return {
        "type": "link",
        "device": device,
        "channel": heard.channel,
        "minute": lines.utc(heard.start_ns),
        "observed_s": round(heard.observed_s, 3),
        "missing_s": {str(reason): round(seconds, 3) for reason, seconds in sorted(heard.missing_s.items())},
        "loss": round(heard.loss, 5),
        "exact": heard.exact,
        "battery_percent": status.battery_percent if status else None,
        "no_contact": status.lead_off if status else None,
        "impedance_ohm": status.impedance_ohm if status else None,
        "rssi_dbm": linked.rssi if linked else None,
        "firmware": linked.firmware if linked else None,
    }


def _heard_row(device: str, heard: Heard, status: Status | None, linked: Linked | None) -> tuple[str, ...]:
    return (
        lines.local(heard.start_ns),
        device,
        heard.channel,
        f"{heard.observed_s:.1f}",
        f"{100 * heard.loss:.1f} %" + ("" if heard.exact else " (estimated)"),
        ", ".join(f"{reason} {seconds:.1f} s" for reason, seconds in sorted(heard.missing_s.items())),
        lines.battery(status.battery_percent).removeprefix("battery ") if status else "",
        _contact(status) if status else "",
        f"{linked.rssi} dBm" if linked else "",
    )


def _contact(status: Status) -> str:
    """That of the electrodes, where the device says something of it."""
    if status.impedance_ohm:
        return lines.impedance(status.impedance_ohm)
    return f"{sum(status.lead_off)} of {len(status.lead_off)} off" if any(status.lead_off) else ""


@app.command()
def replay(
    file: Annotated[
        Path, typer.Argument(help="EDF, BDF, XDF, CSV, a capture or raw day file.", show_default=False)
    ],
    unit: Annotated[Unit | None, typer.Option(help="Unit of the numbers, instead of what the file says.")] = None,
    sensor: Annotated[
        Sensor | None, typer.Option(help="What was measured, instead of what the file says.")
    ] = None,
    config_file: ConfigFile = None,
    json_lines: Json = False,
) -> None:
    """Run a recording through the same detector as live data."""
    settings = config.load(config_file)
    recording = read(file, unit=unit, sensor=sensor)
    with _progress(f"{file.name}, {lines.length(recording.duration_s)}", recording.duration_s) as heard:
        result = replayed(recording, settings.detection, heard)
    for note in result.notes:
        _note(note)
    if json_lines:
        for event in result.events:
            _print(lines.as_json(lines.from_start(event)))
        for channel in result.summaries:
            _print(lines.as_json(lines.summary(channel)))
        return
    for event in result.events:
        _print(f"{event.onset_ns * 1e-9:10.3f} s  {lines.plain(event)}")
    rows = (
        (s.channel, f"{s.recorded_s:.1f}", f"{s.analysable_s:.1f}", str(s.twitches), _rate(s.rate_per_min))
        for s in result.summaries
    )
    _print_table(("channel", "recorded s", "analysable s", "twitches", "a minute"), rows)


@app.command()
def score(
    recording: Annotated[Path, typer.Argument(help="EDF, BDF, XDF or CSV.", show_default=False)],
    truth: Annotated[Path | None, typer.Option(help="CSV of kind,onset_s,duration_s; else EDF+ notes.")] = None,
    config_file: ConfigFile = None,
    json_lines: Json = False,
) -> None:
    """Compare what is found in a recording with a person's marks."""
    opened = read(recording)
    marks = read_truth(truth) if truth else marked(opened)
    for result in scored(opened, marks, config.load(config_file).detection):
        if json_lines:
            _print(lines.as_json(result.fields()))
        else:
            _print_table((str(result.sensor), ""), result.rows())


@app.command()
def calibrate(
    recording: Annotated[Path, typer.Argument(help="EDF, BDF, XDF, CSV or capture.", show_default=False)],
    rest: Annotated[str, typer.Option(help="Seconds of rest, from-to.")] = "0-60",
    contracted: Annotated[
        str, typer.Option("--contraction", help="Seconds of a firm contraction, from-to.")
    ] = "65-70",
    json_lines: Json = False,
) -> None:
    """Measure a person's channels at rest and in a contraction."""
    opened = read(recording)
    spans = _seconds(rest, "--rest"), _seconds(contracted, "--contraction")
    for stream in opened.streams:
        if stream.sensor is not Sensor.EMG:
            continue
        blocks = [block for block in opened.blocks() if isinstance(block, SampleBlock) and block.stream is stream]
        found = calibration.calibrate(stream, *(_within(blocks, *span) for span in spans))
        if json_lines:
            for one in found:
                _print(lines.as_json({"type": "calibration", "unit": stream.unit, **asdict(one)}))
            continue
        _print("[detection]")
        for key, name in (("smallest_at", "smallest"), ("contraction_at", "contraction")):
            values = ", ".join(f"{json.dumps(one.channel)} = {getattr(one, name):.4g}" for one in found)
            _print(f"{key} = {{ {values} }}")


def _seconds(text: str, option: str) -> tuple[float, float]:
    """ "0-60" -> (0.0, 60.0)."""
    try:
        start_s, stop_s = (float(part) for part in text.split("-"))
    except ValueError:
        raise typer.BadParameter(f"{text} is not like 0-60", param_hint=option) from None
    return start_s, stop_s


def _within(blocks: Iterable[SampleBlock], start_s: float, stop_s: float) -> Iterator[SampleBlock]:
    """What of the blocks lies in a span of the recording."""
    for block in blocks:
        rate_hz = block.stream.rate_hz
        first = max(round(start_s * rate_hz) - block.first, 0)
        last = min(round(stop_s * rate_hz) - block.first, block.length)
        if first < last:
            yield replace(block, first=block.first + first, counts=block.counts[:, first:last])


@app.command()
def correlate(
    tallies: Annotated[Path | None, typer.Option(help="CSV of what was counted; else what is stored.")] = None,
    triggers: Annotated[Path | None, typer.Option(help="CSV of what was logged.")] = None,
    timezone: TimeZone = "",
    questions: Annotated[str, typer.Option(help="Kinds to ask of, with commas; else all that were logged.")] = "",
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Relate twitches to logged triggers, or say why not."""
    now_ns = time.time_ns()
    zone = _zone(timezone)
    folder = _revealed(config_file, data) if tallies is None or triggers is None else Path()
    refused: list[tuple[str, Refusal]] = []
    logged: list[Trigger]
    if tallies is None:
        counted = _stored_tallies(folder, now_ns)
    else:
        counted, lines_refused = read_tallies(tallies, now_ns * 1e-9)
        refused += [(f"{tallies.name}: line", refusal) for refusal in lines_refused]
    if triggers is None:
        logged, log_name = triggers_of(read_diary(folder), now_ns), "entry"
    else:
        logged, lines_refused = read_triggers(triggers)
        log_name = f"{triggers.name}: line"
        refused += [(log_name, refusal) for refusal in lines_refused]
    asked = [kind_of(text) for text in questions.split(",") if text.strip()] or None
    report = correlated(counted, logged, zone, now_ns * 1e-9, asked)
    refused += [(log_name, refusal) for refusal in report.method.refused]
    if tallies is None and triggers is None:
        keep_findings(folder, report.findings, now_ns)
    if json_lines:
        _print(lines.as_json(_report_fields(report, refused)))
    else:
        _print_report(report, refused)


@app.command()
def events(
    since: Since = "24h",
    limit: Annotated[int, typer.Option(min=1, max=10**9, help="At most this many, the newest.")] = 200,
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """List stored twitches; with --json, contexts and gaps too."""
    now_ns = time.time_ns()
    since_ns = _since_ns(since, now_ns)
    with Archive.open(_revealed(config_file, data)) as archive:
        names = {known.id: known.device.name for known in archive.devices()}
        twitches = archive.twitches(since_ns, now_ns, limit=limit)
        if len(twitches) == limit:
            _note(f"the newest {limit}; for more, --limit")
        if json_lines:
            start_ns = twitches[0][1].onset_ns if len(twitches) == limit else since_ns
            contexts = archive.contexts(start_ns, now_ns)
            stored: list[tuple[int, Twitch | Context | Gap]] = [*twitches, *contexts]
            stored += archive.gaps(start_ns, now_ns)
            objects = [lines.at_utc(event, names[device]) for device, event in stored]
            for fields in sorted(objects, key=lambda fields: str(fields["onset"])):
                _print(lines.as_json(fields))
            return
    if not twitches:
        _note(f"no twitch stored in the last {since}" if since_ns else "no twitch stored")
        return
    rows = (
        (
            lines.local(twitch.onset_ns),
            names[device],
            twitch.channel,
            f"{lines.three_digits(twitch.peak_to_peak)} {twitch.unit}",
            f"{twitch.duration_s * 1e3:.0f}",
            f"{twitch.snr:.0f}",
            f"{twitch.confidence:.2f}",
        )
        for device, twitch in twitches
    )
    _print_table(("onset", "device", "channel", "peak to peak", "ms", "SNR", "confidence"), rows)


@app.command()
def status(
    since: Since = "24h", config_file: ConfigFile = None, data: DataDir = None, json_lines: Json = False
) -> None:
    """Say what is being watched, and what the last hours held."""
    now_ns = time.time_ns()
    since_ns = _since_ns(since, now_ns)
    folder = _revealed(config_file, data)
    with Archive.open(folder) as archive:
        summary = archive.summary(since_ns, now_ns)
        gaps = archive.gaps(since_ns, now_ns)
        troubles = archive.troubles()
    running = is_written(folder)
    missing = _missing(gaps, since_ns)
    if json_lines:
        told = [{"name": t.name, "since": lines.utc(t.at_ns), "detail": t.detail} for t in troubles]
        _print(lines.as_json(_status_fields(summary, missing, running=running) | {"troubles": told}))
    else:
        _print_status(summary, missing, since, running=running)
        for trouble in troubles:
            _print(f"since {lines.local(trouble.at_ns)}: {trouble.detail}")


@app.command()
def backup(
    destination: Annotated[
        Path, typer.Argument(help="A folder, new or of an earlier backup.", show_default=False)
    ],
    config_file: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Copy the data folder, consistently, also while it is written."""
    folder = data or config.load(config_file).data_dir  # never the demo's in its place: it would come back as real
    for name in backed_up(folder, destination):
        _note(f"copied {name}")
    _note(f"{destination} holds all of {folder}; `fasciwatch restore {destination}` brings it back")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A folder made by `fasciwatch backup`.", show_default=False)],
    config_file: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Bring a backup back, into an empty data folder."""
    folder = data or config.load(config_file).data_dir
    for name in restored(source, folder):
        _note(f"restored {name}")
    _note(f"every page and block of {folder} was verified")


@app.command()
def sinks(config_file: ConfigFile = None, data: DataDir = None, json_lines: Json = False) -> None:
    """Say how far each server has got, and what it refused."""
    with Archive.open(_readable(config_file, data)) as archive:
        end = archive.outbox_end()
        found = [(state, archive.dead_letters(state.name, 1)) for state in archive.sinks()]
    if not found:
        _note("nothing was sent anywhere yet; [[influxdb]] in the configuration names a server")
    if json_lines:
        for state, refused in found:
            fields = {
                **asdict(state),
                "waiting": end - state.seq,
                "last_refusal": refused[0].reason if refused else None,
            }
            _print(lines.as_json({"type": "sink", **fields}))
    elif found:
        rows = (
            (s.name, str(s.seq), str(end - s.seq), str(s.refused), refused[0].reason if refused else "")
            for s, refused in found
        )
        _print_table(("sink", "delivered", "waiting", "refused", "last refusal"), rows)


@app.command()
def doctor(config_file: ConfigFile = None, data: DataDir = None, json_lines: Json = False) -> None:
    """Check what is needed here, and say what to do about it."""
    settings = config.load(config_file)
    wrong = False
    trials = {sink.name: partial(_trial, sink, settings.node) for sink in _sinks(settings)}
    if settings.mqtt:
        trials[f"mqtt {settings.mqtt.host}"] = partial(_tried_mqtt, settings.mqtt, settings.node)
    for check in checks(data or settings.data_dir, families(settings.description_folder), trials):
        wrong |= bool(check.remedy)
        if json_lines:
            _print(lines.as_json({"type": "check", "ok": not check.remedy, **asdict(check)}))
        else:
            remedy = f". {check.remedy}" if check.remedy else ""
            _print(f"{'FAIL' if check.remedy else 'ok  '} {check.name}: {check.found}{remedy}")
    if wrong:
        raise typer.Exit(1)


service_app = typer.Typer(help="Run from login on, restarted whenever it ends.", no_args_is_help=True)
app.add_typer(service_app, name="service")


@service_app.command("install")
def service_install(config_file: ConfigFile = None) -> None:
    """Have `fasciwatch run` started by the system, now and from login on."""
    config.load(config_file)
    options = ["--config", str(config_file.absolute())] if config_file else []
    for done in service.install(service.service(service.command_line(options))):
        _note(done)


@service_app.command("remove")
def service_remove() -> None:
    """Stop it, and undo what `install` did."""
    for done in service.remove(service.service(service.command_line([]))):
        _note(done)


app.command()(cli_diary.felt)
app.command()(cli_report.report)
app.command()(cli_report.redflags)
app.command()(cli_cohort.cohort)
app.command()(cli_export.export)
app.add_typer(cli_simulate.app, name="simulate", help="People who do not exist, to plan a study with.")
app.add_typer(cli_study.app, name="study", help="Take part in a study under a pseudonym.")
app.command()(cli_page.page)
app.command()(cli_page.labels)
app.add_typer(cli_alerts.app, name="alerts", help="What you should know now, and your answer to it.")
app.add_typer(cli_stack.app, name="stack", help="InfluxDB, Grafana and a broker beside it, in docker.")
app.add_typer(cli_diary.app, name="trigger", help="Log what may have to do with twitching.")
app.add_typer(cli_experiment.app, name="experiment", help="An experiment on yourself, with days drawn by lot.")


# Collecting ---------------------------------------------------------------------------------------------------

Source = Callable[[], AbstractAsyncContextManager[tuple[Radio, list[Subject]]]]
"""Opens a radio and finds who to follow on it."""


def _collect(
    source: Source,
    folder: Path,
    settings: config.Settings,
    *,
    json_lines: bool,
    duration_s: float | None,
    capture: Writer | None = None,
) -> None:
    """Collect from `source` into `folder`, and `capture`, until a signal or the end of `duration_s`."""
    study.allow(folder, settings.detection)
    clock = HostClock()
    with _Ending() as ending:
        with _writing(folder, clock) as store, closing(Raw(folder, settings.raw.retention)) as raw:
            watch = _watch(
                source,
                store,
                raw,
                clock,
                settings,
                ending,
                json_lines=json_lines,
                duration_s=duration_s,
                capture=capture,
            )
            asyncio.run(watch)
        _note(f"stored in {folder}")


@contextmanager
def _writing(folder: Path, clock: HostClock) -> Iterator[Store]:
    """The store; at the end the session gets its own, if it can be written."""
    store = Store.open(folder)
    try:
        yield store
    except BaseException:
        with suppress(StoreError):  # the first fault says it all
            store.close(clock.utc_ns())
        raise
    store.close(clock.utc_ns())


async def _watch(
    source: Source,
    store: Store,
    raw: Raw,
    clock: HostClock,
    settings: config.Settings,
    ending: _Ending,
    *,
    json_lines: bool,
    duration_s: float | None,
    capture: Writer | None,
) -> None:
    with suppress(asyncio.CancelledError), ending.cancels_this_task():
        async with source() as (radio, subjects):
            begun_ns = clock.utc_ns()
            opening = store.begin(
                now_ns=begun_ns, version=monitor.__version__, settings=asdict(settings.detection)
            )
            _say_gap(opening.previous_end_ns, begun_ns)
            outbox = Outbox(store.folder, settings.node)
            broker = _broker(settings, outbox)
            sinks = [*_sinks(settings), *_notifiers(settings), *([broker] if broker else [])]
            deliveries = [Delivery(sink, outbox) for sink in sinks]
            rules = [alert.rule for alert in settings.alerts]
            alarms = Alarms(store.folder, rules, [sink.name for sink in sinks], settings.notify.quiet)
            inbox = Inbox(store.folder, [sink.name for sink in sinks])
            heartbeat = Heartbeat(settings.notify.heartbeat_url) if settings.notify.heartbeat_url else None

            def alive() -> None:
                service.tell_systemd("WATCHDOG=1")
                if heartbeat and "store" not in collector.troubles:
                    heartbeat.beat()
                if broker:
                    broker.show(clock.utc_ns() - clock.utc_offset_ns, collector.seen())

            collector = Collector(
                radio, store, subjects, settings.detection, clock, capture, raw, deliveries, alive, alarms, inbox
            )
            service.tell_systemd("READY=1")
            try:
                with (
                    service.kept_awake(wanted=settings.keep_awake) as trouble,
                    Glances(store.folder, collector),
                    _view(collector, ending, store.folder, json_lines=json_lines) as view,
                    suppress(TimeoutError),
                ):
                    if trouble:
                        view.tell("", trouble)
                    async with asyncio.timeout(duration_s):
                        await collector.run(view.tell)
            finally:
                service.tell_systemd("STOPPING=1")


def _sinks(settings: config.Settings) -> list[Influx1 | Influx2]:
    """The configured ones. Theirs is a library that takes a second to import, and most have none."""
    if not settings.influxdb:
        return []
    from monitor.sinks.influx import Influx1, Influx2, Place  # noqa: PLC0415

    found: list[Influx1 | Influx2] = []
    for server in settings.influxdb:
        place = Place(server.url, server.bucket, server.org, credential("influxdb", server.token_file))
        found.append(Influx1(place) if server.version == 1 else Influx2(place))
    return found


async def _tried_mqtt(mqtt: config.MQTT, node: str) -> None:
    from monitor.sinks.mqtt import tried  # noqa: PLC0415 - as above

    await tried(_place(mqtt), node)


async def _trial(sink: Influx1 | Influx2, node: str) -> None:
    from monitor.sinks.influx import tried  # noqa: PLC0415 - as above

    await tried(sink, node)


def _broker(settings: config.Settings, outbox: Outbox) -> Mqtt | None:
    if settings.mqtt is None:
        return None
    from monitor.sinks.mqtt import Mqtt  # noqa: PLC0415 - as above

    return Mqtt(_place(settings.mqtt), settings.node, outbox, Requests(outbox.folder))


def _place(mqtt: config.MQTT) -> Broker:
    from monitor.sinks.mqtt import Broker  # noqa: PLC0415 - as above

    return Broker(
        host=mqtt.host,
        port=mqtt.port_used,
        tls=mqtt.tls,
        ca_file=mqtt.ca_file,
        username=mqtt.username,
        password=credential("mqtt", mqtt.password_file, "password") if mqtt.username else "",
        version=mqtt.version,
        keepalive_s=mqtt.keepalive_s,
        discovery=mqtt.discovery,
    )


def _notifiers(settings: config.Settings) -> list[Sink]:
    """The small ways out."""
    notify = settings.notify
    found: list[Sink] = [Desktop()] if notify.desktop else []
    return [*found, Webhook(notify.webhook_url)] if notify.webhook_url else found


def _say_gap(previous_end_ns: int | None, begun_ns: int) -> None:
    if previous_end_ns is not None and previous_end_ns < begun_ns:
        away = lines.length((begun_ns - previous_end_ns) * 1e-9)
        _note(f"nothing was watched since {lines.local(previous_end_ns)} ({away})")


def _view(collector: Collector, ending: _Ending, folder: Path, *, json_lines: bool) -> View:
    part = study.part_in(folder)
    if part is not None and part.counts_hidden:
        return LinesWithoutCounts(as_json=json_lines, gone=ending.ask)
    console = Console()
    if json_lines or not console.is_terminal or console.is_dumb_terminal:
        return Lines(as_json=json_lines, gone=ending.ask)
    return Screen(collector, console)


class _Ending:
    """Ctrl-C, SIGTERM or the closing of the terminal asks for the end, once: more of it must not cut short what
    then remains to be done, which takes seconds at most. A signal that is ignored, as by `nohup`, stays so."""

    def __init__(self) -> None:
        self._asked = False
        self._cancel: Callable[[], object] | None = None

    def __enter__(self) -> Self:
        numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        ours = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._on_signal) for number in ours}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ask(self) -> None:
        """From any thread."""
        if not self._asked and self._cancel:
            self._cancel()
        self._asked = True

    @contextmanager
    def cancels_this_task(self) -> Iterator[None]:
        """What is in the block ends when it is asked for."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - in a coroutine there is one
        self._cancel = partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel)
        if self._asked:
            self._cancel()
        try:
            yield
        finally:
            self._cancel = None

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self.ask()


@asynccontextmanager
async def _wearables(settings: config.Settings) -> AsyncIterator[tuple[Radio, list[Subject]]]:
    """This computer's adapter, and who is to be followed on it."""
    radio = Radio(families(settings.description_folder))
    yield radio, await _subjects(radio, settings)


async def _subjects(radio: Radio, settings: config.Settings) -> list[Subject]:
    """The configured devices, or else all that are in reach."""
    if settings.devices:
        return [Subject(device.address, device.name, device.sites) for device in settings.devices]
    _note(f"no device is configured; looking for {_SCAN_S:g} s for any that is supported")
    found = [sighting for sighting in await radio.scan(_SCAN_S) if sighting.codec]
    if not found:
        raise RadioError(
            "no supported wearable is in reach", "Switch it on and near, or see `fasciwatch scan --all`"
        )
    return [Subject(sighting.address) for sighting in found]


@asynccontextmanager
async def _emulated(seed: int, loss: float) -> AsyncIterator[tuple[Radio, list[Subject]]]:
    """A virtual radio with one emulated wearable on it."""
    # Bumble comes only with the extra "demo".
    from firmware_interface.emulated.peripheral import WornWearable  # noqa: PLC0415
    from firmware_interface.virtual_radio import VirtualRadio  # noqa: PLC0415

    arm = Arm(ArmSettings(channels=_DEMO_SITES, twitches_per_min=30.0), seed)
    wearable = Wearable(WearableSettings(loss=loss), arm, seed, time.monotonic_ns())
    async with VirtualRadio() as radio, WornWearable(radio, wearable, _DEMO_ADDRESS) as worn:
        yield Radio(FAMILIES, radio.backend), [Subject(worn.address)]


# Reading ------------------------------------------------------------------------------------------------------


def _stored_tallies(folder: Path, now_ns: int) -> Tallies:
    with Archive.open(folder) as archive:
        names = {known.id: known.device.name for known in archive.devices()}
        return tallies_of(archive.stretches(BIN_NS, 0, now_ns), archive.spent(BIN_NS, 0, now_ns), names)


def _report_fields(report: Report, refused: Sequence[tuple[str, Refusal]]) -> lines.Fields:
    told = [
        {"file": log.removesuffix(": line"), "line": refusal.place, "reason": refusal.reason}
        for log, refusal in refused
    ]
    method = asdict(report.method) | {"refused": told}
    return {"findings": [finding.fields() for finding in report.findings], "method": method}


def _print_report(report: Report, refused: Sequence[tuple[str, Refusal]]) -> None:
    for log, refusal in refused[:_REFUSALS_SHOWN]:
        _note(f"{log} {refusal.place} {refusal.reason}")
    if len(refused) > _REFUSALS_SHOWN:
        _note(f"and {len(refused) - _REFUSALS_SHOWN} more lines; --json names them all")
    if not report.findings:
        _note("nothing was logged that could be asked of")
    emergencies = [finding for finding in report.findings if entry(finding.trigger).form is Form.EMERGENCY]
    for finding in emergencies:
        _note(" ".join(finding.reasons))
    for finding in report.findings:
        if finding in emergencies:
            continue
        _print(f"{finding.trigger} {finding.lag} ({finding.site}): {finding.verdict.replace('_', ' ')}")
        for reason in finding.reasons:
            _print(f"    {reason}")
    _print(f"Adjusted for {', '.join(report.method.adjusted_for)}. {report.method.caution}")


Missing = Mapping[tuple[int, GapReason], tuple[int, float]]
"""(device, reason) -> number of gaps and their seconds."""


def _missing(gaps: Sequence[tuple[int, Gap]], since_ns: int) -> Missing:
    totals: dict[tuple[int, GapReason], tuple[int, float]] = {}
    for device, gap in gaps:
        count, seconds = totals.get((device, gap.reason), (0, 0.0))
        duration_s = (gap.end_ns - max(gap.start_ns, since_ns)) * 1e-9
        totals[device, gap.reason] = count + 1, seconds + duration_s
    return totals


def _status_fields(summary: Summary, missing: Missing, *, running: bool) -> lines.Fields:
    session, health = summary.session, {h.device_id: h for h in summary.health}
    return {
        "type": "status",
        "running": running,
        "begun": lines.utc(session.begun_ns) if session else None,
        "last": lines.utc(session.last_ns) if session else None,
        "devices": [
            {
                "device": known.device.name,
                "address": known.address,
                "battery_percent": health[known.id].status.battery_percent if known.id in health else None,
                "channels": [
                    {
                        "channel": total.channel,
                        "observed_s": round(total.observed_s, 1),
                        "analysable_s": round(total.analysable_s, 1),
                        "twitches": total.twitches,
                    }
                    for total in summary.totals
                    if total.device_id == known.id
                ],
                "gaps": [
                    {"reason": str(reason), "count": count, "seconds": round(seconds, 1)}
                    for (device, reason), (count, seconds) in missing.items()
                    if device == known.id
                ],
            }
            for known in summary.devices
        ],
    }


def _print_status(summary: Summary, missing: Missing, since: str, *, running: bool) -> None:
    session = summary.session
    if session is None:
        _note("nothing was recorded yet")
        return
    end = session.ended_ns
    state = f"ended {lines.local(end)}" if end else f"last sign of life {lines.local(session.last_ns)}"
    _print(f"session begun {lines.local(session.begun_ns)}, {'running' if running else state}")
    names = {known.id: known.device.name for known in summary.devices}
    rows = (
        (
            names[total.device_id],
            total.channel,
            f"{total.observed_s / 60:.1f}",
            f"{total.analysable_s / 60:.1f}",
            str(total.twitches),
            _rate(60 * total.twitches / total.analysable_s if total.analysable_s else None),
        )
        for total in summary.totals
    )
    for health in summary.health:
        said = f"{lines.battery(health.status.battery_percent)}, heard {lines.local(health.at_ns)}"
        _print(f"{names[health.device_id]}: {said}")
    _print(f"last {since}:" if since != "all" else "all time:")
    _print_table(("device", "channel", "observed min", "analysable min", "twitches", "a minute"), rows)
    for (device, reason), (count, seconds) in sorted(missing.items()):
        gaps = "1 gap" if count == 1 else f"{count} gaps"
        _print(f"{names[device]}: {gaps} of reason {reason}, {lines.length(seconds)}")


def _rate(per_min: float | None) -> str:
    return "–" if per_min is None else f"{per_min:.1f}"


def _sighting_fields(sighting: Sighting, said: Device | str | None, examined: Examination | None) -> lines.Fields:
    known = said if isinstance(said, Device) else None
    return {
        "type": "device",
        "address": sighting.address,
        "name": sighting.name,
        "rssi_dbm": sighting.rssi,
        "supported": sighting.codec is not None,
        "family": sighting.codec.FAMILY if sighting.codec else None,
        "serial": known.serial if known else None,
        "firmware": known.firmware if known else None,
        "streams": [asdict(stream) for stream in known.streams] if known else None,
        "trouble": said if isinstance(said, str) else None,
        "test": asdict(examined) if examined else None,
        "advice": sighting.codec.ADVICE if sighting.codec else None,
        "start": "fasciwatch run" if sighting.codec else None,
    }
