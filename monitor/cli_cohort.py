"""The command `fasciwatch cohort`."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from monitor import config, lines
from monitor.terminal import ConfigFile, Json, TimeZone, note, print_table, progress, say, zone

if TYPE_CHECKING:
    from monitor.cohort.run import Answer, Response

_PIECE_H = 1.0


def cohort(
    folder: Annotated[str, typer.Argument(help="Of recordings and data folders; also s3://.", show_default=False)],
    out: Annotated[str, typer.Option(help="Where results go, and are gone on with.", show_default=False)],
    scheduler: Annotated[
        str | None, typer.Option(help="A Dask scheduler, tcp://host:8786; else this computer.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Here; else one for each core.")] = None,
    memory: Annotated[str, typer.Option(help="That a worker may use here.")] = "2GB",
    piece_h: Annotated[
        float, typer.Option("--piece", min=0.01, max=24, help="Hours of signal between two marks.")
    ] = _PIECE_H,
    timezone: TimeZone = "UTC",
    config_file: ConfigFile = None,
    json_lines: Json = False,
) -> None:
    """Detect again in the recordings of many people, and sum up."""
    # What only this command needs takes its time to load.
    from monitor.cohort.cluster import Workers  # noqa: PLC0415
    from monitor.cohort.pieces import Outcome  # noqa: PLC0415
    from monitor.cohort.run import Watch, run  # noqa: PLC0415
    from monitor.cohort.storage import Place  # noqa: PLC0415

    settings = config.load(config_file)

    def begun(number: int, dashboard: str) -> None:
        note(f"{number} recordings" + (f"; dashboard: {dashboard}" if dashboard else ""))

    def ended(outcome: Outcome) -> None:
        if outcome.state == "broken":
            where = "" if outcome.name in outcome.message else f"{outcome.name}: "
            note(f"{where}{outcome.message}. {outcome.remedy}".removesuffix(" ").removesuffix(".") + "; skipped")

    with progress("cohort", 1.0) as share:
        answer = run(
            Place.named(folder),
            Place.named(out),
            settings.detection,
            Workers(scheduler, workers, memory),
            3600 * piece_h,
            zone(timezone),
            Watch(begun, share, ended),
        )
    for said in answer.notes:
        note(said)
    if json_lines:
        say(lines.as_json({"type": "cohort", **asdict(answer)}))
    else:
        _show(answer)
    done = sum(outcome.state != "broken" for outcome in answer.outcomes)
    note(f"{done} of {answer.recordings} recordings in {out}; {len(answer.broken)} broken and skipped")
    if not done:
        raise typer.Exit(1)


def _show(answer: Answer) -> None:
    rows = (
        (
            rate.site,
            rate.group,
            str(rate.people),
            f"{rate.hours:.1f}",
            "–" if rate.per_hour is None else f"{rate.per_hour:.1f}",
            _span(rate.interval95),
        )
        for rate in answer.rates
    )
    print_table(("site", "group", "people", "analysable h", "an hour", "95 %"), rows)
    for ratio in answer.ratios:
        compared = f"{ratio.site}: {ratio.group} against {ratio.against}"
        say(f"{compared}: {ratio.ratio:.2f} ({_span(ratio.interval95)}), p {ratio.p:.3f}")
    for response in answer.responses:
        say(f"{response.trigger} ({response.group}): {_told(response)}")


def _told(response: Response) -> str:
    found = response.pooled
    if found is None:
        return f"{response.people} people say too little of the others"
    mean = f"rate ratio {math.exp(found.mean):.2f} ({_ratios(found.interval95)}), p {found.p:.3f}"
    alike = f"{found.people} people, I² {100 * found.i_squared:.0f} %"
    return f"{mean}; {alike}; the next person's {_ratios(found.prediction95)}"


def _ratios(logs: tuple[float, float]) -> str:
    return _span((math.exp(logs[0]), math.exp(logs[1])))


def _span(span: tuple[float, float] | None) -> str:
    return "–" if span is None else f"{span[0]:.2f} to {span[1]:.2f}"
