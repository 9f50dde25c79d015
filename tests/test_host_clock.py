"""The computer's clocks: sleep and a set clock are noticed, slewing is not."""

from dataclasses import replace

import pytest

from firmware_interface.samples import GapReason
from monitor.clock import HostClock, Reading, read_clocks

SECOND = 1_000_000_000
BOOT = Reading(monotonic_ns=50 * SECOND, running_ns=70 * SECOND, utc_ns=1_800_000_000 * SECOND)


class Computer:
    """Three clocks that a script moves."""

    def __init__(self):
        self.now = BOOT

    def read(self):
        return self.now

    def run(self, seconds, *, slew_ppm=0.0):
        passed_ns = round(seconds * SECOND)
        self._move(passed_ns, passed_ns, round(passed_ns * (1 + slew_ppm * 1e-6)))

    def sleep(self, seconds):
        self._move(0, round(seconds * SECOND), round(seconds * SECOND))

    def set_utc(self, seconds):
        self._move(0, 0, round(seconds * SECOND))

    def _move(self, monotonic_ns, running_ns, utc_ns):
        now = self.now
        self.now = replace(
            now,
            monotonic_ns=now.monotonic_ns + monotonic_ns,
            running_ns=now.running_ns + running_ns,
            utc_ns=now.utc_ns + utc_ns,
        )


@pytest.fixture
def computer():
    return Computer()


def test_all_is_well_while_the_clocks_agree(computer):
    """A day of checks each second says nothing, and UTC is right."""
    clock = HostClock(computer.read)
    for _ in range(86_400):
        computer.run(1)
        assert clock.check() is None
    assert clock.utc_ns() == computer.now.utc_ns


@pytest.mark.parametrize("seconds", [1, 60, 8 * 3600])
def test_sleep_is_said_once_and_utc_stays_right(computer, seconds):
    """The computer slept: SUSPENDED, once; UTC is what it was, as it counted on."""
    clock = HostClock(computer.read)
    offset_ns = clock.utc_offset_ns
    computer.run(10)
    computer.sleep(seconds)
    assert [clock.check(), clock.check()] == [GapReason.SUSPENDED, None]
    assert clock.utc_offset_ns == offset_ns
    assert clock.utc_ns() == computer.now.utc_ns


@pytest.mark.parametrize("seconds", [3600, 0.6, -0.6, -3600])
def test_a_set_clock_is_said_once_and_followed(computer, seconds):
    """UTC was set, forwards or backwards: CLOCK, once, and from then on the new time."""
    clock = HostClock(computer.read)
    offset_ns = clock.utc_offset_ns
    computer.run(10)
    computer.set_utc(seconds)
    assert clock.utc_ns() == computer.now.utc_ns - round(seconds * SECOND)  # until it is checked
    assert [clock.check(), clock.check()] == [GapReason.CLOCK, None]
    assert clock.utc_offset_ns == offset_ns + round(seconds * SECOND)
    assert clock.utc_ns() == computer.now.utc_ns


def test_a_clock_that_is_set_as_the_computer_wakes_is_sleep(computer):
    """What was missed was missed asleep; the new time is taken all the same."""
    clock = HostClock(computer.read)
    computer.sleep(100)
    computer.set_utc(-5)
    assert [clock.check(), clock.check()] == [GapReason.SUSPENDED, None]
    assert clock.utc_ns() == computer.now.utc_ns


def test_slewing_is_ignored(computer):
    """NTP at its fastest, 500 ppm, moves UTC by 30 ms a minute: no event, and times do not step."""
    clock = HostClock(computer.read)
    offset_ns = clock.utc_offset_ns
    for _ in range(15):
        computer.run(60, slew_ppm=500)
        assert clock.check() is None
    assert clock.utc_offset_ns == offset_ns


def test_a_slew_that_has_come_to_half_a_second_is_an_event(computer):
    """UTC is never wrong by more than half a second: what slewing adds up to is a step in the end."""
    clock = HostClock(computer.read)
    said = []
    for _ in range(60):
        computer.run(60, slew_ppm=500)
        said.append(clock.check())
        assert abs(clock.utc_ns() - computer.now.utc_ns) <= 0.5 * SECOND
    assert [reason for reason in said if reason] == [GapReason.CLOCK] * 3


def test_small_jitter_between_readings_is_no_event(computer):
    """Clocks are read one after another, and something may come between."""
    clock = HostClock(computer.read)
    for late_ns in (1000, 200_000_000, -200_000_000, 0):
        computer.run(1)
        steady = computer.now
        computer.now = replace(steady, utc_ns=steady.utc_ns + late_ns, running_ns=steady.running_ns + late_ns // 2)
        assert clock.check() is None
        computer.now = steady


def test_arrivals_are_told_on_the_running_clock(computer):
    """A callback stamps the monotonic clock; sleep is added, as of the last check."""
    clock = HostClock(computer.read)
    assert clock.running_ns(computer.now.monotonic_ns) == computer.now.running_ns
    computer.sleep(100)
    assert clock.running_ns(computer.now.monotonic_ns) == computer.now.running_ns - 100 * SECOND
    clock.check()
    computer.run(3)
    assert clock.running_ns(computer.now.monotonic_ns) == computer.now.running_ns


def test_the_real_clocks_can_be_read():
    """On this computer: none runs backwards, the running one is not behind the monotonic one, nothing jumps."""
    before, clock, after = read_clocks(), HostClock(), read_clocks()
    assert before.monotonic_ns <= after.monotonic_ns
    assert before.running_ns <= after.running_ns
    assert after.running_ns >= before.monotonic_ns
    assert clock.check() is None
    assert abs(clock.utc_ns() - read_clocks().utc_ns) < SECOND
