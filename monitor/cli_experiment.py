"""The commands `fasciwatch experiment …`: an experiment on oneself, as `monitor.correlation.experiment` plans it.

Rules:

* What is to be done is told for today and the days before, never for a day to come.
* The result is told when the last day is over: who looks earlier, and stops when it suits, has no p.
* The schedule is drawn again from the secret whenever it is asked for; the diary keeps plan and secret together.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor import config, lines
from monitor.correlation.catalogue import entry
from monitor.correlation.experiment import LOW_RISK, Experiment, ExperimentError, Result, evaluate, plan
from monitor.correlation.stored import BIN_NS, sites_of
from monitor.correlation.triggers import kind_of
from monitor.diary import Diary
from monitor.report.facts import LEAST_S, day_of
from monitor.store import Archive, Stretch
from monitor.terminal import ConfigFile, DataDir, Json, TimeZone, note, revealed, say
from monitor.terminal import zone as zone_named

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Number = Annotated[int, typer.Argument(min=0, help="Of the experiment; else the newest.")]


@dataclass(frozen=True, slots=True)
class Planned:
    """An experiment, its first day and where it counts."""

    number: int
    experiment: Experiment
    begins: date
    site: str
    """Empty: all together."""
    timezone: str

    @property
    def last(self) -> date:
        return self.begins + timedelta(days=self.experiment.days - 1)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(sorted(LOW_RISK))}.", show_default=False)],
    with_: Annotated[str, typer.Option("--with", help="What to do on days with it.")] = "as usual",
    without: Annotated[str, typer.Option("--without", help="What to do on days without it.")] = "none",
    pairs: Annotated[int, typer.Option(help="Pairs of days, 6 to 20.")] = 10,
    block: Annotated[int, typer.Option(help="Days that an arm is kept to.")] = 1,
    site: Annotated[str, typer.Option(help="Where it is counted; else everywhere.")] = "",
    timezone: TimeZone = "",
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Plan an experiment from tomorrow on: days drawn by lot."""
    now_ns, zone = time.time_ns(), zone_named(timezone)
    experiment = plan(kind_of(kind), (with_, without), pairs, secrets.token_hex(32), block)
    begins = day_of(now_ns, zone) + timedelta(days=1)
    kept = {
        "kind": experiment.kind,
        "arms": experiment.arms,
        "pairs": pairs,
        "block_days": block,
        "secret": experiment.secret,
        "begins": begins.isoformat(),
        "site": site,
        "timezone": timezone,
    }
    with Diary.open(_folder(config_file, data)) as diary:
        number = diary.keep_experiment(kept, now_ns)
    planned = planned_from(number, kept)
    if json_lines:
        say(lines.as_json(_fields(planned)))
        return
    _print_plan(planned)
    note("note the seal: it shows at the end that nothing was changed. Each day: fasciwatch experiment show")


@app.command()
def show(
    number: Number = 0, config_file: ConfigFile = None, data: DataDir = None, json_lines: Json = False
) -> None:
    """Say what is to be done today."""
    planned = _kept(_folder(config_file, data), number)
    day = (day_of(time.time_ns(), zone_named(planned.timezone)) - planned.begins).days
    told = [
        (planned.begins + timedelta(days=each), planned.experiment.arm(each))
        for each in range(min(day + 1, planned.experiment.days))
    ]
    if json_lines:
        days = [{"day": each.isoformat(), "arm": arm} for each, arm in told]
        say(lines.as_json(_fields(planned) | {"days": days}))
        return
    _print_plan(planned)
    if day < 0:
        say(f"It begins on {planned.begins}.")
    elif day >= planned.experiment.days:
        say("It is over: fasciwatch experiment result")
    else:
        say(f"Today, day {day + 1} of {planned.experiment.days}: {planned.experiment.arm(day)}")


@app.command()
def result(
    number: Number = 0, config_file: ConfigFile = None, data: DataDir = None, json_lines: Json = False
) -> None:
    """Say what came of it, when it is over."""
    now_ns = time.time_ns()
    planned = _kept(_folder(config_file, data), number)
    zone = zone_named(planned.timezone)
    if day_of(now_ns, zone) <= planned.last:
        raise ExperimentError(
            f"the experiment goes on to {planned.last}", "Ask on the day after: a look before would spoil it"
        )
    with Archive.open(revealed(config_file, data)) as archive:
        stretches = archive.stretches(BIN_NS, 0, now_ns)
        names = {known.id: known.device.name for known in archive.devices()}
    called = sites_of((each.where for each in stretches), names)
    chosen = [each for each in stretches if planned.site in ("", called[each.where])]
    days = [(day_of(each.start_ns, zone) - planned.begins).days for each in chosen]
    found = evaluate(planned.experiment, block_rates(chosen, days, planned.experiment))
    if json_lines:
        outcome = {"rate_ratio": found.rate_ratio, "p": found.p, "complete_pairs": found.pairs}
        say(lines.as_json(_fields(planned) | outcome | {"secret": planned.experiment.secret}))
    else:
        _print_result(planned, found)


def block_rates(stretches: Sequence[Stretch], days: Sequence[int], experiment: Experiment) -> list[float | None]:
    """Twitches an analysable hour of each day or block; `None` where less than 10 min could be analysed.

    Args:
        stretches: what was seen.
        days: on which day of the experiment, from 0, each was.
        experiment: as planned.
    """
    twitches, analysable_s = [0] * experiment.blocks, [0.0] * experiment.blocks
    for each, day in zip(stretches, days, strict=True):
        if 0 <= day < experiment.days:
            twitches[day // experiment.block_days] += each.twitches
            analysable_s[day // experiment.block_days] += each.analysable_s
    return [
        3600 * count / seconds if seconds >= LEAST_S else None
        for count, seconds in zip(twitches, analysable_s, strict=True)
    ]


def _folder(config_file: Path | None, data: Path | None) -> Path:
    return data or config.load(config_file).data_dir


def _kept(folder: Path, number: int) -> Planned:
    """The experiment of a number; of 0 the newest."""
    with Diary.open(folder) as diary:
        kept = {each: fields for each, _, fields in diary.experiments()}
    if number not in kept and (number or not kept):
        named = f"experiment {number}" if number else "experiment"
        raise ExperimentError(
            f"there is no {named}", "Plan one: fasciwatch experiment new caffeine --without decaf"
        )
    chosen = number or max(kept)
    return planned_from(chosen, kept[chosen])


def planned_from(number: int, kept: dict[str, Any]) -> Planned:
    """As the diary keeps it."""
    with_, without = kept["arms"]
    experiment = Experiment(kept["kind"], (with_, without), kept["pairs"], kept["secret"], kept["block_days"])
    return Planned(number, experiment, date.fromisoformat(kept["begins"]), kept["site"], kept["timezone"])


def _fields(planned: Planned) -> lines.Fields:
    """Without the secret, and without what is to come."""
    experiment = planned.experiment
    return {
        "type": "experiment",
        "number": planned.number,
        "kind": experiment.kind,
        "arms": list(experiment.arms),
        "pairs": experiment.pairs,
        "block_days": experiment.block_days,
        "site": planned.site,
        "begins": planned.begins.isoformat(),
        "ends": planned.last.isoformat(),
        "seal": experiment.seal,
    }


def _print_plan(planned: Planned) -> None:
    experiment = planned.experiment
    with_, without = experiment.arms
    long = "days" if experiment.block_days == 1 else f"blocks of {experiment.block_days} days"
    name = entry(experiment.kind).name
    say(f"experiment {planned.number}, {name}: {with_!r} against {without!r}, {experiment.pairs} pairs of {long}")
    say(f"{planned.begins} to {planned.last}, counted {planned.site or 'at all sites'}; seal {experiment.seal}")


def _print_result(planned: Planned, found: Result) -> None:
    _print_plan(planned)
    with_, without = planned.experiment.arms
    say(f"{with_!r} over {without!r}: rate ratio {found.rate_ratio:.2f}, p {found.p:.3g}, {found.pairs} pairs")
    say(f"The p is exact: of all orders that could have been drawn, {100 * found.p:.3g} % differ as much or more.")
    say("Days were compared as they were drawn, whatever was done. It is one person, and these weeks.")
    say(f"secret {planned.experiment.secret}")
