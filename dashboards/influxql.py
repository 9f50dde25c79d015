"""Queries in InfluxQL, the one language of InfluxDB 1, 2 and 3, with Grafana's variables in them.

Rules of this module:

* Names come from the schema, and each must be one of the measurement that is asked.
* Each query is bounded in time by `$timeFilter`, and by the variables of the dashboard that its measurement has.
* A rate is per analysable minute, sums over sums. Minutes without analysable time are left out: to InfluxQL, what
  is divided by 0 is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from monitor.sinks.line_protocol import COMMON, SCHEMA, Field, Measurement, Tag

INTERVAL: Final = "$__interval"
VARIABLES: Final = (Tag.NODE, Tag.DEVICE, Tag.SITE, Tag.CHANNEL)
"""In the order in which they narrow each other down."""
CHOSEN: Final = Tag.TRIGGER
"""The variable of one trigger."""
WHERE: Final = "where"
"""The variable of one site of the answers; where there are several, "all" is one of them."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a panel asks, without the name of the data source."""

    select: str
    measurement: Measurement
    of: str = ""
    """What is selected of each point first, where the measurement does not have it as it is."""
    variables: tuple[Tag, ...] = VARIABLES
    """Those that may narrow it down; what the measurement does not have is left out."""
    where: str = ""
    every: str = ""
    """Grouped into stretches of time: `INTERVAL`, or "1d"."""
    by: tuple[Tag, ...] = ()
    fill: str = ""
    newest: int = 0
    """Only so many, the newest first; of each group."""
    alias: str = ""
    """Of a series: "$tag_site"."""
    table: bool = False

    @property
    def text(self) -> str:
        """In full."""
        grouped = [f"time({self.every})"] if self.every else []
        grouped += [name(self.measurement, tag) for tag in self.by]
        source = f"FROM {quoted(self.measurement)} WHERE {self.condition}"
        if self.of:  # time is asked for twice: of the points, and for the stretches
            source = f"FROM (SELECT {self.of} {source}) WHERE $timeFilter"
        parts = [f"SELECT {self.select} {source}"]
        parts += [f"GROUP BY {', '.join(grouped)}"] if grouped else []
        parts += [f"fill({self.fill})"] if self.fill else []
        parts += [f"ORDER BY time DESC LIMIT {self.newest}"] if self.newest else []
        return " ".join(parts)

    @property
    def condition(self) -> str:
        """Its WHERE."""
        shape = SCHEMA[self.measurement]
        asked = [tag for tag in self.variables if tag in shape.tags or tag in COMMON.tags]
        narrowed = [f"{quoted(tag)} =~ /^${tag}$/" for tag in asked]
        return " AND ".join([*narrowed, *([self.where] if self.where else []), "$timeFilter"])


def quoted(text: str) -> str:
    return f'"{text}"'


def name(measurement: Measurement, key: Tag | Field) -> str:
    """A name, in quotes, that points of the measurement have."""
    shape = SCHEMA[measurement]
    has = key in (*shape.tags, *COMMON.tags) if isinstance(key, Tag) else key in {**shape.fields, **COMMON.fields}
    if not has:
        raise KeyError(f"{measurement} has no {key}")
    return quoted(key)


def listed(measurement: Measurement, keys: Sequence[Tag | Field]) -> str:
    """Columns of a table, under their own names."""
    return ", ".join(name(measurement, key) for key in keys)


def total(measurement: Measurement, field: Field) -> str:
    return f"sum({name(measurement, field)})"


def values_of(measurement: Measurement, tag: Tag, given: Sequence[Tag] = ()) -> str:
    """The query of a variable: what values a tag has, given other variables."""
    bounds = " AND ".join(f"{name(measurement, each)} =~ /^${each}$/" for each in given)
    where = f" WHERE {bounds}" if bounds else ""
    return f"SHOW TAG VALUES FROM {quoted(measurement)} WITH KEY = {name(measurement, tag)}{where}"


# ---- What several panels ask ----

_M, _T = Measurement.MINUTE, Measurement.TWITCH
OBSERVED: Final = f"{name(_M, Field.ANALYSABLE_S)} > 0"
RATE: Final = f"60 * {total(_M, Field.TWITCHES)} / {total(_M, Field.ANALYSABLE_S)}"
ANALYSABLE_SHARE: Final = f"100 * {total(_M, Field.ANALYSABLE_S)} / {total(_M, Field.OBSERVED_S)}"
NOISE: Final = f'{name(_T, Field.PEAK)} / {name(_T, Field.SNR)} AS "noise"'
"""The standard deviation of the noise around a twitch: its peak was compared with it."""
STANDS: Final = f"{name(Measurement.TRIGGER, Field.STANDS)} = true"
OF_CHOSEN: Final = f"{name(Measurement.TRIGGER, Tag.TRIGGER)} =~ /^${CHOSEN}$/"
OF_ANSWER: Final = f"{OF_CHOSEN} AND {name(Measurement.LAG, Tag.SITE)} =~ /^${WHERE}$/"
"""One trigger at one site: `finding` and `lag` have the same tags for it."""


def lost_percent() -> str:
    """Of the interval, what is missing in it."""
    return f"100000 * {total(Measurement.GAP, Field.DURATION_S)} / $__interval_ms"
