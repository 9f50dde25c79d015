"""Configuration: one TOML file, every key checked.

Rules of this module:

* A key that we do not know is an error that names it and the nearest one that we do. No typo is silent.
* Every key has a default, so that no file is needed; `docs/config.sample.toml` shows them all, and a test
  keeps it so.
* Types are TOML's: "5" is no number and `true` is none either.
* The detector's settings are declared once, in `monitor.detection.settings`; their section follows it.
"""

from __future__ import annotations

import difflib
import json
import re
import socket
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_type_hints

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    StringConstraints,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from firmware_interface.errors import Fault
from monitor.alerts.rules import DEFAULTS, Kind
from monitor.alerts.rules import Rule as AlertRule
from monitor.detection.settings import DetectorSettings
from monitor.raw import Retention

_NAME = "fasciwatch"
_SAID = {
    "model_type": "must be a table",
    "tuple_type": "must be a list of tables, each begun by a line [[...]]",
    "path_type": "must be a path in quotes",
    "mapping_type": "must be a table",
    "string_type": "must be text in quotes",
}
"""pydantic's names of faults -> words for people who write TOML."""


_LONGEST_S = 10.0
"""No time of the detector makes sense beyond this, and memory grows with it."""


class ConfigError(Fault):
    """A key or value of the configuration is wrong, or its file cannot be read."""

    exit_code: ClassVar[int] = 2


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _detection_section() -> type[_Section]:
    """The fields of `DetectorSettings` with their defaults; numbers must be positive."""
    hints = get_type_hints(DetectorSettings, include_extras=True)
    declared: dict[str, Any] = {}
    for field in fields(DetectorSettings):
        kind = hints[field.name]
        if kind in (int, float):
            longest = _LONGEST_S if field.name.endswith("_s") else None
            kind = Annotated[kind, Field(gt=0, le=longest)]
        elif field.default_factory is not MISSING:
            declared[field.name] = (Mapping[str, Annotated[float, Field(gt=0)]], Field(default_factory=dict))
            continue
        declared[field.name] = (kind, ... if field.default is MISSING else field.default)
    return create_model("Detection", __base__=_Section, **declared)


_Detection = _detection_section()


def _detection_schema(_: object, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Accept a table of `_Detection`, or the settings themselves, and give `DetectorSettings`."""
    section = core_schema.no_info_before_validator_function(
        lambda value: asdict(value) if isinstance(value, DetectorSettings) else value,
        handler.generate_schema(_Detection),
    )
    return core_schema.no_info_after_validator_function(lambda checked: DetectorSettings(**dict(checked)), section)


def _expanded(path: Path) -> Path:
    if path == Path():
        raise ValueError("must not be empty")
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError("names the home of nobody here") from error


def _topic_level(text: str) -> str:
    if not text.strip() or not text.isprintable() or set(text) & set("/+#"):
        raise ValueError("must not be empty or hold /, + or #, because it is part of MQTT topics")
    return text


def _plain_topic_level(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ValueError("may hold up to 64 letters of A to Z, digits, - and _")
    return text


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Device(_Section):
    """A wearable to listen to."""

    address: Text
    """As `fasciwatch scan` shows it: a MAC address, on macOS a UUID; or the name, the same everywhere. Or
    lsl:STREAM or brainflow:BOARD: what another program drives."""
    name: Annotated[str, AfterValidator(_topic_level)] | None = None
    """What to call it; by default as it calls itself."""
    sites: Mapping[str, Text] = Field(default_factory=dict)
    """Channel label -> where on the body it is worn."""


class Raw(_Section):
    """How much of the raw signal is kept."""

    days: Annotated[float, Field(ge=0)] = 30.0
    """Older days are removed; 0 keeps no raw signal at all."""
    size_gb: Annotated[float, Field(gt=0)] = 20.0
    """Beyond this the oldest days are removed; the last hour never is."""
    free_gb: Annotated[float, Field(ge=0)] = 1.0
    """With less free on the disk raw stops, so that twitches can be stored."""

    @property
    def retention(self) -> Retention:
        """The same in bytes."""
        return Retention(self.days, round(self.size_gb * 1e9), round(self.free_gb * 1e9))


class InfluxDB(_Section):
    """A server to which everything but the raw signal is sent."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^/]+(/.*[^/])?$")]
    """Without a slash at its end."""
    version: Literal[1, 2] = 2
    """1 for InfluxDB 1.x; 2 for all later ones."""
    org: str = ""
    """Of the bucket; not in 1.x."""
    bucket: Text = "fasciwatch"
    """In 1.x the database."""
    token_file: Annotated[Path, Field(strict=False), AfterValidator(_expanded)] | None = None
    """Holds the token; in 1.x user:password."""


class Page(_Section):
    """The page in the browser."""

    address: Text = "127.0.0.1"
    """Where it listens. Another one than this computer's own asks for a token and TLS."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8480
    """Or one of the next nine, where it is in use."""
    names: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """Other names by which a browser may call it."""
    token_file: Annotated[Path, Field(strict=False), AfterValidator(_expanded)] | None = None
    """Holds the token."""
    certificate: Annotated[Path, Field(strict=False), AfterValidator(_expanded)] | None = None
    """With `key`: PEM, for TLS."""
    key: Annotated[Path, Field(strict=False), AfterValidator(_expanded)] | None = None
    plain_http: bool = False
    """Whether it may do without TLS on a network, because something else encrypts."""


_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PORT, _PORT_TLS = 1883, 8883


class MQTT(_Section):
    """A broker, for Home Assistant and whoever else wants to know."""

    host: Text
    """Its name or address."""
    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    """By default 8883, without TLS 1883."""
    tls: bool = True
    """Whether what is sent is encrypted, and the broker proves who it is."""
    plain_allowed_at: str = ""
    """Names the host once more where there is to be no TLS although it is another computer."""
    ca_file: Annotated[Path, Field(strict=False), AfterValidator(_expanded)] | None = None
    """Of the authority that the broker's certificate is from; by default those that this computer trusts."""
    username: str = ""
    """As the broker knows us."""
    password_file: Annotated[Path, Field(strict=False), AfterValidator(_expanded)] | None = None
    """Holds the password."""
    version: Literal["3.1.1", "5"] = "5"
    """Of MQTT."""
    keepalive_s: Annotated[int, Field(ge=6, le=3600)] = 15
    """How often we give a sign of life; the broker says `offline` for us when it misses one and a half."""
    discovery: str = "homeassistant"
    """Prefix of Home Assistant's discovery; "" for none."""

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        if not self.tls and self.host not in (*_LOOPBACK, self.plain_allowed_at):
            raise ValueError(
                f"without tls everybody on the way to {self.host} can read and change it; set tls = true, "
                f"or say plain_allowed_at = {self.host!r}"
            )
        return self

    @property
    def port_used(self) -> int:
        """The one given, or the usual one."""
        return self.port or (_PORT_TLS if self.tls else _PORT)


def _hours(text: str) -> str:
    if text and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", text):
        raise ValueError("must be like 22:00-07:00")
    return text


class Notify(_Section):
    """How a person learns of alerts beside MQTT, and when not."""

    quiet_hours: Annotated[str, AfterValidator(_hours)] = ""
    """Local time in which only what is urgent is announced."""
    desktop: bool = False
    """Whether the desktop shows them."""
    webhook_url: Annotated[str, StringConstraints(pattern=r"^(https?://\S+)?$")] = ""
    """Each is sent there by POST, as JSON."""
    heartbeat_url: Annotated[str, StringConstraints(pattern=r"^(https?://\S+)?$")] = ""
    """Asked for once a minute while all is stored: whoever misses it raises the alarm."""

    @property
    def quiet(self) -> tuple[int, int]:
        """From and to, seconds of the local day."""
        if not self.quiet_hours:
            return 0, 0
        begin, end = (int(part[:2]) * 3600 + int(part[3:]) * 60 for part in self.quiet_hours.split("-"))
        return begin, end


def _known_kind(text: str) -> str:
    if text not in set(Kind) - {Kind.TEST}:
        raise ValueError(f"must be one of {', '.join(sorted(set(Kind) - {Kind.TEST}))}")
    return text


_Threshold = Annotated[float, Field(ge=0)]


class Alert(_Section):
    """When something is an alert; what is not said is as `docs/alerts.md` has it for the kind."""

    kind: Annotated[str, AfterValidator(_known_kind)]
    """What it is about."""
    on: bool = True
    """Whether it is watched."""
    site: str = ""
    """Of rate and burst: only this channel."""
    above: _Threshold | None = None
    """Raised beyond this value."""
    clear_below: _Threshold | None = None
    """Over below this one."""
    urgent_above: _Threshold | None = None
    """Urgent beyond this one."""
    for_s: _Threshold | None = None
    """Seconds for which it must be beyond."""
    keep_for_s: _Threshold | None = None
    """Seconds for which it must be below again."""
    repeat_min: _Threshold | None = None
    """Minutes after which it is announced again, until somebody acknowledges it; 0: never."""
    window_s: Annotated[float, Field(ge=10, le=86400)] | None = None
    """Of rate and burst: seconds that are looked back."""
    of_baseline: bool = False
    """Of rate: above and below are multiples of the person's own usual rate at that hour."""

    @property
    def rule(self) -> AlertRule:
        """With the defaults of its kind."""
        given = {name: value for name, value in dict(self).items() if value is not None and name != "kind"}
        usual = {"above": 2.0, "clear_below": 1.5} if self.of_baseline else {}
        return replace(DEFAULTS[Kind(self.kind)], **usual | given)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        rule = self.rule
        if self.site and rule.kind not in (Kind.RATE, Kind.BURST):
            raise ValueError(f"{rule.kind} has no site")
        if rule.clear_below > rule.above:
            raise ValueError(f"clear_below = {rule.clear_below:g} is more than above = {rule.above:g}")
        return self


def _distinct(devices: tuple[Device, ...]) -> tuple[Device, ...]:
    for what in ("address", "name"):
        given = [value.casefold() for device in devices if (value := getattr(device, what)) is not None]
        repeated = [value for value in given if given.count(value) > 1]
        if repeated:
            raise ValueError(f"{what} {repeated[0]!r} is given to two devices")
    return devices


def _data_dir() -> Path:
    return platformdirs.user_data_path(_NAME)


def _node() -> str:
    """This computer's name, as far as it can be part of MQTT topics."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname().split(".")[0])
    return name.strip("-")[:64] or "node"


class Settings(_Section):
    """The whole configuration."""

    data_dir: Annotated[Path, Field(strict=False), AfterValidator(_expanded)] = Field(default_factory=_data_dir)
    """Where recordings, events and the outbox are kept."""
    node: Annotated[str, AfterValidator(_plain_topic_level)] = Field(default_factory=_node)
    """This computer's name in MQTT topics and in InfluxDB."""
    keep_awake: bool = False
    """Whether this computer may not fall asleep for idleness while it watches."""
    devices: Annotated[tuple[Device, ...], Field(strict=False), AfterValidator(_distinct)] = ()
    """The wearables to listen to."""
    descriptions: Annotated[Path, Field(strict=False), AfterValidator(_expanded)] | None = None
    """Folder of devices that are described; by default "devices" beside `default_path()`, where there is one."""
    raw: Raw = Raw()
    """How much of the raw signal is kept."""
    influxdb: Annotated[tuple[InfluxDB, ...], Field(strict=False)] = ()
    """Where everything but the raw signal is sent, too."""
    page: Page = Page()
    """The page in the browser."""
    mqtt: MQTT | None = None
    """The broker that alerts, twitches and states are sent to."""
    notify: Notify = Notify()
    """How a person learns of alerts beside MQTT, and when not."""
    alerts: Annotated[tuple[Alert, ...], Field(strict=False)] = ()
    """Rules that are not the default ones."""
    detection: Annotated[DetectorSettings, GetPydanticSchema(_detection_schema)] = DetectorSettings()
    """What counts as a twitch."""

    @property
    def description_folder(self) -> Path | None:
        """Where devices are described, if anywhere."""
        folder = default_path().parent / "devices"
        return self.descriptions or (folder if folder.is_dir() else None)


def default_path() -> Path:
    """Where the configuration is looked for: `~/.config/fasciwatch/config.toml` on Linux."""
    return platformdirs.user_config_path(_NAME) / "config.toml"


def load(path: Path | None = None) -> Settings:
    """The configuration in the file `path`; `None`: in `default_path()`, which need not exist.

    Raises:
        ConfigError: the file cannot be read, or a key or value in it is wrong.
    """
    chosen = default_path() if path is None else path
    try:
        text = chosen.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if path is None:
            return Settings()
        raise ConfigError(f"{chosen}: no such file", "Check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"{chosen}: {reason}", "Check the file and its permissions") from error
    return _parsed(chosen, text)


def _parsed(path: Path, text: str) -> Settings:
    try:
        return Settings.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: no valid TOML: {error}", "Correct that line") from error
    except ValidationError as error:
        raise _explained(path, _first(error.errors())) from error


def _first(faults: list[ErrorDetails]) -> ErrorDetails:
    """The fault to show. An unknown key goes first: it is why another one is missing."""
    return min(faults, key=lambda fault: fault["type"] != "extra_forbidden")


def _explained(path: Path, fault: ErrorDetails) -> ConfigError:
    """The error that names the key, and for a typo the key that was meant."""
    where = fault["loc"]
    key = _dotted(where)
    if fault["type"] == "extra_forbidden":
        return ConfigError(f"{path}: unknown key {key}", _nearest(str(where[-1]), _keys(where)))
    if fault["type"] == "missing":
        return ConfigError(f"{path}: {key} is missing", "Add it")
    said = _SAID.get(fault["type"], fault["msg"].removeprefix("Value error, "))
    given = "" if isinstance(fault["input"], dict | list | tuple) else f" = {_shown(fault['input'])}"
    return ConfigError(f"{path}: {key}{given}: {said[:1].lower()}{said[1:]}", f"Correct {key}")


def _shown(value: object) -> str:
    """`value` as TOML has it."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _dotted(where: Iterable[int | str]) -> str:
    """("devices", 0, "name") -> "devices[0].name"."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{_quoted(part)}" for part in where)
    return "".join(parts).removeprefix(".")


def _quoted(key: str) -> str:
    """`key` as TOML has it: bare where that can be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _keys(where: tuple[int | str, ...]) -> list[str]:
    """The keys that are valid beside the one at `where`."""
    sections: dict[int | str, type[_Section]] = {
        "devices": Device,
        "detection": _Detection,
        "raw": Raw,
        "page": Page,
        "influxdb": InfluxDB,
        "mqtt": MQTT,
        "notify": Notify,
        "alerts": Alert,
    }
    section = sections[where[0]] if len(where) > 1 else Settings
    return list(section.model_fields)


def _nearest(typed: str, valid: list[str]) -> str:
    close = difflib.get_close_matches(typed, valid, n=1)
    return f"Did you mean {close[0]}?" if close else f"Valid keys here: {', '.join(valid)}"
