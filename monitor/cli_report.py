"""The commands `fasciwatch report` and `fasciwatch redflags`."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import monitor
from firmware_interface.errors import Fault
from monitor import config, lines
from monitor.correlation.findings import correlate
from monitor.correlation.stored import BIN_NS, tallies_of
from monitor.diary import read_diary, triggers
from monitor.found import keep
from monitor.redflags import ADVICE, NOT_A_DEVICE
from monitor.report.facts import gather
from monitor.report.page import Made, page
from monitor.store import Archive
from monitor.terminal import ConfigFile, DataDir, Json, Since, TimeZone, note, readable, say, since_ns
from monitor.terminal import zone as zone_named

_FILE = Path("fasciwatch-report.html")


class ReportError(Fault):
    """A report that cannot be written; the person's to mend."""


def report(
    file: Annotated[Path, typer.Argument(help="Where to write it; one that is there is written anew.")] = _FILE,
    since: Since = "all",
    timezone: TimeZone = "",
    config_file: ConfigFile = None,
    data: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Write all that was found as one page, to read or to print."""
    now_ns = time.time_ns()
    from_ns, zone = since_ns(since, now_ns), zone_named(timezone)
    settings = config.load(config_file)
    folder = readable(config_file, data)
    entries = read_diary(folder)
    with Archive.open(folder) as archive:
        facts = gather(archive, entries, zone, from_ns, now_ns)
        names = {known.id: known.device.name for known in archive.devices()}
        counted = tallies_of(archive.stretches(BIN_NS, 0, now_ns), archive.spent(BIN_NS, 0, now_ns), names)
    findings = correlate(counted, triggers(entries, now_ns), zone, now_ns * 1e-9)
    keep(folder, findings.findings, now_ns)
    detector = facts.session.settings if facts.session and facts.session.settings else asdict(settings.detection)
    shown = tuple((name.replace("_", " "), f"{value}") for name, value in detector.items() if value)
    text = page(facts, findings, Made(now_ns, monitor.__version__, shown, zone))
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{file}: {error.strerror or error}", "Name a file in a folder of yours") from error
    if json_lines:
        verdicts = [
            {"trigger": each.trigger, "site": each.site, "verdict": each.verdict} for each in findings.findings
        ]
        say(lines.as_json({"type": "report", "file": str(file), "findings": verdicts}))
    else:
        say(f"written: {file}")
        note("open it in a browser; its print makes a PDF. Nothing leaves this computer")


def redflags(json_lines: Json = False) -> None:
    """Say when to see a doctor, and when to call for help."""
    if json_lines:
        advice = [{"what": each.what, "signs": each.signs} for each in ADVICE]
        say(lines.as_json({"type": "redflags", "not_a_device": NOT_A_DEVICE, "advice": advice}))
        return
    for each in ADVICE:
        say(each.what)
        for sign in each.signs:
            say(f"    {sign}")
    say(NOT_A_DEVICE)
