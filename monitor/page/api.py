"""The HTTP interface, under /api/v1, with its OpenAPI document; and /metrics and /healthz.

Rules:

* Stable: extend, do not rename. Times are ISO 8601 with an offset; each number has its unit in its name.
* Logging is `monitor.logbook.log`, the same as by command and MQTT: text as a person writes it. What comes twice
  with the same key is logged once, so that a POST can be repeated.
* What cannot be understood is 422 where the form is wrong, 409 where the contents are; each says what to do.
* No answer grows without an end: lists have a limit, sums over long times get coarser, exports are streamed.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from functools import partial
from typing import Annotated, Any, Final

import numpy as np
from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from fastapi.routing import APIRoute
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints
from starlette.routing import Match

import monitor
from firmware_interface.errors import Fault
from monitor import glance, lines
from monitor.alerts.engine import Verb
from monitor.correlation.triggers import Precision, Reactive
from monitor.database import StoreError
from monitor.diary import Diary, DiaryError, Label, Logged
from monitor.glance import STREAMING, Glance
from monitor.labelled import labelled_lines, whole
from monitor.logbook import log
from monitor.page import alerts, work
from monitor.page.envelope import COLUMN_NS, Columns, Drawn, past, wider
from monitor.page.reader import Reader
from monitor.store import Archive

_MISSING: Final = -(2**15)
_FULL: Final = 32000
_DAY_NS = 86400 * 10**9
_STRETCHES_MAX = 5000
_LATEST_NS = 2**63 - 1
_FIRST_MAX = 4 * 10**11
_DECIDED_MS = 2000.0
"""About how late the detector says what a channel does."""


def _written(value: object) -> object:
    """As ISO 8601; a number alone might be seconds or milliseconds."""
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d[Tt ]", value):
        raise ValueError("write it like 2026-11-22T08:30:00Z")
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_written)]
Words = Annotated[str, StringConstraints(max_length=200)]
Since = Annotated[Time | None, Query(description="From then on; by default a day before `until`.")]
Until = Annotated[Time | None, Query(description="Before then; by default now.")]
Device = Annotated[int | None, Query(ge=0, le=2**31, description="Id of a device, as /status tells it.")]
Channel = Annotated[Words | None, Query(description="Name of a channel.")]
Number = Annotated[int, Path(ge=1, le=2**53, description="Of an entry.")]


class Width(IntEnum):
    """Of a column of the signal, ms."""

    FINE = 10
    COARSE = 20


class Problem(BaseModel):
    """What is wrong, and what to do."""

    detail: str


class LogVerb(StrEnum):
    """What is done by logging; see docs/diary.md."""

    ADD = "add"
    START = "start"
    STOP = "stop"
    NONE = "none"
    FELT = "felt"


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid")

    occurred_at: Words = Field("", description='"20 min ago", "08:30", "yesterday 22:00", ISO 8601; empty: now.')
    ended_at: Words = ""
    dose: Words = Field("", description="120mg, or a number in the unit of the kind.")
    unit: Words = ""
    site: Words = Field("", description="left calf, eye, arms.")
    precision: Precision | None = None
    reactive: Reactive | None = Field(None, description="Whether it was logged because of twitching.")
    note: Annotated[str, StringConstraints(max_length=2000)] = ""
    new: StrictBool = Field(False, description="It is a new kind of the person's own.")

    def fields_said(self) -> dict[str, str]:
        """As `log` takes them."""
        said = self.model_dump(mode="json", exclude={"verb"}, exclude_none=True)
        return {name: "yes" if value is True else str(value) for name, value in said.items() if value}


class NewEntry(_Said):
    """What is to be logged."""

    verb: LogVerb = LogVerb.ADD
    kind: Words = Field("", description="Such as caffeine, or the name of a template.")
    key: Words = Field("", description="Of the same key, only the first is logged.")


class ChangedEntry(_Said):
    """What is to be said otherwise; what is left out stays."""

    kind: Words = ""


class Entry(BaseModel):
    """An entry of the diary."""

    id: int
    kind: str
    occurred_at: str
    ended_at: str | None
    running: bool
    dose: float | None
    unit: str
    site: str
    precision: str
    reactive: str
    note: str


class Done(BaseModel):
    """What was understood, and what must be said with it."""

    entries: list[Entry]
    repeated: bool = False
    """The key was seen before; nothing was added."""
    notes: list[str] = []
    undone: list[int] = []


class Twitch(BaseModel):
    """A twitch as the detector reported it."""

    device_id: int
    device: str
    channel: str
    onset: str
    onset_ns: str
    """Exact, as text: JavaScript would round it."""
    duration_s: float
    peak: float
    peak_to_peak: float
    unit: str
    snr: float
    confidence: float
    phases: int | None
    turns: int | None
    median_hz: float | None
    motor_unit: int | None
    follows_s: float | None
    label: Label | None = None


class Stretch(BaseModel):
    """A channel over some minutes."""

    device_id: int
    device: str
    channel: str
    start: str
    observed_s: float
    analysable_s: float
    twitches: int


class Stretches(BaseModel):
    """The sums, and how long each stretch is."""

    stretch_s: int
    stretches: list[Stretch]


class ChannelNow(BaseModel):
    """A channel now."""

    channel: str
    state: str
    noise: float | None
    unit: str
    twitches: int
    analysable_s: float


class DeviceNow(BaseModel):
    """A device now."""

    id: int
    device: str
    link: str
    since: str
    battery_percent: int | None
    rssi_dbm: int | None
    loss: float
    loss_last_minute: float
    loss_exact: bool
    no_contact: list[str]
    channels: list[ChannelNow]


class Status(BaseModel):
    """What is being watched."""

    running: bool
    at: str
    version: str
    troubles: list[str]
    devices: list[DeviceNow]


class LabelSaid(BaseModel):
    """What a person says of a twitch."""

    model_config = ConfigDict(extra="forbid")

    device_id: int = Field(ge=0, le=2**31)
    channel: Words
    onset_ns: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}$")]
    label: Label | None = Field(description="null takes it back.")


class AlertNow(BaseModel):
    """An alert as it is."""

    alert: str
    kind: str
    raised: bool
    severity: str
    since: str | None
    why: str
    device: str
    site: str
    acknowledged: bool
    snoozed_until: str | None


class AlertChange(BaseModel):
    """Something that became of an alert."""

    alert: str
    at: str
    change: str
    severity: str
    why: str


class Alerts(BaseModel):
    """Each alert as it is, and what happened in the last 30 days, newest first."""

    alerts: list[AlertNow]
    history: list[AlertChange]


class Answer(BaseModel):
    """What is to be done about an alert."""

    model_config = ConfigDict(extra="forbid")

    alert: Words = Field(description="Its name; of a test any.")
    action: Verb
    lasting: Words = Field("1h", description="Of a snooze: 30min, 1h, 2d.")


class Said(BaseModel):
    """It was taken down."""

    said_id: int


class Exported(StrEnum):
    """What can be taken away."""

    TRIGGERS = "triggers"
    TWITCHES = "twitches"
    MINUTES = "minutes"
    LABELS = "labels"


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "It is no JSON."},
    401: {"model": Problem, "description": "A token is asked for."},
    403: {"model": Problem, "description": "Another site asked for it."},
    404: {"model": Problem, "description": "There is nothing of this name."},
    413: {"model": Problem, "description": "The body is too long."},
    421: {"model": Problem, "description": "It was asked for by another name than ours."},
    429: {"model": Problem, "description": "Too many wrong tokens."},
    409: {"model": Problem, "description": "It cannot be understood, or contradicts what is known."},
    503: {"model": Problem, "description": "Nothing is stored yet, or it cannot be read."},
}


def api(reader: Reader) -> FastAPI:
    """The application below /api/v1."""
    app = FastAPI(
        title="fasciwatch",
        version=monitor.__version__,
        description="Muscle twitches as they were counted. Not a medical device.",
        docs_url=None,  # theirs come from foreign hosts
        redoc_url=None,
        servers=[{"url": "/api/v1"}],
        root_path_in_servers=False,
        responses=_PROBLEMS,
    )
    app.add_exception_handler(Fault, told)
    app.add_exception_handler(405, partial(_other_methods, app))
    _add_reading(app, reader)
    _add_diary(app, reader)
    _add_alerts(app, reader)
    return app


async def told(_: Request, fault: Exception) -> JSONResponse:
    """A fault as an answer."""
    remedy = f". {fault.remedy}" if isinstance(fault, Fault) and fault.remedy else ""
    detail = f"{fault.args[0]}{remedy}"
    return JSONResponse({"detail": detail}, 503 if isinstance(fault, StoreError) else 409)


async def _other_methods(app: FastAPI, request: Request, _: Exception) -> JSONResponse:
    """What may be done at a path, which several routes share."""
    routes = (route for route in app.routes if isinstance(route, APIRoute))
    found = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    allowed = ", ".join(sorted({method for route in found for method in route.methods or ()}))
    return JSONResponse({"detail": "Method Not Allowed"}, 405, {"allow": allowed})


def _add_reading(app: FastAPI, reader: Reader) -> None:
    @app.get("/status")
    async def status() -> Status:
        """What is being watched now."""
        return _status(await reader.glance())

    @app.get("/twitches")
    async def twitches(
        since: Since = None,
        until: Until = None,
        device: Device = None,
        channel: Channel = None,
        limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
    ) -> list[Twitch]:
        """Twitches in order of time, the newest `limit` of the range."""
        since_ns, until_ns = _range(since, until)

        def read(archive: Archive) -> list[Twitch]:
            names = {known.id: known.device.name for known in archive.devices()}
            found = archive.twitches(since_ns, until_ns, device, channel, limit)
            return [_twitch(number, names[number], each) for number, each in found]

        found = await reader.ask(read)
        labels = {
            (each.device_id, each.channel, str(each.onset_ns)): each.label
            for each in await reader.write(lambda diary: diary.labels(since_ns, until_ns))
        }
        for each in found:
            each.label = labels.get((each.device_id, each.channel, each.onset_ns))
        return found

    @app.get("/minutes")
    async def minutes(
        since: Since = None,
        until: Until = None,
        stretch_s: Annotated[int, Query(ge=60, le=86400, description="Made longer over long times.")] = 60,
    ) -> Stretches:
        """What each site yielded, minute by minute or summed over longer stretches; an accelerometer is one."""
        since_ns, until_ns = _range(since, until)
        least_s = max((until_ns - since_ns) * 1e-9 / _STRETCHES_MAX, 0)
        stretch = max(-(-stretch_s // 60), int(-(-least_s // 60))) * 60

        def read(archive: Archive) -> list[Stretch]:
            names = {known.id: known.device.name for known in archive.devices()}
            return [
                Stretch(
                    device_id=each.device_id, device=names[each.device_id], channel=each.channel,
                    start=lines.utc(each.start_ns), observed_s=round(each.observed_s, 3),
                    analysable_s=round(each.analysable_s, 3), twitches=each.twitches,
                )
                for each in archive.stretches(stretch * 10**9, since_ns, until_ns)
            ]  # fmt: skip

        return Stretches(stretch_s=stretch, stretches=await reader.ask(read))

    @app.get("/signal")
    async def signal(
        first: Annotated[int, Query(ge=0, le=_FIRST_MAX, description="First column, counted from 1970 UTC.")],
        count: Annotated[int, Query(ge=1, le=4000)],
        column_ms: Annotated[Width, Query(description="Width of a column.")] = Width.FINE,
    ) -> dict[str, Any]:
        """Least and largest value of each channel in each column: base64 of int16 pairs, times `scale`; with the
        twitches, states and gaps of the time."""
        return await reader.do(partial(_signal, reader, first, count, column_ms))

    @app.get("/findings")
    async def findings() -> dict[str, Any]:
        """What twitches have to do with what was logged; kept for a while, for it takes seconds."""
        found = await work.findings(reader)
        return {"findings": [each.fields() for each in found.findings], "method": asdict(found.method)}

    @app.get(
        "/export/{what}",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/csv": {}, "application/x-ndjson": {}}}},
    )
    async def export(what: Exported, since: Since = None, until: Until = None) -> StreamingResponse:
        """All of a kind as CSV; twitches and labels as one JSON object a line, with their waveform."""
        since_ns, until_ns = _range(since, until)
        if since is None:
            since_ns = 0
        first = what in (Exported.TRIGGERS, Exported.MINUTES)
        kind, end = ("text/csv", "csv") if first else ("application/x-ndjson", "jsonl")
        await reader.ask(lambda archive: archive.devices())  # a fault is said before the first line
        named = {"content-disposition": f'attachment; filename="fasciwatch-{what}.{end}"'}
        return StreamingResponse(_EXPORTS[what](reader, since_ns, until_ns), media_type=kind, headers=named)


def _add_diary(app: FastAPI, reader: Reader) -> None:
    @app.get("/triggers")
    async def triggers(since: Since = None, until: Until = None) -> list[Entry]:
        """What was logged, in order of when it occurred."""
        since_ns, until_ns = _range(since, until)
        entries = await reader.write(Diary.entries)
        return [_entry(each) for each in entries if since_ns <= each.entry.occurred_ns < until_ns]

    @app.post("/triggers", status_code=201)
    async def add(entry: NewEntry) -> Done:
        """Log something. The same key twice is logged once."""
        return await _log(reader, entry.verb, entry.fields_said())

    @app.patch("/triggers/{number}")
    async def edit(number: Number, entry: ChangedEntry) -> Done:
        """Say otherwise what was logged; its history stays."""
        return await _log(reader, "edit", {"id": str(number), **entry.fields_said()})

    @app.delete("/triggers/{number}")
    async def delete(number: Number) -> Done:
        """Say that it did not happen; its history stays."""
        return await _log(reader, "delete", {"id": str(number)})

    @app.post("/undo")
    async def undo() -> Done:
        """Take back the last act."""
        return await _log(reader, "undo", {})

    @app.put("/labels", status_code=204, response_class=Response)
    async def label(said: LabelSaid) -> Response:
        """Say whether a twitch was real."""
        onset_ns = min(int(said.onset_ns), _LATEST_NS - 1)
        known = await reader.ask(
            lambda archive: archive.twitches(onset_ns, onset_ns + 1, said.device_id, said.channel)
        )
        if not known:
            raise DiaryError("there is no such twitch", "Ask /twitches for them")
        key = said.device_id, said.channel, onset_ns
        await reader.write(lambda diary: diary.label(*key, said.label, time.time_ns()))
        return Response(status_code=204)


def _add_alerts(app: FastAPI, reader: Reader) -> None:
    @app.get("/alerts")
    async def list_() -> Alerts:
        """What is raised, snoozed or well, and what happened."""
        standing, changes = await reader.ask(alerts.read)
        return Alerts(
            alerts=[
                AlertNow(
                    alert=a.name, kind=str(a.kind), raised=a.raised, severity=str(a.severity),
                    since=_utc(a.since_ns), why=a.why, device=a.device, site=a.site, acknowledged=a.acknowledged,
                    snoozed_until=_utc(a.snoozed_until_ns),
                )
                for a in standing
            ],
            history=[
                AlertChange(
                    alert=a.name, at=lines.utc(a.at_ns), change=str(a.change), severity=str(a.severity), why=a.why
                )
                for a in changes
            ],
        )  # fmt: skip

    @app.post("/alerts", status_code=202)
    async def answer(said: Answer) -> Said:
        """Acknowledge, snooze, cancel a snooze, or test. The collector hears it within a second."""
        known = [alert.name for alert in await reader.ask(Archive.alerts)]
        number = await reader.do(lambda: alerts.tell(reader, known, said.alert, said.action, said.lasting))
        return Said(said_id=number)


def add_signs(app: FastAPI, reader: Reader) -> None:
    """/healthz and /metrics, where programs look for them."""

    @app.get("/healthz")
    async def healthz() -> dict[str, object]:
        return {"ok": True, "version": monitor.__version__}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        raised = 0
        with suppress(StoreError):  # nothing is stored yet
            raised = sum(alert.raised for alert in await reader.ask(Archive.alerts))
        text = "".join(f"{line}\n" for line in _metrics(await reader.glance(), raised))
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")


# ---- Values ----


def _range(since: datetime | None, until: datetime | None) -> tuple[int, int]:
    now_ns = time.time_ns()
    until_ns = now_ns if until is None else min(_ns(until), now_ns + _DAY_NS)  # nothing is later
    return (max(until_ns - _DAY_NS, 0) if since is None else _ns(since)), until_ns


def _utc(time_ns: int | None) -> str | None:
    return None if time_ns is None else lines.utc(time_ns)


def _ns(moment: datetime) -> int:
    return min(
        max(round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 10**6) * 1000, 0), _LATEST_NS
    )


def _status(seen: Glance | None) -> Status:
    if seen is None:
        return Status(
            running=False, at=lines.utc(time.time_ns()), version=monitor.__version__, troubles=[], devices=[]
        )
    devices = [
        DeviceNow(
            id=each.id, device=each.name, link=each.link, since=lines.utc(each.since_ns),
            battery_percent=each.battery_percent, rssi_dbm=each.rssi, loss=each.loss,
            loss_last_minute=each.loss_minute, loss_exact=each.loss_exact, no_contact=list(each.off),
            channels=[
                ChannelNow(
                    channel=c.label, state=c.state or "rest", noise=c.noise, unit=c.unit, twitches=c.twitches,
                    analysable_s=c.analysable_s,
                )
                for c in each.channels
            ],
        )
        for each in seen.devices
    ]  # fmt: skip
    at = lines.utc(seen.at_ns)
    return Status(running=True, at=at, version=monitor.__version__, troubles=list(seen.troubles), devices=devices)


def _twitch(device_id: int, device: str, twitch: Any) -> Twitch:  # noqa: ANN401
    fields = lines.twitch(twitch)
    kept = {name: fields[name] for name in Twitch.model_fields if name in fields}
    onset = lines.utc(twitch.onset_ns)
    return Twitch(device_id=device_id, device=device, onset=onset, onset_ns=str(twitch.onset_ns), **kept)  # type: ignore[arg-type]


def _entry(logged: Logged) -> Entry:
    fields = lines.entry(logged.id, logged.entry)
    return Entry(**{name: fields[name] for name in Entry.model_fields})  # type: ignore[arg-type]


async def _log(reader: Reader, verb: str, fields: dict[str, str]) -> Done:
    answer = await reader.write(lambda diary: log(diary, verb, fields, time.time_ns(), None))
    return Done(
        entries=[_entry(Logged(each.id, 0, each.entry)) for each in answer.receipts],
        repeated=any(each.repeated for each in answer.receipts),
        notes=list(answer.notes),
        undone=[change.entry_id for change in answer.undone],
    )


# ---- The signal ----


def _signal(reader: Reader, first: int, count: int, column_ms: int) -> dict[str, Any]:
    now_ns = time.time_ns()
    devices, archive = reader.devices(), reader.archive()
    factor = column_ms * 10**6 // COLUMN_NS
    drawn = reader.live.columns(devices, first * factor, count * factor, now_ns)
    if drawn is None:
        drawn = [each for device in devices for each in past(reader.raw, device, first, count, column_ms * 10**6)]
    else:
        drawn = [Drawn(each.device_id, each.stream, wider(each.columns, factor)) for each in drawn]
    names = {known.id: known.device.name for known in devices}
    since_ns, until_ns = (each * column_ms * 10**6 for each in (first, first + count))
    since_ns = max(since_ns - 12 * 10**9, 0)
    return {
        "now_ms": now_ns // 10**6,
        "utc_offset_s": time.localtime(now_ns // 10**9).tm_gmtoff,
        "raw_kept": reader.settings.raw.days > 0,
        "first": first,
        "column_ms": column_ms,
        "streams": [_stream(each, names[each.device_id]) for each in drawn if not np.isnan(each.columns).all()],
        "twitches": _marks(archive, since_ns, until_ns),
        "states": _states(reader, archive, since_ns, until_ns),
        "gaps": [
            {"device": device, "from_ms": gap.start_ns / 1e6, "to_ms": gap.end_ns / 1e6, "reason": str(gap.reason)}
            for device, gap in archive.gaps(since_ns, until_ns)
        ],
    }


def _stream(drawn: Drawn, name: str) -> dict[str, Any]:
    channels = zip(drawn.stream.channels, drawn.columns, strict=True)
    unit = str(drawn.stream.unit).replace("uV", "µV").replace("m/s^2", "m/s²")
    coded = [{"label": label, **_coded(columns)} for label, columns in channels]
    return {"device": drawn.device_id, "name": name, "stream": drawn.stream.name, "unit": unit, "channels": coded}


def _coded(columns: Columns) -> dict[str, Any]:
    missing = np.isnan(columns)
    largest = float(np.abs(columns[~missing]).max()) if not missing.all() else 0.0
    scale = largest / _FULL or 1.0
    numbers = np.where(missing, _MISSING, np.round(np.nan_to_num(columns) / scale)).astype("<i2")
    return {"scale": scale, "data": base64.b64encode(numbers.tobytes()).decode("ascii")}


def _marks(archive: Archive, since_ns: int, until_ns: int) -> list[dict[str, Any]]:
    return [
        {
            "device": device,
            "channel": each.channel,
            "ms": each.onset_ns / 1e6,
            "duration_ms": each.duration_s * 1e3,
        }
        for device, each in archive.twitches(since_ns, until_ns, limit=2000)
    ]


def _states(reader: Reader, archive: Archive, since_ns: int, until_ns: int) -> list[dict[str, Any]]:
    """Those that are over, from the store, and those that last."""
    stored = archive.contexts(since_ns, until_ns)
    told: list[dict[str, Any]] = [
        {"device": d, "channel": c.channel, "state": str(c.state), "from_ms": c.onset_ns / 1e6,
         "to_ms": c.onset_ns / 1e6 + c.duration_s * 1e3}
        for d, c in stored
    ]  # fmt: skip
    seen = glance.read(reader.folder, time.time_ns())
    for device in seen.devices if seen and seen.at_ns < until_ns + 10**10 else ():
        for channel in device.channels:
            if channel.state is not None and device.link == STREAMING:
                here = (c for d, c in stored if d == device.id and c.channel == channel.label)
                ended = [c.onset_ns / 1e6 + c.duration_s * 1e3 for c in here]
                from_ms = max([channel.state_since_ns / 1e6 - _DECIDED_MS, *ended])
                told.append(
                    {"device": device.id, "channel": channel.label, "state": channel.state, "from_ms": from_ms,
                     "to_ms": None}
                )  # fmt: skip
    return told


# ---- Taking it away ----


def _days(reader: Reader, since_ns: int, until_ns: int) -> Iterator[tuple[Archive, int, int]]:
    """Day by day, so that years need no memory."""
    with Archive.open(reader.folder) as archive:
        known = archive.devices()
        begin = max(since_ns, min((each.first_ns for each in known), default=until_ns))
        while begin < until_ns:
            yield archive, begin, min(begin + _DAY_NS, until_ns)
            begin += _DAY_NS


def _row(values: Iterable[object]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow([_plain(value) for value in values])
    return written.getvalue()


def _plain(value: object) -> object:
    """A spreadsheet would run what begins like a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _export_triggers(reader: Reader, since_ns: int, until_ns: int) -> Iterator[str]:
    names = [name for name in Entry.model_fields if name != "id"]
    yield _row(names)
    with Diary.open(reader.folder) as diary:
        entries = diary.entries()
    for each in entries:
        if since_ns <= each.entry.occurred_ns < until_ns:
            fields = _entry(each).model_dump()
            yield _row("" if fields[name] is None else fields[name] for name in names)


def _export_minutes(reader: Reader, since_ns: int, until_ns: int) -> Iterator[str]:
    yield _row(("start", "device", "channel", "observed_s", "analysable_s", "twitches"))
    for archive, begin_ns, end_ns in _days(reader, since_ns, until_ns):
        names = {known.id: known.device.name for known in archive.devices()}
        for device, each in archive.minutes(begin_ns, end_ns):
            amounts = f"{each.observed_s:.3f}", f"{each.analysable_s:.3f}", each.twitches
            yield _row((lines.utc(each.start_ns), names[device], each.channel, *amounts))


def _export_twitches(reader: Reader, since_ns: int, until_ns: int) -> Iterator[str]:
    for archive, begin_ns, end_ns in _days(reader, since_ns, until_ns):
        names = {known.id: known.device.name for known in archive.devices()}
        for device, each in archive.twitches(begin_ns, end_ns):
            yield json.dumps(whole(each, names[device]), ensure_ascii=False) + "\n"


def _export_labels(reader: Reader, since_ns: int, until_ns: int) -> Iterator[str]:
    yield from labelled_lines(reader.folder, since_ns, until_ns)


_EXPORTS = {
    Exported.TRIGGERS: _export_triggers,
    Exported.MINUTES: _export_minutes,
    Exported.TWITCHES: _export_twitches,
    Exported.LABELS: _export_labels,
}


# ---- For Prometheus ----


def _metrics(seen: Glance | None, raised: int) -> Iterator[str]:
    devices = seen.devices if seen else ()
    families: tuple[tuple[str, str, str, list[tuple[dict[str, str], float]]], ...] = (
        ("up", "gauge", "Whether anything is being watched.", [({}, float(seen is not None))]),
        ("troubles", "gauge", "Things a person should know of.", [({}, float(len(seen.troubles) if seen else 0))]),
        ("alerts_raised", "gauge", "Alerts that are raised.", [({}, float(raised))]),
        (
            "device_streaming", "gauge", "Whether a device is heard.",
            [({"device": d.name}, float(d.link == STREAMING)) for d in devices],
        ),
        (
            "device_battery_ratio", "gauge", "Charge of its battery.",
            [({"device": d.name}, d.battery_percent / 100) for d in devices if d.battery_percent is not None],
        ),
        (
            "device_loss_ratio", "gauge", "Samples missing in the last minute.",
            [({"device": d.name}, d.loss_minute) for d in devices],
        ),
        (
            "twitches_total", "counter", "Twitches in this session.",
            [({"device": d.name, "channel": c.label}, float(c.twitches)) for d in devices for c in d.channels],
        ),
        (
            "analysable_seconds_total", "counter", "Time in which a twitch would have been reported.",
            [({"device": d.name, "channel": c.label}, c.analysable_s) for d in devices for c in d.channels],
        ),
    )  # fmt: skip
    for name, kind, about, samples in families:
        yield f"# HELP fasciwatch_{name} {about}"
        yield f"# TYPE fasciwatch_{name} {kind}"
        for labels, value in samples:
            named = ",".join(f'{key}="{_label_value(said)}"' for key, said in labels.items())
            yield f"fasciwatch_{name}{{{named}}} {value:g}" if named else f"fasciwatch_{name} {value:g}"


def _label_value(said: str) -> str:
    return said.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
