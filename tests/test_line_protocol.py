"""Lines of InfluxDB: whatever a person calls a device, the line says it, or what the protocol can say of it."""

from __future__ import annotations

import math
import re
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_interface.samples import Status
from monitor.alerts.engine import Alert, Change
from monitor.alerts.rules import Kind
from monitor.bulletins import Disk, Found, FoundLag, Noted, Waiting
from monitor.config import load
from monitor.outbox import Letter
from monitor.sinks.line_protocol import COMMON, SCHEMA, line, point
from monitor.store import Condition, Health, Linked
from monitor.tally import Minute
from tests.servers import Influxd
from tests.test_store import CONTEXT, GAP, NOW, TWITCH, S

ROOT = Path(__file__).parents[1]
ANY_TEXT = st.text(st.characters(codec=None), max_size=12) | st.text(alphabet='\\,= "#\n', max_size=8)
FIELDS = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), ANY_TEXT)


ALERT = replace(
    Alert("rate.arm.FDI", Kind.RATE, NOW, Change.SNOOZED),
    raised=True,
    since_ns=NOW,
    value=31.5,
    why='"much", \\ more',
    site="FDI",
    snoozed_until_ns=NOW,
)


def letter(contents, device="left arm", offset_s=3600) -> Letter:
    return Letter(1, "0" * 32, "laptop", device, offset_s, contents)


def parsed(text: str):
    """(measurement, tags, fields, time) by the words of the specification, independent of the writer."""
    series, rest = re.fullmatch(r"((?:\\.|[^ \\])+) (.*)", text).groups()
    measurement, *tags = re.split(r"(?<!\\),", series)
    fields, time = rest.rsplit(" ", 1)
    values = {}
    for found in re.finditer(r'([a-z_]+)=("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)', fields):
        values[found[1]] = found[2]
    pairs = dict(re.split(r"(?<!\\)=", tag, maxsplit=1) for tag in tags)
    return measurement, {k: re.sub(r"\\([,= ])", r"\1", v) for k, v in pairs.items()}, values, int(time)


@given(ANY_TEXT, ANY_TEXT, FIELDS, st.integers(-(2**62), 2**62))
def test_any_text_is_one_line_that_reads_back(tag, other, field, at_ns) -> None:
    """What the protocol cannot say is replaced: control characters, backslashes of tags, numbers that are none."""
    made = point("m", {"a": tag, "b": other}, {"x": field, "one": 1}, at_ns)
    assert b"\n" not in made
    measurement, tags, fields, time = parsed(made.decode())
    assert (measurement, time, fields["one"]) == ("m", at_ns, "1i")
    said = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", " ", tag).replace("\\", "/").strip()
    assert tags.get("a", "") == said
    if isinstance(field, str):
        said = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", " ", field)
        assert re.sub(r"\\(.)", r"\1", fields["x"][1:-1]) == said
    elif isinstance(field, bool):
        assert fields["x"] == str(field).lower()
    elif isinstance(field, int):
        assert fields["x"] == f"{field}i"
    elif math.isfinite(field):
        assert float(fields["x"]) == field
    else:
        assert "x" not in fields


ALERT = Alert(
    "rate.arm", Kind.RATE, NOW, Change.RAISED, value=3.5, why="3.5 a minute", device="left arm", site="FDI",
    since_ns=NOW, snoozed_until_ns=NOW + S,
)  # fmt: skip
FOUND = Found(
    NOW, NOW, "caffeine", "all", "linked", 1.8, 1.4, 2.3, 1.2, 2.7, 0.001, 120.0, 40, 35, 300.0, "0.5 to 3 h", "",
)  # fmt: skip
CONTENTS = [
    (TWITCH, "twitch", {"channel", "site", "hour"}, NOW),
    (Minute("FDI", NOW, 60.0, 58.5, 3), "minute", {"channel", "site", "hour"}, NOW),
    (CONTEXT, "context", {"channel", "site", "state"}, NOW),
    (GAP, "gap", {"stream", "reason"}, NOW),
    (Health(1, NOW, Status(battery_percent=80, lead_off=(True, False))), "health", set(), NOW),
    (Linked(NOW, "AA", "1.0", -60), "health", set(), NOW),
    (Condition("raw", NOW, True, "full"), "health", {"condition"}, NOW),
    (Waiting(0, NOW, "influxdb", 3, 2.5), "health", {"sink"}, NOW),
    (Disk(0, NOW, 10**9, 10**11), "health", set(), NOW),
    (ALERT, "alert", {"alert", "kind", "change", "site"}, NOW),
    (
        Noted(7, NOW + S, 4, True, "caffeine", NOW, NOW + S, 80.0, "mg", "FDI"),
        "trigger",
        {"trigger", "site"},
        NOW + 4,
    ),
    (FOUND, "finding", {"trigger", "site"}, NOW),
    (FoundLag(NOW, NOW, "caffeine", "all", 1.0, 3.0, 1.6, 1.1, 2.2), "lag", {"trigger", "site", "from_h"}, NOW),
]


@pytest.mark.parametrize(("contents", "measurement", "tags", "at_ns"), CONTENTS)
def test_the_names_are_those_of_the_contract(contents, measurement, tags, at_ns) -> None:
    got = parsed(line(letter(contents)).decode())
    assert (got[0], set(got[1]), got[3]) == (measurement, tags | {"node", "device"}, at_ns)
    assert got[2]["id"] == f'"{"0" * 32}"'
    assert got[1]["device"] == "left arm"


def test_the_hour_is_that_of_the_local_clock() -> None:
    """NOW is 08:00 UTC."""
    assert NOW % (24 * 3600 * S) == 8 * 3600 * S
    hours = [parsed(line(letter(TWITCH, offset_s=h * 3600)).decode())[1]["hour"] for h in (0, 2, -9, 16)]
    assert hours == ["08", "10", "23", "00"]


def test_the_day_on_which_the_clock_is_set_back() -> None:
    """Its hour that comes twice is twice as long in InfluxDB too: other times, one tag, no point on another."""
    summer = line(letter(replace(TWITCH, onset_ns=NOW), offset_s=7200))
    winter = line(letter(replace(TWITCH, onset_ns=NOW + 3600 * S), offset_s=3600))
    assert parsed(summer.decode())[1] == parsed(winter.decode())[1]
    assert parsed(summer.decode())[3] != parsed(winter.decode())[3]


def test_a_real_server_reads_what_we_write(tmp_path) -> None:
    """Names, types and nanoseconds, of every kind, with names that need care."""
    name = 'left, "arm" = 1 #\\'
    body = b"\n".join(line(letter(contents, name)) for contents, *_ in CONTENTS)
    with Influxd(tmp_path) as influxd:
        urllib.request.urlopen(f"{influxd.url}/query?q=CREATE%20DATABASE%20fasciwatch", data=b"").close()
        urllib.request.urlopen(f"{influxd.url}/write?db=fasciwatch&precision=ns", data=body).close()
        for contents, measurement, _, at_ns in CONTENTS:
            rows = influxd.ask(f"SELECT * FROM {measurement}")
            assert {row["time"] for row in rows} == {at_ns}
            assert {row["device"] for row in rows} == {name.replace("\\", "/")}, contents
        (twitch,) = influxd.ask("SELECT * FROM twitch")
        assert (twitch["peak"], twitch["phases"], twitch["unit"]) == (123.5, 3, "uV")


def test_the_document_names_every_measurement_tag_and_field(tmp_path) -> None:
    text = (ROOT / "docs/influxdb.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(\w+)`[^|]* \|[^|]*\|([^|]*)\|([^|]*)\|$", text, re.MULTILINE)
    documented = [(name, *(set(re.findall(r"`(\w+)`", names)) for names in rest)) for name, *rest in table]
    full = replace(TWITCH, motor_unit=2, follows_s=0.03)
    status = Status(80, (True, False), 1, 2, 30.5)
    made = []
    for contents, measurement, tags, _ in CONTENTS:
        complete = full if contents is TWITCH else contents
        complete = Health(1, NOW, status) if isinstance(contents, Health) else complete
        fields = parsed(line(letter(complete)).decode())[2]
        made.append((measurement, tags, set(fields) - {"id"}))
    assert documented == made
    for name, shape in SCHEMA.items():
        assert set(shape.tags) | set(COMMON.tags) == {"node", "device"}.union(
            *(t for n, t, _ in made if n == name)
        )
        assert set(shape.fields) == set().union(*(fields for n, _, fields in made if n == name))
    (sample,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "config.toml").write_text(sample)
    (server,) = load(tmp_path / "config.toml").influxdb
    assert (server.version, server.bucket) == (2, "fasciwatch")
