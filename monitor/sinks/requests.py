"""What comes in by MQTT: validated, done, answered.

    topic, payload ─► Requests.answer ─► logbook, said.sqlite, Archive
                             └─► topic, JSON

Rules of this module:

* Every message is answered, with the `transaction` that it carries. A bad one changes nothing, and its answer says
  why.
* Bounded: so many bytes, fields and messages a minute. A retained message would be done again at every connection:
  it is refused.
* The same `transaction` of an act of logging is done once, however often the broker delivers it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

from firmware_interface.errors import Fault
from monitor import lines
from monitor.alerts.engine import Verb
from monitor.alerts.said import said_of, say
from monitor.database import StoreError
from monitor.diary import DIARY, Diary
from monitor.logbook import VERBS, log
from monitor.store import Archive

_BYTES_MAX = 4096
_FIELDS_MAX = 20
_TEXT_MAX = 500
_A_MINUTE = 120
_MINUTE_NS = 60 * 10**9
TOPICS: Final = ("trigger/set", "alert/+/set", "request/+")
"""Below those of the node."""


class RequestError(Fault):
    """A message that cannot be done; its sender's to mend."""

    exit_code: ClassVar[int] = 2


class Requests:
    """Does what messages ask for. May wait for a disk.

    Args:
        folder: the data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._times: deque[int] = deque()
        self._templates: list[str] = []

    def answer(self, topic: str, payload: bytes, now_ns: int, *, retained: bool = False) -> tuple[str, str]:
        """Do it; where to answer, and what.

        Args:
            topic: below those of the node, as `TOPICS` has them.
            payload: any bytes.
            now_ns: UTC.
            retained: whether the broker kept it.
        """
        where, _, rest = topic.partition("/")
        verb = rest if where == "request" else where
        fields: Mapping[str, str] = {}
        try:
            self._bounded(payload, now_ns, retained=retained)
            fields = _fields(payload)
            done = self._done(where, rest, dict(fields), now_ns)
        except Fault as fault:
            done = {"ok": False, "error": str(fault.args[0]), "remedy": fault.remedy}
        said = {"type": "response", "transaction": fields.get("transaction"), **done}
        return f"response/{verb[:40]}", lines.as_json(said)

    def templates(self) -> list[str]:
        """Names of what can be logged with one press."""
        with suppress(StoreError):  # of a disk that is full, for one: they are as they were
            if (self._folder / DIARY).is_file():
                with Diary.open(self._folder) as diary:
                    self._templates = sorted(diary.templates())
        return self._templates

    def _bounded(self, payload: bytes, now_ns: int, *, retained: bool) -> None:
        if retained:
            raise RequestError("it is retained, and would be done again at every connection", "Do not retain it")
        if len(payload) > _BYTES_MAX:
            raise RequestError(f"it has {len(payload)} bytes", f"Send {_BYTES_MAX} at most")
        while self._times and not 0 <= now_ns - self._times[0] < _MINUTE_NS:
            self._times.popleft()
        if len(self._times) >= _A_MINUTE:
            raise RequestError(f"there were {_A_MINUTE} messages in the last minute", "Wait, then send it again")
        self._times.append(now_ns)

    def _done(self, where: str, rest: str, fields: dict[str, str], now_ns: int) -> lines.Fields:
        transaction = fields.pop("transaction", "")
        match where, rest:
            case "trigger", "set":
                return self._logged(fields.pop("verb", "add"), fields, transaction, now_ns)
            case "alert", _:
                verb, lasting = fields.pop("action", ""), fields.pop("for", "")
                _nothing_else(fields)
                return self._said(rest.removesuffix("/set"), verb, lasting, now_ns)
            case "request", "ping":
                _nothing_else(fields)
                return {"ok": True, "at": lines.utc(now_ns)}
            case "request", "alerts":
                _nothing_else(fields)
                with Archive.open(self._folder) as archive:
                    return {"ok": True, "alerts": [lines.alert(alert) for alert in archive.alerts()]}
            case "request", _ if rest in set(Verb):
                name, lasting = fields.pop("alert", ""), fields.pop("for", "")
                _nothing_else(fields)
                return self._said(name, rest, lasting, now_ns)
            case "request", _ if rest in VERBS:
                return self._logged(rest, fields, transaction, now_ns)
        known = ", ".join(("ping", "alerts", *Verb, *VERBS))
        raise RequestError(f"{rest!r} is nothing that can be asked for", f"Ask for {known}")

    def _logged(self, verb: str, fields: dict[str, str], transaction: str, now_ns: int) -> lines.Fields:
        key = {"key": f"mqtt {transaction}"} if transaction and verb in ("add", "start", "none", "felt") else {}
        with Diary.open(self._folder) as diary:
            answer = log(diary, verb, fields | key, now_ns, None)
        return {"ok": True, "done": lines.answer(verb, answer)}

    def _said(self, name: str, verb: str, lasting: str, now_ns: int) -> lines.Fields:
        with Archive.open(self._folder) as archive:
            known = {alert.name for alert in archive.alerts()}
        said = said_of(name, verb, lasting, known, now_ns)
        say(self._folder, said)
        until = None if said.until_ns is None else lines.utc(said.until_ns)
        return {"ok": True, "alert": said.alert, "action": str(said.verb), "until": until}


def _nothing_else(fields: Mapping[str, str]) -> None:
    if fields:
        raise RequestError(f"{next(iter(fields))!r} means nothing here", "Leave it out")


def _fields(payload: bytes) -> dict[str, str]:
    """The object in a payload, its values as text; nothing, where it is empty."""
    if not payload.strip():
        return {}
    try:
        said = json.loads(payload.decode("utf-8"))
    except (ValueError, RecursionError):
        raise RequestError("it is not JSON in UTF-8", 'Send an object, such as {"kind": "caffeine"}') from None
    if not isinstance(said, dict):
        raise RequestError("it is no JSON object", 'Send one, such as {"kind": "caffeine"}')
    if len(said) > _FIELDS_MAX:
        raise RequestError(f"it has {len(said)} fields", f"Send {_FIELDS_MAX} at most")
    return {key: _text(key, value) for key, value in said.items() if value is not None}


def _text(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        value = f"{value:g}" if isinstance(value, float) else str(value)
    if not isinstance(value, str) or len(value) > _TEXT_MAX or not value.isprintable():
        raise RequestError(f"{key[:40]!r} is no text of up to {_TEXT_MAX} characters", "Send a text or a number")
    return value
