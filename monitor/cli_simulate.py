"""The commands `fasciwatch simulate …`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from firmware_interface.errors import Fault
from monitor import lines
from monitor.cohort.meta import LEAST
from monitor.correlation.findings import NUMBERS_FROM_DAYS, NUMBERS_FROM_EPISODES
from monitor.simulate import cohort
from monitor.simulate.cohort import RATE_RATIO_MAX, SIGNAL_MIN, Design
from monitor.terminal import Json, note, progress, say

app = typer.Typer(no_args_is_help=True)

People = Annotated[int, typer.Option(min=1, max=100_000, help="Half of them in each of two groups.")]
Days = Annotated[int, typer.Option(min=1, max=3650, help="That each is watched.")]
RateRatio = Annotated[float, typer.Option(min=0.1, max=RATE_RATIO_MAX, help="Of caffeine, of the average person.")]
Between = Annotated[float, typer.Option(min=0, max=2, help="How people differ in it: sd of its logarithm.")]
PerHour = Annotated[float, typer.Option(min=0.1, max=1000, help="Twitches of the average person.")]
Seed = Annotated[int, typer.Option(min=0, help="Another one, other people.")]


class SimulationError(Fault):
    """A cohort that cannot be written; the person's to mend."""


@app.command("cohort")
def simulate_cohort(
    out: Annotated[Path, typer.Argument(help="A new folder.", show_default=False)],
    people: People = 8,
    days: Days = 28,
    rate_ratio: RateRatio = 1.25,
    between: Between = 0.15,
    per_hour: PerHour = 6.0,
    group_ratio: Annotated[float, typer.Option(min=0.1, max=10, help="Of the groups' rates.")] = 1.0,
    signal_min: Annotated[float, typer.Option(min=0, max=1440, help="Minutes of signal of each.")] = 0.0,
    seed: Seed = 1,
) -> None:
    """Write people who do not exist, with the truth about them."""
    if 0 < signal_min < SIGNAL_MIN:
        raise SimulationError(
            f"{signal_min:g} minutes hold no signal", f"--signal-min is 0 or at least {SIGNAL_MIN:g}"
        )
    design = Design(people, days, rate_ratio, between, per_hour, group_ratio)
    try:
        if out.exists() and any(out.iterdir()):
            raise SimulationError(f"{out} is not empty", "Name a new folder")
        with progress(f"{people} people", people) as told:
            cohort.write(out, design, seed, signal_min, told)
    except OSError as error:
        raise SimulationError(
            f"{out}: {error.strerror or error}", "Name a new folder, with room for it"
        ) from error
    note(f"written to {out}; for example: fasciwatch cohort {out / 'stores'} --out RESULT")


@app.command()
def power(
    people: People = 40,
    days: Days = 28,
    rate_ratio: RateRatio = 1.25,
    between: Between = 0.15,
    per_hour: PerHour = 6.0,
    seed: Seed = 1,
    json_lines: Json = False,
) -> None:
    """Plan a study: what a design would find."""
    with progress("people of a pilot", cohort.PILOT) as told:
        found = cohort.planned(Design(people, days, rate_ratio, between, per_hour), seed, told=told)
    if found is None:
        raise SimulationError(
            f"of {people} people in {days} days, fewer than {LEAST} would give an answer",
            f"Plan for more people, or for longer: one is asked from {NUMBERS_FROM_DAYS} days and "
            f"{NUMBERS_FROM_EPISODES} episodes on",
        )
    if json_lines:
        say(lines.as_json({"type": "power", **asdict(found)}))
        return
    say(
        f"{people} people, {days} days, a rate ratio of {rate_ratio:g} that differs by {between:g} between people:"
    )
    none = f"none up to {RATE_RATIO_MAX:g}"
    reached = none if found.detectable is None else f"a rate ratio of {found.detectable:.2f}"
    say(f"    power {found.power:.2f} at p <= .05; {reached} is found with .80")
    say(f"    standard error of the mean {found.standard_error:.3f}, of one person {found.person_error:.3f} (log)")
