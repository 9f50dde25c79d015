"""Grafana's own alerts: a second line, for when fasciwatch or its computer cannot say anything any more.

Rules of this module:

* Alerts know no variables: each asks of all computers, and its data source is the provisioned one.
* That nothing arrives is the alert. What was asked for and could not be answered leaves it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dashboards.grafana import Json
from dashboards.influxql import Query, name
from monitor.sinks.line_protocol import Field, Measurement, Tag

SOURCE_UID: Final = "fasciwatch"
_EXPRESSION: Final = "__expr__"


@dataclass(frozen=True, slots=True)
class Rule:
    """When to say something."""

    uid: str
    title: str
    why: str
    query: Query
    since_s: int
    above: float | None
    """Or, with `None`, below 1."""
    lasting: str
    without_data: str
    """"Alerting" or "OK"."""

    def json(self) -> Json:
        """As Grafana provisions it."""
        limit = {"type": "lt", "params": [1]} if self.above is None else {"type": "gt", "params": [self.above]}
        return {
            "uid": self.uid,
            "title": self.title,
            "condition": "C",
            "for": self.lasting,
            "noDataState": self.without_data,
            "execErrState": "KeepLast",
            "annotations": {"summary": self.why},
            "labels": {"app": "fasciwatch"},
            "isPaused": False,
            "data": [self._asked(), self._last(), self._compared(limit)],
        }

    def _asked(self) -> Json:
        model = {"refId": "A", "rawQuery": True, "query": self.query.text, "resultFormat": "time_series"}
        return self._step("A", SOURCE_UID, model)

    def _last(self) -> Json:
        return self._step("B", _EXPRESSION, {"refId": "B", "type": "reduce", "expression": "A", "reducer": "last"})

    def _compared(self, limit: Json) -> Json:
        model = {"refId": "C", "type": "threshold", "expression": "B", "conditions": [{"evaluator": limit}]}
        return self._step("C", _EXPRESSION, model)

    def _step(self, ref: str, source: str, model: Json) -> Json:
        asked = {"from": self.since_s, "to": 0}
        return {"refId": ref, "relativeTimeRange": asked, "datasourceUid": source, "model": model}


_MINUTES = Query(
    f"count({name(Measurement.MINUTE, Field.OBSERVED_S)})",
    Measurement.MINUTE,
    variables=(),
    every="5m",
    by=(Tag.NODE,),
    fill="0",
)
_BEHIND = Query(
    f"max({name(Measurement.HEALTH, Field.BEHIND_S)})",
    Measurement.HEALTH,
    variables=(),
    every="5m",
    by=(Tag.NODE, Tag.SINK),
    fill="none",
)
RULES: Final = (
    Rule(
        "fasciwatch-stream-alive",
        "No data from fasciwatch",
        "For ten minutes nothing of a wearable arrived: monitoring, its computer, or the way from there is down.",
        _MINUTES,
        since_s=86400,
        above=None,
        lasting="6m",
        without_data="Alerting",
    ),
    Rule(
        "fasciwatch-sink-silent",
        "A server does not take what it is sent",
        "A server is more than 15 min behind. Nothing is lost: see `fasciwatch sinks`.",
        _BEHIND,
        since_s=1800,
        above=900,
        lasting="5m",
        without_data="OK",
    ),
)


def provisioned() -> Json:
    """The file of all rules."""
    group = {"orgId": 1, "name": "fasciwatch", "folder": "fasciwatch", "interval": "1m"}
    return {"apiVersion": 1, "groups": [group | {"rules": [rule.json() for rule in RULES]}]}
