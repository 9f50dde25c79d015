"""A report of a data folder, from reading to text: for the command and for the page."""

from __future__ import annotations

from dataclasses import asdict
from datetime import tzinfo
from pathlib import Path

import monitor
from monitor.correlation.findings import Report, correlate
from monitor.correlation.stored import BIN_NS, tallies_of
from monitor.detection.settings import DetectorSettings
from monitor.diary import read_diary, triggers
from monitor.report.facts import gather
from monitor.report.page import Made, page
from monitor.store import Archive


def findings(folder: Path, zone: tzinfo | None, now_ns: int) -> Report:
    """What twitches have to do with what was logged, of all that is stored."""
    with Archive.open(folder) as archive:
        names = {known.id: known.device.name for known in archive.devices()}
        counted = tallies_of(archive.stretches(BIN_NS, 0, now_ns), archive.spent(BIN_NS, 0, now_ns), names)
    return correlate(counted, triggers(read_diary(folder), now_ns), zone, now_ns * 1e-9)


def written(
    folder: Path, settings: DetectorSettings, zone: tzinfo | None, since_ns: int, now_ns: int
) -> tuple[str, Report]:
    """The page, and the findings in it."""
    with Archive.open(folder) as archive:
        facts = gather(archive, read_diary(folder), zone, since_ns, now_ns)
    found = findings(folder, zone, now_ns)
    detector = facts.session.settings if facts.session and facts.session.settings else asdict(settings)
    shown = tuple((name.replace("_", " "), f"{value}") for name, value in detector.items() if value)
    return page(facts, found, Made(now_ns, monitor.__version__, shown, zone)), found
