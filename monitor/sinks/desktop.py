"""Alerts on the desktop of whoever is logged in.

Rule: what the system has for it, and no library: `notify-send` on Linux, `osascript` on macOS, PowerShell on
Windows. Only what is to be announced, and only while it is news.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

from monitor.alerts.engine import Alert
from monitor.alerts.rules import Severity
from monitor.outbox import DeniedError, Letter, UnreachableError

_NEWS_NS = 600 * 10**9
_TIMEOUT_S = 10.0
_PROGRAMS = {"linux": "notify-send", "darwin": "osascript", "win32": "powershell"}
_WINDOWS = (
    "Add-Type -AssemblyName System.Windows.Forms; $n = New-Object System.Windows.Forms.NotifyIcon; "
    "$n.Icon = [System.Drawing.SystemIcons]::Information; $n.Visible = $true; "
    "$n.ShowBalloonTip(10000, $env:FASCIWATCH_TITLE, $env:FASCIWATCH_TEXT, 'Info'); Start-Sleep 5"
)


class Desktop:
    """The desktop, as a sink."""

    name = "desktop"

    async def deliver(self, letters: Sequence[Letter]) -> None:
        """Show those that are to be announced now."""
        for letter in letters:
            alert = letter.contents
            if isinstance(alert, Alert) and alert.announce and time.time_ns() - alert.at_ns < _NEWS_NS:
                await asyncio.to_thread(_shown, alert)

    async def check(self) -> None:
        """Nothing is kept open that could break."""

    async def close(self) -> None:
        """Nothing to do."""


def command(alert: Alert, system: str) -> tuple[list[str], dict[str, str]]:
    """What shows it there, and what it needs in its environment."""
    title = f"fasciwatch: {alert.severity if alert.raised else 'over'}"
    text = f"{alert.why}\nTo silence it: {alert.silence.replace('`', '')}" if alert.raised else alert.why
    match system:
        case "darwin":
            said = f"display notification {json.dumps(text)} with title {json.dumps(title)}"
            return ["osascript", "-e", said], {}
        case "win32":
            told = {"FASCIWATCH_TITLE": title, "FASCIWATCH_TEXT": text}
            return ["powershell", "-NoProfile", "-Command", _WINDOWS], told
        case _:
            urgency = "critical" if alert.raised and alert.severity is Severity.URGENT else "normal"
            return ["notify-send", "--app-name=fasciwatch", f"--urgency={urgency}", "--", title, text], {}


def _shown(alert: Alert) -> None:
    program = _PROGRAMS.get(sys.platform, "notify-send")
    if shutil.which(program) is None:
        raise DeniedError(f"{program} is not here", "Install it (on Debian libnotify-bin), or desktop = false")
    arguments, told = command(alert, sys.platform)
    try:
        done = subprocess.run(  # noqa: S603
            arguments, env=os.environ | told, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreachableError(f"{program} did not show an alert ({type(error).__name__})") from error
    if done.returncode:
        raise UnreachableError(f"{program} did not show an alert ({' '.join(done.stderr.split())[:200]})")
