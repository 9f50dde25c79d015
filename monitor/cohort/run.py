"""A cohort from its recordings to its answer, begun or gone on with.

OUT/cohort.json                                   settings and version; others are refused
OUT/marks/subject=P01/...                         how far each recording has come
OUT/twitches|minutes|units|quality/subject=P01/day=2026-11-22/*.parquet
OUT/summary.json                                  rates, ratios, effects, what was broken
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import tzinfo
from functools import partial
from typing import Any, Final

import monitor
from monitor import study
from monitor.cohort import cluster, pieces
from monitor.cohort.cluster import Lost, Workers
from monitor.cohort.effects import Effect, Yield, summarise
from monitor.cohort.members import Member, Subject, members
from monitor.cohort.meta import Pooled, pooled
from monitor.cohort.pieces import Job, Outcome
from monitor.cohort.rates import Rate, Ratio, rates
from monitor.cohort.storage import Place, StorageError
from monitor.detection.settings import DetectorSettings

EVERYBODY: Final = "all"
_FILE: Final = "cohort.json"
_SUMMARY: Final = "summary.json"


@dataclass(frozen=True, slots=True)
class Response:
    """To a trigger, of a group."""

    trigger: str
    group: str
    people: int
    pooled: Pooled | None
    """`None` of too few."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a cohort says."""

    recordings: int
    outcomes: tuple[Outcome, ...]
    rates: tuple[Rate, ...]
    ratios: tuple[Ratio, ...]
    responses: tuple[Response, ...]
    notes: tuple[str, ...]

    @property
    def broken(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.state == "broken"]


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how it goes."""

    begun: Callable[[int, str], None]
    """How many recordings, and where the dashboard is."""
    share: Callable[[float], None]
    """Of all bytes, done."""
    ended: Callable[[Outcome], None]


def run(
    place: Place,
    out: Place,
    settings: DetectorSettings,
    workers: Workers,
    piece_s: float,
    zone: tzinfo | None,
    watch: Watch,
) -> Answer:
    """Do what is not done, and sum up all.

    Raises:
        StorageError: a place cannot be read or written, or holds results of other settings.
        ClusterError: there are no workers.
    """
    found, people = members(place)
    if not found:
        raise StorageError(
            f"{place.url}: holds no recording", "Name a folder of EDF, BDF, XDF, CSV or data folders"
        )
    _claim(out, settings)
    with cluster.joined(workers) as client:
        watch.begun(len(found), cluster.dashboard(client))
        outcomes = _detect(client, found, partial(_job, place, out, settings, piece_s), watch)
        yields = _summarise(client, people, place, out, zone)
    answer = _answer(found, outcomes, yields)
    with out.new(_SUMMARY) as file:
        file.write(json.dumps(asdict(answer), indent=1).encode() + b"\n")
    return answer


def _claim(out: Place, settings: DetectorSettings) -> None:
    """Results are of one version and one set of settings."""
    ours = {"version": monitor.__version__, "settings": study.fingerprint(settings)}
    text = out.read(_FILE)
    if text is None:
        with out.new(_FILE) as file:
            file.write(json.dumps(ours).encode() + b"\n")
        return
    try:
        theirs = json.loads(text)
    except ValueError:
        theirs = None
    if theirs != ours:
        raise StorageError(
            f"{out.url}: holds results of another version or of other settings", "Name a new folder with --out"
        )


def _job(place: Place, out: Place, settings: DetectorSettings, piece_s: float, member: Member) -> Job:
    return Job(member, place, out, settings, piece_s, monitor.__version__)


def _detect(client: Any, found: Sequence[Member], job: Callable[[Member], Job], watch: Watch) -> list[Outcome]:  # noqa: ANN401
    """Large ones first, so that none is left for one worker at the end."""
    total = sum(member.size for member in found) or 1
    sizes = {member.name: member.size for member in found}
    shares: dict[str, float] = {}

    def told(name: str, share: float) -> None:
        shares[name] = share
        watch.share(sum(sizes.get(each, 0) * part for each, part in list(shares.items())) / total)

    cluster.follow(client, told)
    outcomes: list[Outcome] = []
    jobs = map(job, sorted(found, key=lambda member: (-member.size, member.name)))
    for done, result in cluster.spread(client, _work, jobs):
        outcome = result if isinstance(result, Outcome) else _lost(done, result)
        if outcome.state == "stopped":
            raise StorageError(outcome.message, outcome.remedy)
        told(outcome.name, 1.0)
        watch.ended(outcome)
        outcomes.append(outcome)
    return sorted(outcomes, key=lambda outcome: outcome.name)


def _work(job: Job) -> Outcome:
    return pieces.work(job, cluster.tell)


def _lost(job: Job, lost: Lost) -> Outcome:
    return Outcome(
        job.member.name,
        "broken",
        message=f"{job.member.name}: {lost.reason}",
        remedy="Give workers more: --memory",
    )


def _summarise(
    client: Any,  # noqa: ANN401
    people: Sequence[Subject],
    place: Place,
    out: Place,
    zone: tzinfo | None,
) -> list[Yield]:
    done = cluster.spread(client, summarise, people, (place, out, zone))
    found = {
        subject.name: result if isinstance(result, Yield) else Yield((), (), f"{subject.name}: {result.reason}")
        for subject, result in done
    }
    return [found[name] for name in sorted(found)]


def _answer(found: Sequence[Member], outcomes: Sequence[Outcome], yields: Sequence[Yield]) -> Answer:
    people = [person for each in yields for person in each.people]
    of_groups, ratios = rates(people)
    effects = [effect for each in yields for effect in each.effects]
    return Answer(
        len(found),
        tuple(outcomes),
        tuple(of_groups),
        tuple(ratios),
        tuple(responses(effects)),
        tuple(each.message for each in yields if each.message),
    )


def responses(effects: Sequence[Effect]) -> list[Response]:
    """To each trigger, of all and of each group where there are several."""
    answers = []
    for trigger in sorted({effect.trigger for effect in effects}):
        mine = [effect for effect in effects if effect.trigger == trigger]
        groups = sorted({effect.group for effect in mine})
        for group in [EVERYBODY, *(groups if len(groups) > 1 else [])]:
            chosen = [effect for effect in mine if group in (EVERYBODY, effect.group)]
            found = pooled([e.log_rate_ratio for e in chosen], [e.standard_error for e in chosen])
            answers.append(Response(trigger, group, len(chosen), found))
    return answers
