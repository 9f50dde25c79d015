"""The report as one HTML page: no script, no request, figures inside; printed, it is a document.

Rules:

* What comes from a person or a device is escaped where it enters the text: `_cell`, `_p` and `escape`.
* A finding is told in words first; its numbers stand beside it.
* The words are those of the findings; nothing is concluded here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from html import escape

from monitor.correlation.analysis import LagPoint
from monitor.correlation.catalogue import CATALOGUE, DRUG_NOTE, EMERGENCY, Form, entry
from monitor.correlation.findings import Finding, Report, Verdict
from monitor.detection.events import State
from monitor.diary import FELT, NOTHING, Entry
from monitor.redflags import ADVICE, NOT_A_DEVICE
from monitor.report import figures
from monitor.report.facts import Amount, Facts, Site, of_form
from monitor.report.figures import Ratio, Tick

VERDICTS = {
    Verdict.LINKED: "linked",
    Verdict.POSSIBLE: "possible, keep logging",
    Verdict.NO_SIGN: "no sign of a link",
    Verdict.CANNOT_TELL: "cannot tell",
}
_EXCLUDED = {
    State.VOLUNTARY: "the muscle was used",
    State.ARTEFACT: "movement or cable",
    State.BAD_CONTACT: "bad contact",
}
_CURVES = 8
_LABELS = 9

_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff; max-width: 760px; margin: 2em auto;
  padding: 0 1em }
h1 { font-size: 1.6em; margin: 0 } h2 { font-size: 1.2em; margin: 2em 0 .4em; border-bottom: 1px solid #ddd }
h3 { font-size: 1em; margin: 1.2em 0 .2em } p { margin: .4em 0 } .quiet { color: #555; font-size: .9em }
.note { border-left: 4px solid #d55e00; padding: .3em .8em; margin: 1em 0; background: #fdf4ec }
table { border-collapse: collapse; width: 100%; margin: .6em 0; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .25em .7em .25em 0; border-bottom: 1px solid #e5e5e5; vertical-align: top }
th { font-weight: 600; font-size: .85em; color: #555 } td.n, th.n { text-align: right }
td.n { white-space: nowrap } svg { display: block; width: 100%; height: auto; margin: .3em 0 }
svg text { font: 11px system-ui, sans-serif; fill: #444 } ul { margin: .3em 0; padding-left: 1.2em }
.side { display: grid; grid-template-columns: 1fr 1fr; gap: .2em 1em } td svg { width: 110px; margin: 0 }
figure { margin: .4em 0 } figcaption { font-size: .9em; color: #555 }
.wide { overflow-x: auto } @media (max-width: 560px) { .side { grid-template-columns: 1fr } }
@page { size: A4; margin: 16mm 15mm }
@media print { body { font-size: 10.5pt; margin: 0; padding: 0; max-width: none } h2, h3 { break-after: avoid }
  figure, tr, li, .note, .finding { break-inside: avoid } .wide { overflow: visible }
  * { print-color-adjust: exact } }
"""


@dataclass(frozen=True, slots=True)
class Made:
    """How and when the report was made."""

    at_ns: int
    version: str
    settings: Sequence[tuple[str, str]]
    """Of the detector, as they were."""
    zone: tzinfo | None


def page(facts: Facts, report: Report, made: Made) -> str:
    """The whole document."""
    body = "".join(
        (
            *_head(facts, made),
            *_short(facts, report),
            *_rates(facts),
            *_wear(facts),
            *_findings(report),
            *_curves(report),
            *_units(facts),
            *_felt(facts),
            *_history(facts, made.zone),
            *_red_flags(),
            *_method(facts, report, made),
        )
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Twitches, {facts.first} to {facts.last}</title><style>{_STYLE}</style></head>"
        f"<body>{body}</body></html>\n"
    )


# Sections -------------------------------------------------------------------------------------------------------


def _head(facts: Facts, made: Made) -> Iterable[str]:
    yield "<h1>Muscle twitches</h1>"
    devices = ", ".join(known.device.name for known in facts.devices) or "no device"
    sites = ", ".join(site.name for site in facts.sites) or "none"
    yield _p(f"{_day(facts.first)} to {_day(facts.last)}. Sites: {sites}. Seen by {devices}.")
    help_ = '<a href="#help">When to see a doctor, when to call for help</a>'
    yield f'<p class="note">{escape(NOT_A_DEVICE)} {help_}.</p>'
    if any(each.entry.kind == "organophosphate" for each in facts.entries):
        yield f'<p class="note"><strong>{escape(EMERGENCY)}</strong></p>'
    made_at = datetime.fromtimestamp(made.at_ns * 1e-9, UTC).astimezone(made.zone)
    yield _quiet(f"Made on {made_at:%Y-%m-%d %H:%M} by fasciwatch {made.version} on this computer.")


def _short(facts: Facts, report: Report) -> Iterable[str]:
    yield "<h2>In short</h2><ul>"
    analysable_h = max((site.total.analysable_s for site in facts.sites), default=0.0) / 3600
    days = len(facts.observed_days)
    seen = f"up to {analysable_h:.0f} h of a site could be analysed"
    yield _li(f"Watched on {_many(days, 'day')} of {len(facts.days)}; {seen}.")
    for site in facts.sites:
        yield _li(f"{site.name}: {_rate_said(site.total)}{_range_said(site)}.")
    findings = _main(report)
    for verdict in (Verdict.LINKED, Verdict.POSSIBLE):
        named = [_question(finding) for finding in findings if finding.verdict is verdict]
        if named:
            yield _li(f"{VERDICTS[verdict].capitalize()}: {', '.join(named)}.")
    rest = Counter(VERDICTS[finding.verdict] for finding in findings)
    said = ", ".join(f"{rest[text]} {text}" for text in VERDICTS.values() if rest[text])
    yield _li(f"Questions about triggers: {said or 'none could be asked'}.")
    yield _li(
        f"The diary was kept on {facts.diary_days} of these {_many(days, 'day')}: what is not logged is missed."
    )
    yield "</ul>"


def _rates(facts: Facts) -> Iterable[str]:
    yield "<h2>How often</h2>"
    if not facts.sites:
        yield _p("Nothing was observed in this time.")
        return
    yield _quiet(
        "Twitches per analysable minute: worn, in contact, and the muscle at rest. Sites are not compared with "
        "one another, because they differ by nature; nor with other people, because healthy and ill overlap."
    )
    rows = [
        (
            site.name, _hours(site.total.observed_s), _hours(site.total.analysable_s), f"{site.total.twitches:,}",
            _rate(site.total.rate_per_min), _range(site),
        )
        for site in facts.sites
    ]  # fmt: skip
    yield _table(
        ("site", "observed", "analysable", "twitches", "a minute", "of days, middle half"), rows, numbers=5
    )
    yield "<h3>By day</h3>"
    days = facts.days
    for site in facts.sites:
        amounts = [site.days.get(day, Amount()) for day in days]
        title = f"{site.name}: twitches an analysable minute, by day"
        figure = figures.over(
            range(len(days)),
            [amount.rate_per_min for amount in amounts],
            ticks=_day_ticks(days),
            title=title,
            unit="a minute",
            faint=[amount.analysable_s < 3600 for amount in amounts],
        )
        yield _figure(figure, f"{site.name}. Hollow: less than an hour could be analysed.")
    yield "<h3>By hour of the clock</h3>"
    ticks = [Tick(hour, f"{hour}:00") for hour in range(0, 24, 3)]
    for site in facts.sites:
        title = f"{site.name}: twitches an analysable minute, by hour of the clock"
        low = [hour.quartiles[0] if hour.quartiles else _told(hour.total) for hour in site.hours]
        high = [hour.quartiles[1] if hour.quartiles else _told(hour.total) for hour in site.hours]
        rates = [hour.total.rate_per_min for hour in site.hours]
        figure = figures.over(range(24), rates, ticks=ticks, title=title, unit="a minute", band=(low, high))
        yield _figure(figure, f"{site.name}. Line: all days together. Band: the middle half of days.")


def _wear(facts: Facts) -> Iterable[str]:
    if not facts.sites:
        return
    yield "<h2>How well it was seen</h2>"
    days = facts.days
    for site in facts.sites:
        amounts = [site.days.get(day, Amount()) for day in days]
        layers = (
            ("analysable", figures.BLUE, [amount.analysable_s / 3600 for amount in amounts]),
            ("excluded", figures.SAND, [(amount.observed_s - amount.analysable_s) / 3600 for amount in amounts]),
        )
        title = f"{site.name}: hours observed, by day"
        figure = figures.stacked(
            range(len(days)), layers, ticks=_day_ticks(days), title=title, unit="hours a day", top=24.0, height=140
        )
        yield _figure(figure, site.name)
    states = [state for state in _EXCLUDED if any(state in site.excluded_s for site in facts.sites)]
    rows = [
        (
            site.name,
            _share(site.total.observed_s - site.total.analysable_s, site.total.observed_s),
            *(_share(site.excluded_s.get(state, 0.0), site.total.observed_s) for state in states),
        )
        for site in facts.sites
    ]
    yield _table(("site", "excluded", *(_EXCLUDED[state] for state in states)), rows, numbers=1 + len(states))
    if facts.missing:
        rows = [
            (device, gap.stream, str(gap.reason).replace("_", " "), f"{gap.count:,}", _length(gap.seconds))
            for device, gap in facts.missing
        ]
        yield "<h3>What was not received</h3>"
        yield _table(("device", "signal", "reason", "gaps", "in all"), rows, numbers=2, first=3)


def _findings(report: Report) -> Iterable[str]:
    yield "<h2>What it has to do with</h2>"
    findings = _main(report)
    if not findings:
        yield _p("No trigger was logged that could be asked of.")
        return
    yield _quiet(
        "Observation, not experiment: a link says when twitches are more or fewer, never what brings them about. "
        "It rests on all that is stored. The intervals hold however often one looks, and all questions together "
        "pay for being many."
    )
    drawn = [
        Ratio(_question(finding), finding.rate_ratio, *finding.always_valid_interval)
        for finding in findings
        if finding.rate_ratio is not None and finding.always_valid_interval is not None
    ]
    if drawn:
        figure = figures.forest(drawn, title="Rate ratios with intervals that hold at every look")
        yield _figure(figure, "Rate ratio, with the interval that holds at every look. 2: twice as many twitches.")
    yield "<h3>What you suspected, and what the data say</h3>"
    rows = [
        (
            _question(finding), VERDICTS[finding.verdict], _ratio_said(finding), str(finding.episodes),
            str(finding.days),
        )
        for finding in findings
    ]  # fmt: skip
    yield _table(("suspected", "found", "rate ratio", "episodes", "days"), rows, numbers=3, first=2)
    for finding in findings:
        reasons = "".join(_li(_sentence(reason)) for reason in finding.reasons)
        head = f"{escape(_question(finding))}: {VERDICTS[finding.verdict]}"
        yield f'<div class="finding"><h3>{head}</h3><ul>{reasons}</ul></div>'
    others = [finding for finding in report.findings if finding.lag and finding not in findings]
    told = [finding for finding in others if finding.verdict in (Verdict.LINKED, Verdict.POSSIBLE)]
    if others:
        sites = "; ".join(f"{_question(f)}, {f.site}: {VERDICTS[f.verdict]}" for f in told)
        yield _p(f"At single sites: {sites or 'nothing is linked, or possibly so'}.")


def _curves(report: Report) -> Iterable[str]:
    curves: dict[str, Finding] = {}
    for finding in sorted(_main(report), key=lambda finding: list(VERDICTS).index(finding.verdict)):
        if finding.lag_curve:
            curves.setdefault(entry(finding.trigger).name, finding)
    if not curves:
        return
    yield "<h2>When, if at all</h2>"
    yield _quiet(
        "Exploration, never a verdict: the rate ratio by hours after the trigger began, with a band that holds "
        "for the whole curve. A band across 1 fits no difference."
    )
    yield '<div class="side">'
    for name, finding in list(curves.items())[:_CURVES]:
        edges = [(point.from_h, point.to_h) for point in finding.lag_curve]
        rows = [_ratio(point) for point in finding.lag_curve]
        yield _figure(figures.steps(edges, rows, title=f"Rate ratio by hours after {name}"), f"Hours after {name}")
    yield "</div>"


def _units(facts: Facts) -> Iterable[str]:
    if not facts.units:
        return
    yield "<h2>Motor units</h2>"
    yield _quiet(
        "Twitches of like shape are put down to one motor unit. How well this works was measured on emulated "
        "muscle only."
    )
    totals = Counter[str]()
    for shown in facts.units:
        totals[shown.site] += shown.unit.twitches
    rows = []
    for shown in facts.units:
        unit = shown.unit
        name = "none" if unit.motor_unit is None else str(unit.motor_unit)
        title = f"{shown.site}, unit {name}: the newest twitch"
        shape = figures.trace(shown.shape, title=title) if shown.shape else ""
        share = _share(unit.twitches, totals[shown.site])
        size = f"{unit.peak_to_peak:.3g} {unit.unit.replace('uV', 'µV')}"
        numbers = f"{unit.twitches:,}", share, size, _share(unit.doublets, unit.twitches)
        cells = _cell(shown.site), _cell(name), f"<td>{shape}</td>", *map(_number, numbers)
        rows.append(f"<tr>{''.join(cells)}</tr>")
    titles = ("site", "unit", "shape", "twitches", "share", "mean size", "in doublets")
    heads = "".join(f"<th{' class=n' if place > 2 else ''}>{title}</th>" for place, title in enumerate(titles))
    yield f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _felt(facts: Facts) -> Iterable[str]:
    found = facts.felt
    if not found.felt:
        return
    yield "<h2>Felt and measured</h2>"
    yield _p(
        f"{_many(found.felt, 'twitch', 'twitches')} felt and logged; {found.comparable} of them while a channel "
        f"at that place could be analysed. {found.measured} of these had a measured twitch within half a minute; "
        f"{found.by_chance:.1f} would at any other time around."
    )
    yield _quiet("What is felt is never counted: most twitches are not felt, and attention changes what is.")


def _history(facts: Facts, zone: tzinfo | None) -> Iterable[str]:
    yield "<h2>Tests, history, treatments</h2>"
    done = of_form(facts.entries, Form.TEST)
    rows = []
    for known in CATALOGUE.values():
        if known.form is Form.TEST:
            found = [one for one in done if one.kind == known.id]
            told = "; ".join(_event(one, zone) for one in found) or "not logged"
            rows.append(("☑" if found else "☐", known.name, told))
    yield _table(("", "test", "when, and what it said"), rows)
    history = of_form(facts.entries, Form.HISTORY)
    said = "; ".join(f"{entry(one.kind).name} ({_event(one, zone)})" for one in history)
    yield _p(f"History: {said or 'nothing logged'}. It is context, and never asked of.")
    drugs = Counter(each.entry.kind for each in facts.entries if CATALOGUE.get(each.entry.kind, entry("")).drug)
    said = ", ".join(f"{entry(kind).name} ({_many(number, 'entry', 'entries')})" for kind, number in drugs.items())
    yield _p(f"Drugs and supplements: {said or 'none logged'}. {DRUG_NOTE if said else ''}")
    logged = Counter(each.entry.kind for each in facts.entries if each.entry.kind not in (FELT, NOTHING))
    for kind in list(logged):
        if entry(kind).drug or not entry(kind).testable:
            del logged[kind]
    told = ", ".join(f"{entry(kind).name} ({number})" for kind, number in sorted(logged.items()))
    yield _p(f"All else that was logged: {told or 'nothing'}.")


def _red_flags() -> Iterable[str]:
    yield '<h2 id="help">When to see a doctor, when to call for help</h2>'
    yield _quiet("This text is always the same. It does not depend on what was measured.")
    for advice in ADVICE:
        signs = "".join(_li(sign) for sign in advice.signs)
        yield f'<div class="finding"><h3>{escape(advice.what)}</h3><ul>{signs}</ul></div>'


def _method(facts: Facts, report: Report, made: Made) -> Iterable[str]:
    yield "<h2>How it was made</h2>"
    method = report.method
    rows = [
        ("model", method.model),
        ("adjusted for", ", ".join(method.adjusted_for)),
        ("questions", f"{', '.join(method.questions) or 'none'}; {method.hypotheses} in one family"),
        ("false discovery rate", f"{method.false_discovery_rate:g}"),
        ("clock", method.zone),
        ("fasciwatch", made.version),
        *(
            (f"device {known.device.name}", f"firmware {known.device.firmware or 'unknown'}")
            for known in facts.devices
        ),
        ("detector", ", ".join(f"{name} {value}" for name, value in made.settings)),
        *((f"left out: entry {refusal.place}", refusal.reason) for refusal in method.refused),
    ]
    yield _table(("", ""), rows)
    yield _p(method.caution)


# Words and cells ------------------------------------------------------------------------------------------------


def _main(report: Report) -> list[Finding]:
    """Of all sites together, or of the only one; an emergency is told on top, and not among questions."""
    asked = [finding for finding in report.findings if entry(finding.trigger).form is not Form.EMERGENCY]
    return [finding for finding in asked if finding.site == asked[0].site or not finding.lag]


def _question(finding: Finding) -> str:
    name = entry(finding.trigger).name
    if not finding.lag:
        return name
    lag = finding.lag.replace("its end", "the end of") if "its end" in finding.lag else finding.lag
    return f"{lag} {name}"


def _ratio_said(finding: Finding) -> str:
    if finding.rate_ratio is None or finding.always_valid_interval is None:
        return "–"
    low, high = finding.always_valid_interval
    return f"{finding.rate_ratio:.2f} ({low:.2f} to {high:.2f})"


def _ratio(point: LagPoint) -> Ratio:
    return Ratio("", point.rate_ratio, point.low, point.high)


def _sentence(reason: str) -> str:
    text = reason[:1].upper() + reason[1:]
    return text if text.endswith(".") else text + "."


def _event(one: Entry, zone: tzinfo | None) -> str:
    day = datetime.fromtimestamp(one.occurred_ns * 1e-9, UTC).astimezone(zone).date()
    return f"{_day(day)}: {one.note}" if one.note else _day(day)


def _rate_said(total: Amount) -> str:
    rate = total.rate_per_min
    return "too little could be analysed" if rate is None else f"{_rate(rate)} twitches an analysable minute"


def _range_said(site: Site) -> str:
    said = _range(site)
    return f" (middle half of days: {said})" if said != "–" else ""


def _range(site: Site) -> str:
    """Quartiles of the days."""
    rates = sorted(rate for amount in site.days.values() if (rate := amount.rate_per_min) is not None)
    if len(rates) < 4:
        return "–"
    return f"{_rate(rates[len(rates) // 4])} to {_rate(rates[(3 * len(rates)) // 4])}"


def _told(amount: Amount) -> float | None:
    return amount.rate_per_min


def _rate(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:.2f}" if rate < 10 else f"{rate:.1f}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.0f} h" if seconds >= 36000 else f"{seconds / 3600:.1f} h"


def _length(seconds: float) -> str:
    return _hours(seconds) if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


def _many(number: int, one: str, more: str = "") -> str:
    return f"1 {one}" if number == 1 else f"{number} {more or one + 's'}"


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def _day_ticks(days: Sequence[date]) -> list[Tick]:
    """A few, from the first day on."""
    apart = next(step for step in (1, 2, 7, 14, 28, 91, 182, 10**6) if len(days) / step <= _LABELS)
    return [Tick(place, f"{day.day} {day:%b}") for place, day in enumerate(days) if place % apart == 0]


def _p(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _quiet(text: str) -> str:
    return f'<p class="quiet">{escape(text)}</p>'


def _li(text: str) -> str:
    return f"<li>{escape(text)}</li>"


def _figure(svg: str, caption: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


def _cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def _number(text: str) -> str:
    return f'<td class="n">{escape(text)}</td>'


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int = 0, first: int = 1) -> str:
    """A table; `numbers` columns from `first` on are numbers."""
    right = range(first, first + numbers)
    heads = "".join(
        f"<th{' class=n' if place in right else ''}>{escape(t)}</th>" for place, t in enumerate(titles)
    )
    lines = "".join(
        f"<tr>{''.join((_number if place in right else _cell)(text) for place, text in enumerate(row))}</tr>"
        for row in rows
    )
    head = f"<thead><tr>{heads}</tr></thead>" if any(titles) else ""
    return f'<div class="wide"><table>{head}<tbody>{lines}</tbody></table></div>'
