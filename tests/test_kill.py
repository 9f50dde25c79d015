"""SIGKILL at any moment: what was committed stays, nothing is there twice, what is missing is said."""

import itertools
import os
import random
import re
import signal
import sqlite3
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from firmware_interface.samples import GapReason
from monitor.store import DATABASE, Archive
from tests.test_cli import Demo

END_NS = 1 << 62
NAME = "fasciwatch demo"
RESTART_S = 20.0  # of CPU, nearly all imports: 3 on an idle machine, 8 seen on a loaded one
MOMENT_S = 4.0
"""From start-up to a few commits."""
OVERLAP_S = 0.1
"""A session's first sample is placed when it arrived; the next are known to have been sooner, as its clock learns.
It is 10 ms in the mean, and 36 were seen on a busy machine."""


class Contents:
    """All that a reader finds."""

    def __init__(self, folder):
        with Archive.open(folder) as archive:
            self.sessions = archive.sessions()
            self.accounted_ns = next((known.accounted_ns for known in archive.devices()), {})
            self.gaps = [gap for _, gap in archive.gaps(0, END_NS)]
            self.minutes = {(m.start_ns, m.channel): m for _, m in archive.minutes(0, END_NS)}
            found = [twitch for _, twitch in archive.twitches(0, END_NS)]
            self.twitches = [(t.onset_ns, t.channel, t.peak, t.waveform.tobytes()) for t in found]
            self.contexts = [(c.onset_ns, c.channel, c.state) for _, c in archive.contexts(0, END_NS)]

    def check_kept(self, before):
        """All that was there is there."""
        assert self.sessions[: len(before.sessions) - 1] == before.sessions[:-1]
        # Not a beginning of them: a stream that was killed before its first samples has its gap said later.
        assert set(before.gaps) <= set(self.gaps)
        assert len(set(self.gaps)) == len(self.gaps)
        assert set(before.twitches) <= set(self.twitches)
        assert set(before.contexts) <= set(self.contexts)
        for key, minute in before.minutes.items():
            assert self.minutes[key].observed_s >= minute.observed_s
            assert self.minutes[key].twitches >= minute.twitches

    def check_whole(self):
        """Every moment from the first sample to the last is observed or in one gap, once."""
        assert len(set(self.twitches)) == len(self.twitches)
        for (start_ns, channel), minute in self.minutes.items():
            # None yet where a stretch that began in the minute before held a twitch of this one.
            assert 0 <= minute.observed_s <= 60 + 1e-6
            inside = [t for t in self.twitches if t[1] == channel and 0 <= t[0] - start_ns < 60 * 10**9]
            assert minute.twitches == len(inside)
        for stream in ("emg", "acc"):
            gaps = [gap for gap in self.gaps if gap.stream.name == stream]
            assert all(a.end_ns <= b.start_ns for a, b in itertools.pairwise(gaps))
        gaps = [gap for gap in self.gaps if gap.stream.name == "emg"]
        if gaps and self.minutes:
            first = min(gap.start_ns for gap in gaps)
            before_s = self.told_s() - (self.accounted_ns["emg"] - first) * 1e-9
            slack_s = 0.1 + 0.3 * OVERLAP_S * len(self.sessions)
            assert -slack_s <= before_s <= (first - self.sessions[0].begun_ns) * 1e-9 + slack_s

    def told_s(self):
        """Observed, or in a gap."""
        observed_s = sum(m.observed_s for m in self.minutes.values() if m.channel == "FDI")
        return observed_s + sum(gap.end_ns - gap.start_ns for gap in self.gaps if gap.stream.name == "emg") * 1e-9


def kill_at_random(folder, times, seed):
    rng = random.Random(seed)
    with ExitStack() as resources:

        def start(*options):
            demo = Demo(folder, "--json", *options)
            resources.callback(demo.kill)
            return demo

        before = killed(start().until(lambda demo: demo.twitches()), rng.uniform(0, MOMENT_S))
        for _ in range(times - 1):
            demo = start("--loss", "0.05")
            if rng.random() < 0.2:  # before it has begun
                before = checked(before, killed(demo, rng.uniform(0, MOMENT_S)))
                continue
            restarted(demo)
            before = checked(before, killed(demo, rng.uniform(0, MOMENT_S)))
        last = start()
        restarted(last)
        last.until(lambda demo: any("connected" in line for line in demo.err))
        time.sleep(1)
        assert last.end() == 0
    checked(before, Contents(folder))
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def killed(demo, after_s):
    time.sleep(after_s)
    demo.process.send_signal(signal.SIGKILL)
    assert demo.ended() == -signal.SIGKILL
    return Contents(demo.folder)


def restarted(demo):
    """At once, and says since when nothing was watched. Other load on this machine does not count."""
    demo.until(lambda demo: any("nothing was watched" in line for line in demo.err))
    if sys.platform == "linux":
        _, _, fields = Path(f"/proc/{demo.process.pid}/stat").read_text().rpartition(") ")
        ticks = sum(map(int, fields.split()[11:13]))  # in user and kernel mode
        assert ticks / os.sysconf("SC_CLK_TCK") < RESTART_S
    (said,) = [line for line in demo.err if "nothing was watched" in line]
    assert re.fullmatch(r"nothing was watched since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(\d+\.\d (s|min)\)\n", said)


def checked(before, after):
    after.check_whole()
    after.check_kept(before)
    check_joined(before, after)
    if "emg" in before.accounted_ns:  # each session by itself
        passed_s = (after.accounted_ns["emg"] - before.accounted_ns["emg"]) * 1e-9
        assert abs(after.told_s() - before.told_s() - passed_s) < OVERLAP_S
    return after


def check_joined(before, after):
    """STOPPED from the last that was accounted for to the session, then DISCONNECTED to its first samples."""
    for stream, accounted_ns in before.accounted_ns.items():
        new = [gap for gap in after.gaps if gap.stream.name == stream and gap.start_ns >= accounted_ns]
        if not new:  # killed before it was connected
            assert after.accounted_ns[stream] == accounted_ns
            continue
        stopped, *_ = new
        assert (stopped.reason, stopped.start_ns) == (GapReason.STOPPED, accounted_ns)
        *absent, last = [gap for gap in new if gap.reason in (GapReason.STOPPED, GapReason.DISCONNECTED)]
        assert last.reason is GapReason.DISCONNECTED
        assert all(a.end_ns == b.start_ns for a, b in zip(absent, [*absent[1:], last], strict=True))
        assert last.start_ns == after.sessions[-1].begun_ns


@pytest.mark.parametrize(
    "times",
    [
        pytest.param(3, marks=pytest.mark.timeout(300)),
        pytest.param(20, marks=[pytest.mark.timeout(1800), pytest.mark.long]),
    ],
)
def test_kills_at_random_moments(tmp_path, times, record_property):
    seed = time.time_ns()
    record_property("seed", seed)
    kill_at_random(tmp_path, times, seed)
