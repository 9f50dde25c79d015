"""The alerts of a session: the engine, with what it has to read.

    look (files, in a thread) ─► tick (pure, in the event loop) ─► Alert

Rule: a file that cannot be read costs nothing but what stands in it, and is told as trouble "said".
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from monitor.alerts.engine import Alert, Engine, Now, Said
from monitor.alerts.rules import Kind, Rule
from monitor.alerts.said import said_after
from monitor.alerts.watching import Seen, Watching
from monitor.database import StoreError
from monitor.diary import read_diary
from monitor.store import Archive

_S = 10**9
_HOUR_NS = 3600 * _S
_DAY_NS = 24 * _HOUR_NS
_SELDOM_NS = 60 * _S
_USUAL_DAYS = 28
_USUAL_DAYS_MIN = 5
"""With the hour analysed on fewer days, nothing is usual yet."""
_USUAL_ANALYSED_S = 300.0
"""Of an hour that counts."""


class Alarms:
    """What is to be told a person, second by second.

    Args:
        folder: the data folder; its store is open.
        rules: those that are not the defaults.
        sinks: names of servers.
        quiet: seconds of the local day from and to which only what is urgent is announced.
    """

    def __init__(self, folder: Path, rules: Sequence[Rule], sinks: Sequence[str], quiet: tuple[int, int]) -> None:
        self._folder = folder
        self._asks_usual = any(rule.of_baseline and rule.on for rule in rules)
        self._reminds = any(rule.kind is Kind.TRIGGER_REMINDER and rule.on for rule in rules)
        self._watching = Watching(rules, sinks)
        with Archive.open(folder) as archive:
            known, self._said_id = archive.alerts(), archive.alerts_said()
        self._engine = Engine(known, quiet)
        self._strangers = {alert.name for alert in known}
        self._said: list[Said] = []
        self._seldom_ns: int | None = None
        self.trouble: str | None = None

    def alerts(self) -> list[Alert]:
        """Each as it is now."""
        return self._engine.alerts()

    def look(self, now_ns: int) -> None:
        """Read what people said and logged, and once a minute what is usual. May wait for a disk."""
        try:
            said = said_after(self._folder, self._said_id)
            if self._seldom_ns is None or not 0 <= now_ns - self._seldom_ns < _SELDOM_NS:
                self._seldom_ns = now_ns
                if self._reminds:
                    logged = read_diary(self._folder)
                    self._watching.logged_ns = max((each.logged_ns for each in logged), default=None)
                if self._asks_usual:
                    self._watching.usual = usual_rates(self._folder, now_ns)
        except StoreError as error:
            self.trouble = f"what was said of alerts cannot be read: {error}"
            return
        self.trouble = None
        self._said += said
        self._said_id = max((each.id for each in said), default=self._said_id)

    def tick(self, running_ns: int, utc_ns: int, seen: Iterable[Seen], troubles: Mapping[str, int]) -> list[Alert]:
        """What changes.

        Args:
            running_ns: now, by the clock that is never set.
            utc_ns: now.
            seen: every device that is to be heard.
            troubles: name of what is in trouble -> since when, by the running clock.
        """
        local = time.localtime(utc_ns // _S)
        now = Now(running_ns, utc_ns, local.tm_hour * 3600 + local.tm_min * 60 + local.tm_sec)
        lasting = {name: (running_ns - since_ns) / _S for name, since_ns in troubles.items()}
        readings = self._watching.readings(now, seen, lasting)
        said, self._said = self._said, []
        gone = [name for name in self._strangers if not self._watching.is_watched(name)]
        self._strangers = set()
        return [*self._engine.forget(gone, now), *self._engine.tick(now, readings, said)]


def usual_rates(folder: Path, now_ns: int) -> dict[tuple[str, str], float]:
    """(device, site) -> median of the rates of this hour of the clock on the days before, where that is known."""
    hour_ns = now_ns // _HOUR_NS * _HOUR_NS
    with Archive.open(folder) as archive:
        names = {known.id: known.device.name for known in archive.devices()}
        found: dict[tuple[str, str], list[float]] = {}
        for day in range(1, _USUAL_DAYS + 1):
            since_ns = hour_ns - day * _DAY_NS
            for stretch in archive.stretches(_HOUR_NS, since_ns, since_ns + _HOUR_NS):
                if stretch.analysable_s >= _USUAL_ANALYSED_S:
                    rates = found.setdefault((names[stretch.device_id], stretch.channel), [])
                    rates.append(60 * stretch.twitches / stretch.analysable_s)
    return {
        where: sorted(rates)[len(rates) // 2] for where, rates in found.items() if len(rates) >= _USUAL_DAYS_MIN
    }
