"""The commands `fasciwatch report` and `fasciwatch redflags`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from firmware_interface.errors import Fault
from monitor import config, lines
from monitor.found import keep
from monitor.redflags import ADVICE, NOT_A_DEVICE
from monitor.report.written import written
from monitor.terminal import ConfigFile, DataDir, Json, Since, TimeZone, note, revealed, say, since_ns
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
    folder = revealed(config_file, data)
    text, findings = written(folder, settings.detection, zone, from_ns, now_ns)
    keep(folder, findings.findings, now_ns)
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
