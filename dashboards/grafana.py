"""Classic dashboards (schemaVersion 42), which Grafana 10 to 13 provision from files: panels, laid out in rows.

Rules of this module:

* It knows Grafana and nothing of twitches.
* A panel cannot be made without unit, description and words for when there is nothing to show.
* The data source is a variable, so that the same file serves any server.
* Panels are laid in rows, so that none overlaps another; a phone stacks them in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dashboards.influxql import Query

Json = dict[str, Any]

SCHEMA_VERSION: Final = 42
TAG: Final = "fasciwatch"
SOURCE: Final[Json] = {"type": "influxdb", "uid": "${datasource}"}
_WIDTH = 24


@dataclass(frozen=True, slots=True)
class Panel:
    """What shows queries."""

    kind: str
    """"timeseries", "table", "stat", "heatmap", "state-timeline", "trend"."""
    title: str
    about: str
    """For a person: what it is, and what it is not."""
    unit: str
    empty: str
    """What it says when there is nothing to show."""
    queries: tuple[Query, ...]
    width: int = 12
    """Of 24."""
    height: int = 8
    options: Mapping[str, Any] = field(default_factory=dict)
    custom: Mapping[str, Any] = field(default_factory=dict)
    """How values are drawn."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Limits, thresholds, mappings."""
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Column -> what differs in it: "unit", "displayName", "links", "custom"."""
    transformations: tuple[Json, ...] = ()
    interval: str = ""
    """The shortest."""


@dataclass(frozen=True, slots=True)
class Variable:
    """What a person chooses."""

    name: str
    label: str
    query: str
    several: bool = True


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is marked in every panel over time."""

    name: str
    query: str
    text: str
    """Column."""
    tags: str
    colour: str


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard."""

    uid: str
    title: str
    about: str
    since: str
    """"now-7d"."""
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...]
    rows: tuple[tuple[Panel, ...], ...]
    refresh: str = "1m"

    @property
    def panels(self) -> Iterator[Panel]:
        """All, from the top."""
        return (panel for row in self.rows for panel in row)

    def json(self) -> Json:
        """As Grafana reads it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "timezone": "browser",
            "time": {"from": self.since, "to": "now"},
            "refresh": self.refresh,
            "links": [_LINK],
            "annotations": {"list": [_annotation(each) for each in self.annotations]},
            "templating": {"list": [_DATASOURCE, *map(_variable, self.variables)]},
            "panels": list(_laid(self.rows)),
        }


_LINK: Json = {
    "title": "fasciwatch", "type": "dashboards", "tags": [TAG], "asDropdown": False, "icon": "external link",
    "includeVars": True, "keepTime": True, "targetBlank": False, "tooltip": "", "url": "",
}  # fmt: skip
_DATASOURCE: Json = {
    "name": "datasource",
    "label": "InfluxDB",
    "type": "datasource",
    "query": "influxdb",
    "refresh": 1,
}
_EVERYTHING: Json = {"selected": True, "text": ["All"], "value": ["$__all"]}


def _variable(variable: Variable) -> Json:
    rest: Json = {"multi": True, "includeAll": True, "allValue": ".*", "current": _EVERYTHING}
    return {
        "name": variable.name,
        "label": variable.label,
        "type": "query",
        "datasource": SOURCE,
        "query": variable.query,
        "refresh": 2,
        "sort": 1,
        **(rest if variable.several else {"multi": False, "includeAll": False}),
    }


def _annotation(annotation: Annotation) -> Json:
    return {
        "name": annotation.name,
        "datasource": SOURCE,
        "enable": True,
        "iconColor": annotation.colour,
        "query": annotation.query,
        "textColumn": annotation.text,
        "tagsColumn": annotation.tags,
    }


def _laid(rows: Sequence[Sequence[Panel]]) -> Iterator[Json]:
    number, y = 0, 0
    for row in rows:
        x = 0
        for panel in row:
            number += 1
            yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": panel.height})
            x += panel.width
        if x > _WIDTH:
            raise ValueError(f"{row[0].title!r} and what stands beside it are {x} wide, more than {_WIDTH}")
        y += max(panel.height for panel in row)


def _panel(panel: Panel, number: int, place: Json) -> Json:
    defaults = {"unit": panel.unit, "noValue": panel.empty, "custom": dict(panel.custom), **panel.defaults}
    made: Json = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [_target(query, "ABCDEFGH"[place]) for place, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": defaults, "overrides": [_column(*each) for each in panel.columns.items()]},
        "options": dict(panel.options),
        "transformations": list(panel.transformations),
    }
    return made | ({"interval": panel.interval} if panel.interval else {})


def _target(query: Query, ref: str) -> Json:
    return {
        "refId": ref,
        "datasource": SOURCE,
        "rawQuery": True,
        "query": query.text,
        "resultFormat": "table" if query.table else "time_series",
        "alias": query.alias,
    }


def _column(column: str, differs: Mapping[str, Any]) -> Json:
    properties = [{"id": key, "value": value} for key, value in differs.items()]
    return {"matcher": {"id": "byName", "options": column}, "properties": properties}
