"""Answers: what twitches have to do with what was logged, in words first; and experiments on oneself.

Rules:

* The words are those of the findings; nothing is concluded here, and nothing is said of a dose.
* A finding is shown with what would settle it, where it is open.
* Of an experiment only today's arm and those of the days before are shown, and a result when it is over.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Sequence
from datetime import timedelta

from nicegui import ui

from firmware_interface.errors import Fault
from monitor.cli_experiment import Planned, block_rates, planned_from
from monitor.correlation.catalogue import EMERGENCY, Form, entry
from monitor.correlation.experiment import LOW_RISK, evaluate, plan
from monitor.correlation.findings import Finding, Report, Verdict
from monitor.correlation.stored import BIN_NS, sites_of
from monitor.diary import Diary
from monitor.page import frame, work
from monitor.page.frame import button, card, markup, quiet, text, themed
from monitor.page.reader import Reader
from monitor.report import figures
from monitor.report.facts import day_of
from monitor.report.figures import Ratio
from monitor.report.page import VERDICTS
from monitor.store import Archive

_ORDER = (Verdict.LINKED, Verdict.POSSIBLE, Verdict.NO_SIGN, Verdict.CANNOT_TELL)
_MEANING = {
    Verdict.LINKED: "Twitches are more or fewer with it, also after all checks. It says when, not why.",
    Verdict.POSSIBLE: "There may be something; it is not settled.",
    Verdict.NO_SIGN: "If there is a link, it is too small to matter: less than half as many more.",
    Verdict.CANNOT_TELL: "What is known does not suffice to say anything.",
}
_PAIRS = 10


async def build(reader: Reader) -> None:
    """The screen."""
    with frame.screen("/answers", "Answers"):
        with card("What it has to do with"):
            quiet(
                "Observation, not experiment: a link says when twitches are more or fewer, never what brings them "
                "about. It stays right however often you look."
            )
            place = ui.element("div")
            with place:
                markup('<p role="status">Computing: this takes some seconds the first time …</p>')
        with card("An experiment on yourself"):
            trial = ui.element("div")
        await _experiments(reader, trial)

    async def fill() -> None:
        try:
            report = await work.findings(reader)
        except Fault as fault:
            place.clear()
            with place:
                markup(f'<p class="quiet">{text(fault)}</p>')
            return
        place.clear()
        with place:
            _findings(report)

    ui.timer(0.1, fill, once=True)


def _findings(report: Report) -> None:
    asked = [each for each in report.findings if entry(each.trigger).form is not Form.EMERGENCY]
    if len(asked) < len(report.findings):
        markup(f'<p class="notice warn"><strong>Attention:</strong> {text(EMERGENCY)}</p>')
    if not asked:
        markup("<p>Nothing was logged yet that could be asked of. Log what you suspect, and what you do not.</p>")
        return
    main = [each for each in asked if each.site == asked[0].site]
    main.sort(key=lambda each: _ORDER.index(each.verdict))
    _in_short(main)
    _suspected(main)
    for each in main:
        markup(_finding(each), "finding")
    others = [each for each in asked if each.site != asked[0].site]
    told = [each for each in others if each.verdict in (Verdict.LINKED, Verdict.POSSIBLE)]
    if others:
        said = "; ".join(f"{question(each)}, {each.site}: {VERDICTS[each.verdict]}" for each in told)
        markup(f"<p>At single sites: {text(said) or 'nothing is linked, or possibly so'}.</p>")
    method = report.method
    told_of = (
        f"{method.days} days, {method.analysable_h:.0f} analysable hours, {method.hypotheses} questions asked"
    )
    quiet(f"{told_of}. Adjusted for {', '.join(method.adjusted_for)}. {method.caution}")


def _in_short(findings: Sequence[Finding]) -> None:
    for verdict in _ORDER:
        named = [question(each) for each in findings if each.verdict is verdict]
        if named:
            markup(f"<p><strong>{VERDICTS[verdict].capitalize()}:</strong> {text(', '.join(named))}.</p>")


def _suspected(findings: Sequence[Finding]) -> None:
    """What was logged was suspected; beside it what was found."""
    rows = [
        (text(question(each)), VERDICTS[each.verdict], _ratio_said(each), str(each.episodes), str(each.days))
        for each in findings
    ]
    heads = ("Suspected", "Found", "Rate ratio (interval)", "Episodes", "Days")
    markup(frame.table(heads, rows, numbers=(2, 3, 4)))
    ratios = [
        Ratio(question(each), each.rate_ratio, *each.always_valid_interval)
        for each in findings
        if each.rate_ratio is not None and each.always_valid_interval is not None
    ]
    if ratios:
        svg = figures.forest(ratios, title="Rate ratios with intervals that hold at every look")
        said = "Rate ratio: 2 is twice as many twitches, 1 no difference. The lines hold however often one looks."
        caption = f'<figcaption class="quiet">{said}</figcaption>'
        markup(frame.wide(f"<figure>{themed(svg)}{caption}</figure>", "Rate ratios"), "forest")


def _finding(finding: Finding) -> str:
    said = VERDICTS[finding.verdict]
    reasons = "".join(f"<li>{text(each[:1].upper() + each[1:])}</li>" for each in finding.reasons)
    settle = ""
    if finding.verdict in (Verdict.POSSIBLE, Verdict.CANNOT_TELL):
        settle = f"<p><strong>What would settle it:</strong> {text(_settles(finding))}</p>"
    return (
        f'<h3>{text(question(finding))} <span class="verdict {finding.verdict}">{said}</span></h3>'
        f"<p>{_MEANING[finding.verdict]}</p><ul>{reasons}</ul>{settle}{_curve(finding)}"
    )


def _settles(finding: Finding) -> str:
    """What a person could do; the reasons say what is missing."""
    if entry(finding.trigger).drug:
        return "more days of wearing and logging, as it is"
    more = "more days with and without it, logged when it happens, at varying hours"
    if finding.trigger in LOW_RISK:
        return f"{more}; or an experiment, below, which draws the days by lot"
    return more


def _curve(finding: Finding) -> str:
    if not finding.lag_curve:
        return ""
    edges = [(point.from_h, point.to_h) for point in finding.lag_curve]
    rows = [Ratio("", point.rate_ratio, point.low, point.high) for point in finding.lag_curve]
    name = entry(finding.trigger).name
    svg = themed(figures.steps(edges, rows, title=f"Rate ratio by hours after {name}"))
    return (
        f"<details><summary>When, if at all: hours after {text(name)}</summary>"
        f'<div class="lag">{svg}</div><p class="quiet">Exploration, never a verdict. A band across 1 fits no '
        "difference.</p></details>"
    )


def question(finding: Finding) -> str:
    """What was asked, as people say it."""
    name = entry(finding.trigger).name
    return f"{finding.lag.replace('its end', 'the end of')} {name}" if finding.lag else name


def _ratio_said(finding: Finding) -> str:
    if finding.rate_ratio is None or finding.always_valid_interval is None:
        return "–"
    low, high = finding.always_valid_interval
    return f"{finding.rate_ratio:.2f} ({low:.2f} to {high:.2f})" if math.isfinite(high) else "–"


# Experiments ----------------------------------------------------------------------------------------------------


async def _experiments(reader: Reader, place: ui.element) -> None:
    kept = await reader.write(Diary.experiments)
    place.clear()
    with place:
        if kept:
            number, _, fields = kept[-1]
            await _running(reader, planned_from(number, fields))
        quiet(
            "Days drawn by lot, one arm each: the only way here to tell what something does. For what is of low "
            "risk; never with a drug."
        )
        _new(reader, place)


async def _running(reader: Reader, planned: Planned) -> None:
    experiment = planned.experiment
    with_, without = experiment.arms
    markup(
        f"<h3>{text(entry(experiment.kind).name)}: {text(with_)} against {text(without)}</h3>"
        f'<p class="quiet">{planned.begins} to {planned.last}. Seal <code>{text(experiment.seal[:16])}…</code></p>'
    )
    day = (day_of(time.time_ns(), None) - planned.begins).days
    if day < 0:
        markup(f"<p>It begins on {planned.begins}.</p>")
        return
    if day < experiment.days:
        done = 100 * (day + 1) // experiment.days
        told = f"Today, day {day + 1} of {experiment.days}: <strong>{text(experiment.arm(day))}</strong>"
        markup(f"<p>{told}</p>{frame.progress(done)}")
        return
    try:
        result = await reader.ask(lambda archive: _result(archive, planned))
    except Fault as fault:
        markup(f"<p>{text(fault)}</p>")
        return
    markup(f"<p>{text(result)}</p>")


def _result(archive: Archive, planned: Planned) -> str:
    stretches = archive.stretches(BIN_NS, 0, time.time_ns())
    names = {known.id: known.device.name for known in archive.devices()}
    called = sites_of((each.where for each in stretches), names)
    chosen = [each for each in stretches if planned.site in ("", called[each.where])]
    days = [(day_of(each.start_ns, None) - planned.begins).days for each in chosen]
    found = evaluate(planned.experiment, block_rates(chosen, days, planned.experiment))
    return (
        f"Result: rate ratio {found.rate_ratio:.2f}, p {found.p:.3g}, {found.pairs} pairs. The p is exact: of all "
        f"orders that could have been drawn, {100 * found.p:.3g} % differ as much or more. It is one person, "
        "and these weeks."
    )


def _new(reader: Reader, place: ui.element) -> None:
    with ui.element("details"):
        ui.html("Plan a new one, from tomorrow on", sanitize=False, tag="summary")
        kind = ui.radio({each: entry(each).name for each in sorted(LOW_RISK)}, value="caffeine").props("inline")
        with ui.element("div").classes("form"):
            with_ = ui.input("On days with it", value="as usual").props("outlined dense")
            without = ui.input("On days without it", value="none").props("outlined dense")
        said = markup("").props('role="status"')

        async def begin() -> None:
            try:
                made = plan(str(kind.value), (with_.value, without.value), _PAIRS, secrets.token_hex(32))
            except Fault as fault:
                said.content = frame.warning("Not planned", fault)
                return
            kept = {
                "kind": made.kind, "arms": made.arms, "pairs": made.pairs, "block_days": made.block_days,
                "secret": made.secret, "begins": (day_of(time.time_ns(), None) + timedelta(days=1)).isoformat(),
                "site": "", "timezone": "",
            }  # fmt: skip
            await reader.write(lambda diary: diary.keep_experiment(kept, time.time_ns()))
            await _experiments(reader, place)

        button(f"Draw {_PAIRS} pairs of days by lot", begin, primary=True)
