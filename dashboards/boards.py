"""The four dashboards: what happened, how well it was seen, what it has to do with, and whether it all works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dashboards.grafana import Annotation, Board, Json, Panel, Variable
from dashboards.influxql import (
    ANALYSABLE_SHARE,
    CHOSEN,
    INTERVAL,
    NOISE,
    OBSERVED,
    OF_ANSWER,
    OF_CHOSEN,
    RATE,
    STANDS,
    VARIABLES,
    WHERE,
    Query,
    listed,
    lost_percent,
    name,
    total,
    values_of,
)
from monitor.correlation.findings import Verdict
from monitor.diary import FELT, NOTHING
from monitor.sinks.line_protocol import Field, Measurement, Tag

_BLUE, _ORANGE, _GREEN, _GREY, _PURPLE = "#0072b2", "#d55e00", "#009e73", "#888888", "#cc79a7"
_NOT_WATCHED = "Nothing was observed in this time"
_PER_MINUTE = "cpm"
_LEGEND: Final[Json] = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
_LINE: Final[Json] = {
    "drawStyle": "line",
    "lineWidth": 1,
    "fillOpacity": 10,
    "showPoints": "auto",
    "spanNulls": False,
}
_BARS: Final[Json] = {
    "drawStyle": "bars",
    "fillOpacity": 80,
    "lineWidth": 0,
    "stacking": {"mode": "normal", "group": "A"},
}
_PERCENT: Final[Json] = {"min": 0, "max": 100}
_FROM_0: Final[Json] = {"min": 0}
_LAST: Final[Json] = {
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    "textMode": "value_and_name",
}
_NONE: Final[Json] = {}
_TABLE: Final[Json] = {"cellHeight": "sm", "showHeader": True}
_ROW_OF_EACH: Final[tuple[Json, ...]] = ({"id": "merge", "options": {}},)
_BY_HOURS: Final[Json] = {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": "Hours after"}]}}
_LABELS = {Tag.NODE: "Computer", Tag.DEVICE: "Device", Tag.SITE: "Site", Tag.CHANNEL: "Channel", CHOSEN: "Trigger"}
_BEFORE_MS, _AFTER_MS = 2 * 3600 * 1000, 6 * 3600 * 1000

_A, _F, _G, _H = Measurement.ALERT, Measurement.FINDING, Measurement.GAP, Measurement.HEALTH
_L, _M, _T, _W = Measurement.LAG, Measurement.MINUTE, Measurement.TRIGGER, Measurement.TWITCH
_HERE = (Tag.NODE, Tag.DEVICE)
_THIS = (Tag.NODE,)


def _shown(field: Tag | Field, text: str, unit: str | None = None, **rest: Any) -> tuple[str, Mapping[str, Any]]:  # noqa: ANN401
    """A column, as a person reads it."""
    return str(field), {"displayName": text, **({"unit": unit} if unit else {}), **rest}


def _series(tag: Tag) -> str:
    return f"$tag_{tag}"


def _each(
    select: str,
    measurement: Measurement,
    tag: Tag,
    fill: str,
    *,
    of: str = "",
    variables: tuple[Tag, ...] = VARIABLES,
    where: str = "",
) -> Query:
    """Over time, a series for each value of a tag."""
    return Query(
        select, measurement, of, variables, where, every=INTERVAL, by=(tag,), fill=fill, alias=_series(tag)
    )


def _course(
    title: str,
    about: str,
    unit: str,
    empty: str,
    query: Query,
    size: tuple[int, int],
    *,
    drawn: Json = _LINE,
    limits: Json = _FROM_0,
    columns: Mapping[str, Mapping[str, Any]] = _NONE,
    interval: str = "5m",
) -> Panel:
    """Values over time."""
    return Panel(
        "timeseries",
        title,
        about,
        unit,
        empty,
        (query,),
        *size,
        _LEGEND,
        drawn,
        limits,
        columns,
        interval=interval,
    )


def _table(title: str, about: str, empty: str, query: Query, size: tuple[int, int], **rest: Any) -> Panel:  # noqa: ANN401
    """A row a point."""
    return Panel("table", title, about, "short", empty, (query,), *size, _TABLE, **rest)


def _figure(
    title: str, about: str, unit: str, empty: str, query: Query, *, options: Json = _LAST, defaults: Json = _NONE
) -> Panel:
    """One number."""
    return Panel("stat", title, about, unit, empty, (query,), 6, 4, options, defaults=defaults)


def _variables() -> tuple[Variable, ...]:
    """Each offers what there is with those before it."""
    return tuple(
        Variable(tag, _LABELS[tag], values_of(_M, tag, VARIABLES[:place])) for place, tag in enumerate(VARIABLES)
    )


def _marks(title: str, where: str, colour: str) -> Annotation:
    query = Query(listed(_T, (Field.TEXT, Tag.TRIGGER)), _T, variables=_THIS, where=f"{STANDS} AND {where}")
    return Annotation(title, query.text, Field.TEXT, Tag.TRIGGER, colour)


def _is(tag: Tag, value: str, sign: str = "=") -> str:
    return f"{name(_T, tag)} {sign} '{value}'"


_LOGGED = f"{_is(Tag.TRIGGER, FELT, '!=')} AND {_is(Tag.TRIGGER, NOTHING, '!=')}"
_TRIGGERS = _marks("Triggers", _LOGGED, _ORANGE)
_FELT = _marks("Felt", _is(Tag.TRIGGER, FELT), _PURPLE)

OVERVIEW = Board(
    uid="fasciwatch-overview",
    title="Overview",
    about="How many twitches there were, when and where. It counts; it does not diagnose.",
    since="now-7d",
    variables=_variables(),
    annotations=(_TRIGGERS, _FELT),
    rows=(
        (
            _figure(
                "Twitches",
                "All twitches of the chosen time.",
                "short",
                _NOT_WATCHED,
                Query(total(_M, Field.TWITCHES), _M, table=True),
            ),
            _figure(
                "Rate",
                "Twitches per analysable minute over the chosen time.",
                _PER_MINUTE,
                _NOT_WATCHED,
                Query(RATE, _M, where=OBSERVED, table=True),
                defaults={"decimals": 2},
            ),
            _figure(
                "Analysable",
                "Time in which twitches could be told from all else.",
                "s",
                _NOT_WATCHED,
                Query(total(_M, Field.ANALYSABLE_S), _M, table=True),
            ),
            _figure(
                "Last minute",
                "When the newest minute that arrived began. It is sent 75 s after that.",
                "dateTimeFromNow",
                "Nothing ever arrived",
                Query(f"last({name(_M, Field.OBSERVED_S)})", _M, table=True),
                options=_LAST
                | {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "/^Time$/", "values": False}},
            ),
        ),
        (
            _course(
                "Rate by site",
                "Twitches per analysable minute. Where nothing could be analysed, the line ends.",
                _PER_MINUTE,
                _NOT_WATCHED,
                _each(RATE, _M, Tag.SITE, "null", where=OBSERVED),
                (24, 9),
            ),
        ),
        (
            Panel(
                "heatmap",
                "Twitches by hour of the clock",
                "Rate of each day (by UTC) and hour of the local clock: a column is a day, a row an hour.",
                _PER_MINUTE,
                _NOT_WATCHED,
                (
                    Query(
                        RATE, _M, where=OBSERVED, every="1d", by=(Tag.HOUR,), fill="none", alias=_series(Tag.HOUR)
                    ),
                ),
                24,
                10,
                {
                    "calculate": False,
                    "cellGap": 1,
                    "color": {"mode": "scheme", "scheme": "Viridis", "steps": 64, "fill": "dark-blue"},
                    "rowsFrame": {"layout": "auto", "value": "Rate"},
                    "tooltip": {"mode": "single", "yHistogram": False},
                    "yAxis": {"axisPlacement": "left", "unit": "short"},
                    "legend": {"show": True},
                },
                interval="1d",
            ),
        ),
        (
            _table(
                "Last twitches",
                "The newest of the chosen time.",
                "No twitch in this time",
                Query(
                    listed(
                        _W,
                        (
                            Tag.DEVICE,
                            Tag.SITE,
                            Field.PEAK_TO_PEAK,
                            Field.UNIT,
                            Field.DURATION_S,
                            Field.SNR,
                            Field.CONFIDENCE,
                            Field.MOTOR_UNIT,
                        ),
                    ),
                    _W,
                    newest=50,
                    table=True,
                ),
                (24, 10),
                columns=dict(
                    (
                        _shown(Tag.DEVICE, "Device"),
                        _shown(Tag.SITE, "Site"),
                        _shown(Field.UNIT, "Unit"),
                        _shown(Field.PEAK_TO_PEAK, "Peak to peak"),
                        _shown(Field.DURATION_S, "Lasted", "s"),
                        _shown(Field.SNR, "Times the noise"),
                        _shown(Field.CONFIDENCE, "Confidence", "percentunit"),
                        _shown(Field.MOTOR_UNIT, "Motor unit"),
                    )
                ),
            ),
        ),
    ),
)

SIGNAL = Board(
    uid="fasciwatch-signal",
    title="Signal and devices",
    about="How well it was seen: what is missing, and why.",
    since="now-2d",
    variables=_variables(),
    annotations=(_TRIGGERS,),
    rows=(
        (
            _course(
                "Analysable share",
                "Of the time that was observed, by site: the rest was voluntary, an artefact, or without contact.",
                "percent",
                _NOT_WATCHED,
                _each(ANALYSABLE_SHARE, _M, Tag.SITE, "null"),
                (12, 8),
                limits=_PERCENT,
            ),
            _course(
                "Loss",
                "Share of the time that is missing, by device, whatever the reason.",
                "percent",
                "Nothing is missing",
                _each(lost_percent(), _G, Tag.DEVICE, "0"),
                (12, 8),
                limits=_PERCENT,
            ),
        ),
        (
            _course(
                "Gaps by reason",
                "Time that is missing. A gap stands where it began.",
                "s",
                "Nothing is missing",
                _each(total(_G, Field.DURATION_S), _G, Tag.REASON, "0"),
                (12, 8),
                drawn=_BARS,
                interval="30m",
            ),
            _course(
                "Noise floor",
                "Standard deviation of the noise around twitches, median, in the unit of "
                "the channel. Nothing is known of it where no twitch was.",
                "none",
                "No twitch in this time",
                _each('median("noise")', _W, Tag.SITE, "none", of=NOISE),
                (12, 8),
                drawn=_LINE | {"spanNulls": True},
                interval="1h",
            ),
        ),
        (
            _course(
                "Battery",
                "As each device said last.",
                "percent",
                "No device told of its battery",
                _each(f"last({name(_H, Field.BATTERY_PERCENT)})", _H, Tag.DEVICE, "none", variables=_HERE),
                (8, 7),
                drawn=_LINE | {"spanNulls": True},
                limits=_PERCENT,
            ),
            _course(
                "Electrodes without contact",
                "As many as a device said, at worst.",
                "none",
                "No device told of its electrodes",
                _each(f"max({name(_H, Field.NO_CONTACT)})", _H, Tag.DEVICE, "none", variables=_HERE),
                (8, 7),
                drawn=_LINE | {"lineInterpolation": "stepAfter"},
            ),
            _course(
                "Connections",
                "How often each device was connected to; one is as it should be.",
                "none",
                "No device was connected to",
                _each(f"count({name(_H, Field.RSSI_DBM)})", _H, Tag.DEVICE, "0", variables=_HERE),
                (8, 7),
                drawn=_BARS,
                interval="30m",
            ),
        ),
        (
            _course(
                "Signal strength",
                "Of the radio, when a device was found.",
                "dBm",
                "No device was connected to",
                _each(f"mean({name(_H, Field.RSSI_DBM)})", _H, Tag.DEVICE, "none", variables=_HERE),
                (12, 7),
                drawn=_LINE | {"drawStyle": "points", "pointSize": 6},
                limits=_NONE,
            ),
            _course(
                "What the time was",
                "Time that was not analysable, by what it was instead.",
                "s",
                "All of it was analysable, or nothing was observed",
                _each(total(Measurement.CONTEXT, Field.DURATION_S), Measurement.CONTEXT, Tag.STATE, "0"),
                (12, 7),
                drawn=_BARS,
                interval="30m",
            ),
        ),
    ),
)

_COLOURED: Final[Mapping[str, Any]] = {"custom.cellOptions": {"type": "color-text"}}
_COLOURS = {
    Verdict.LINKED: _ORANGE,
    Verdict.POSSIBLE: _PURPLE,
    Verdict.NO_SIGN: _GREEN,
    Verdict.CANNOT_TELL: _GREY,
}
_VERDICTS: Final[Json] = {
    "type": "value",
    "options": {str(each): {"text": each.replace("_", " "), "color": _COLOURS[each]} for each in Verdict},
}
_ZOOM: Final[Json] = {
    "title": "Two hours before to six hours after",
    "url": "/d/fasciwatch-triggers?from=${__data.fields.from}&to=${__data.fields.to}&${__all_variables}",
}
_BETWEEN = f'{name(_T, Field.AT_MS)} - {_BEFORE_MS} AS "from", {name(_T, Field.AT_MS)} + {_AFTER_MS} AS "to"'
_HIDDEN: Final[Json] = {"custom.hidden": True}
_RATIOS = (Field.RATE_RATIO, Field.LOW, Field.HIGH)
_RATIO_NAMES = dict(
    (
        _shown(Field.RATE_RATIO, "Rate ratio"),
        _shown(Field.LOW, "From"),
        _shown(Field.HIGH, "To"),
    )
)

TRIGGERS = Board(
    uid="fasciwatch-triggers",
    title="Triggers and answers",
    about="What twitches have to do with what was logged. A link is no proof of what brings them about.",
    since="now-30d",
    variables=(
        *_variables(),
        Variable(CHOSEN, _LABELS[CHOSEN], values_of(_T, Tag.TRIGGER, _THIS), several=False),
        Variable(WHERE, "Answer at", values_of(_F, Tag.SITE, _THIS), several=False),
    ),
    annotations=(_marks("Chosen trigger", OF_CHOSEN, _ORANGE),),
    rows=(
        (
            _course(
                "Rate around ${trigger}",
                "Twitches per analysable minute, with the chosen trigger as "
                "marks. What one sees here is not corrected for the clock, for other triggers, or for chance.",
                _PER_MINUTE,
                _NOT_WATCHED,
                _each(RATE, _M, Tag.SITE, "null", where=OBSERVED),
                (24, 9),
                interval="15m",
            ),
        ),
        (
            _table(
                "When it was ${trigger}",
                "Each entry of the diary that stands. A click shows the rate from "
                "two hours before to six hours after.",
                "Nothing of the kind was logged in this time",
                Query(
                    f"{listed(_T, (Field.TEXT, Field.DOSE, Field.UNIT, Field.DURATION_S))}, {_BETWEEN}",
                    _T,
                    variables=_THIS,
                    where=f"{STANDS} AND {OF_CHOSEN}",
                    newest=200,
                    table=True,
                ),
                (12, 10),
                columns=dict(
                    (
                        _shown(Field.TEXT, "What", links=[_ZOOM]),
                        _shown(Field.DOSE, "Dose"),
                        _shown(Field.UNIT, "Unit"),
                        _shown(Field.DURATION_S, "Lasted", "s"),
                    )
                )
                | {"from": _HIDDEN, "to": _HIDDEN},
            ),
            Panel(
                "trend",
                "Hours after ${trigger}",
                "Rate ratio in each stretch of hours after it, at the chosen site, with "
                "a band that holds for the whole curve; of the last analysis. Exploration, never a verdict.",
                "none",
                "Run `fasciwatch correlate`; it needs weeks of data",
                (
                    Query(
                        listed(_L, (Field.AFTER_H, *_RATIOS)),
                        _L,
                        variables=_THIS,
                        where=OF_ANSWER,
                        by=(Tag.FROM_H,),
                        newest=1,
                        table=True,
                    ),
                ),
                12,
                10,
                {"xField": str(Field.AFTER_H), **_LEGEND},
                {"lineInterpolation": "stepAfter", "lineWidth": 2, "fillOpacity": 0},
                {"min": 0, "decimals": 2},
                columns=_RATIO_NAMES | dict((_shown(Field.AFTER_H, "Hours after", "h"),)),
                transformations=(*_ROW_OF_EACH, _BY_HOURS),
            ),
        ),
        (
            _table(
                "Answers",
                "Of the last analysis of each question and site. The interval is right for one "
                "look; that the evidence e reaches 20 may be waited for.",
                "Run `fasciwatch correlate`; it needs weeks of data",
                Query(
                    listed(
                        _F,
                        (
                            Field.VERDICT,
                            *_RATIOS,
                            Field.E,
                            Field.EPISODES,
                            Field.DAYS,
                            Field.ACTS,
                            Field.REASONS,
                        ),
                    ),
                    _F,
                    variables=_THIS,
                    by=(Tag.TRIGGER, Tag.SITE),
                    newest=1,
                    table=True,
                ),
                (24, 10),
                columns=_RATIO_NAMES
                | dict(
                    (
                        _shown(Tag.TRIGGER, "Trigger"),
                        _shown(Tag.SITE, "Site"),
                        _shown(
                            Field.VERDICT,
                            "Answer",
                            mappings=[_VERDICTS],
                            **_COLOURED,
                        ),
                        _shown(Field.E, "Evidence e"),
                        _shown(Field.EPISODES, "Episodes"),
                        _shown(Field.DAYS, "Days"),
                        _shown(Field.ACTS, "Acts"),
                        _shown(Field.REASONS, "Reasons"),
                    )
                ),
                transformations=_ROW_OF_EACH,
            ),
        ),
        (
            _course(
                "Answer over time ${trigger}",
                "Rate ratio at the chosen site with its interval, from one analysis to the next.",
                "none",
                "Run `fasciwatch correlate`; it needs weeks of data",
                Query(
                    ", ".join(f'last({name(_F, field)}) AS "{field}"' for field in _RATIOS),
                    _F,
                    variables=_THIS,
                    where=OF_ANSWER,
                    every=INTERVAL,
                    fill="none",
                    alias="$col",
                ),
                (24, 8),
                drawn=_LINE | {"spanNulls": True},
                limits={"min": 0, "decimals": 2},
                columns=_RATIO_NAMES,
                interval="1h",
            ),
        ),
    ),
)

_STATE: Final[Json] = {"showValue": "never", "mergeValues": True, "rowHeight": 0.8, **_LEGEND}


def _on_off(on: str, off: str) -> Json:
    true, false = {"text": on, "color": _ORANGE}, {"text": off, "color": _GREEN}
    return {"mappings": [{"type": "value", "options": {"true": true, "false": false}}]}


_BYTES = (Field.STORED_BYTES, "stored"), (Field.FREE_BYTES, "free")

PIPELINE = Board(
    uid="fasciwatch-pipeline",
    title="Alerts and pipeline",
    about="What you should know, and whether what is stored gets where it should. A server that is "
    "silent cannot say so here: fasciwatch itself tells, and Grafana's alert.",
    since="now-2d",
    variables=_variables()[:2],
    annotations=(),
    rows=(
        (
            _table(
                "Alerts",
                "Each as it is now.",
                "No alert was ever watched for",
                Query(
                    listed(
                        _A,
                        (
                            Field.RAISED,
                            Field.SEVERITY,
                            Field.ACKNOWLEDGED,
                            Tag.DEVICE,
                            Tag.SITE,
                            Field.WHY,
                        ),
                    ),
                    _A,
                    variables=_THIS,
                    by=(Tag.ALERT,),
                    newest=1,
                    table=True,
                ),
                (24, 9),
                columns=dict(
                    (
                        _shown(Tag.ALERT, "Alert"),
                        _shown(
                            Field.RAISED,
                            "Now",
                            **_on_off("raised", "well"),
                            **_COLOURED,
                        ),
                        _shown(Field.SEVERITY, "How urgent"),
                        _shown(Field.ACKNOWLEDGED, "Acknowledged"),
                        _shown(Tag.DEVICE, "Device"),
                        _shown(Tag.SITE, "Site"),
                        _shown(Field.WHY, "Why"),
                    )
                ),
                transformations=_ROW_OF_EACH,
            ),
        ),
        (
            Panel(
                "state-timeline",
                "Alerts over time",
                "When each was raised.",
                "none",
                "No alert changed in this time",
                (
                    Query(
                        f"last({name(_A, Field.RAISED)})",
                        _A,
                        variables=_THIS,
                        every=INTERVAL,
                        by=(Tag.ALERT,),
                        fill="previous",
                        alias=_series(Tag.ALERT),
                    ),
                ),
                12,
                9,
                _STATE,
                defaults=_on_off("raised", "well"),
                interval="1m",
            ),
            Panel(
                "state-timeline",
                "Store and servers",
                "When something was in trouble: a server by its name, the raw signal, the store.",
                "none",
                "Nothing was in trouble in this time",
                (
                    Query(
                        f"last({name(_H, Field.ACTIVE)})",
                        _H,
                        variables=_THIS,
                        every=INTERVAL,
                        by=(Tag.CONDITION,),
                        fill="previous",
                        alias=_series(Tag.CONDITION),
                    ),
                ),
                12,
                9,
                _STATE,
                defaults=_on_off("in trouble", "well"),
                interval="1m",
            ),
        ),
        (
            _course(
                "Outbox",
                "Entries that each server has not got yet.",
                "short",
                "Nothing was told of it",
                _each(f"max({name(_H, Field.WAITING)})", _H, Tag.SINK, "none", variables=_THIS),
                (12, 8),
            ),
            _course(
                "Latency",
                "Age of the oldest entry that each server has not got yet.",
                "s",
                "Nothing was told of it",
                _each(f"max({name(_H, Field.BEHIND_S)})", _H, Tag.SINK, "none", variables=_THIS),
                (12, 8),
            ),
        ),
        (
            _course(
                "Disk",
                "What the data folder takes, and what is free on its disk.",
                "decbytes",
                "Nothing was told of it",
                Query(
                    ", ".join(f'last({name(_H, field)}) AS "{text}"' for field, text in _BYTES),
                    _H,
                    variables=_THIS,
                    every=INTERVAL,
                    fill="none",
                    alias="$col",
                ),
                (12, 8),
            ),
            _course(
                "Minutes that arrived",
                "Of each device, all channels; one a minute and channel is as it should be.",
                "short",
                "Nothing arrived in this time",
                _each(f"count({name(_M, Field.OBSERVED_S)})", _M, Tag.DEVICE, "0", variables=_HERE),
                (12, 8),
                drawn=_BARS,
            ),
        ),
    ),
)

BOARDS: Final = (OVERVIEW, SIGNAL, TRIGGERS, PIPELINE)
