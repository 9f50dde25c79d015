"""The outbox: all that is stored goes to each sink, in order, until it has it; what is refused is said."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_interface.samples import Status
from monitor.outbox import Delivery, DeniedError, Outbox, RefusedError, UnreachableError, pause_s
from monitor.store import Archive, Condition, Linked, Store
from monitor.tally import Minute
from tests.test_store import BOARD, CONTEXT, GAP, MINUTE, NOW, TWITCH, S, opened
from tests.virtual_time import VirtualLoop

EVERYTHING = [
    TWITCH,
    CONTEXT,
    GAP,
    Minute("FDI", NOW - NOW % MINUTE, 1.0, 1.0, 1),
    Status(battery_percent=50),
    Linked(NOW, "AA", "1.0", -50),
]


class Scripted:
    """A sink that answers by a list of outcomes, then well; and keeps what it took."""

    def __init__(self, *outcomes, name="scripted", bad=()):
        self.name = name
        self.outcomes = list(outcomes)
        self.bad = set(bad)
        self.took, self.attempts = [], []

    async def deliver(self, letters):
        self.attempts.append((asyncio.get_running_loop().time(), [letter.seq for letter in letters]))
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome:
            raise outcome
        if any(letter.seq in self.bad for letter in letters):
            raise RefusedError("400: bad line", "")
        self.took += letters

    async def check(self):
        pass

    async def close(self):
        pass


def twitches(store, device, numbers, now_ns=NOW):
    store.write([(device, replace(TWITCH, onset_ns=n)) for n in numbers], now_ns)


def delivered(folder, sink, until, seconds=100_000):
    """Deliver in virtual time until `until()`; (what a person was told, and when)."""
    told = []

    async def main(store):
        delivery = Delivery(sink, Outbox(folder, "laptop"))

        def keep(device, records):
            store.write([(device, record) for record in records], NOW)

        def notice(name, trouble):
            if trouble or told:
                told.append((asyncio.get_running_loop().time(), trouble))

        task = asyncio.create_task(delivery.run(keep, notice))
        async with asyncio.timeout(seconds):
            while not until():  # noqa: ASYNC110 - time is virtual
                await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait((task,))

    store = Store.open(folder)
    try:
        with asyncio.Runner(loop_factory=VirtualLoop, debug=False) as runner:
            runner.run(main(store))
    finally:
        store.close(NOW)
    return told


def position(folder, name="scripted"):
    return Outbox(folder, "laptop").position(name)


# ---- What there is ----


def test_every_kind_that_is_stored_goes_out_once(tmp_path) -> None:
    """However often it is written."""
    with opened(tmp_path) as (store, device):
        for _ in range(3):
            store.write([(device, record) for record in EVERYTHING if not isinstance(record, Minute)], NOW)
        store.write([(device, EVERYTHING[3]), (0, Condition("raw", NOW, True, "full"))], NOW)
    letters = Outbox(tmp_path, "laptop").after(0)
    kinds = [type(letter.contents).__name__ for letter in letters]
    assert sorted(kinds) == ["Condition", "Context", "Gap", "Health", "Linked", "Minute", "Twitch"]
    assert [letter.seq for letter in letters] == list(range(1, 8))
    assert {letter.device for letter in letters} == {"board", ""}


def test_a_minute_goes_out_when_it_is_over_and_again_after_an_addition(tmp_path) -> None:
    start_ns = NOW - NOW % MINUTE
    half = Minute("FDI", start_ns, 30.0, 30.0, 2)
    with opened(tmp_path) as (store, device):
        store.write([(device, half)], start_ns + 31 * S)
        store.write([(device, half)], start_ns + 61 * S)
        assert Outbox(tmp_path, "laptop").after(0) == []
        store.write([], start_ns + 76 * S)
        store.write([], start_ns + 77 * S)
        (letter,) = Outbox(tmp_path, "laptop").after(0)
        assert letter.contents == Minute("FDI", start_ns, 60.0, 60.0, 4)
        store.write([(device, half)], start_ns + 300 * S)
        (again,) = Outbox(tmp_path, "laptop").after(letter.seq)
    assert again.contents.twitches == 6
    assert again.id == letter.id


def test_an_id_is_made_of_what_was_measured(tmp_path) -> None:
    """Another store, other numbers, another order: the same ids; and no two alike."""
    ids = []
    for name, order in (("a", EVERYTHING), ("b", EVERYTHING[::-1])):
        if name == "b":
            before = Store.open(tmp_path / name)
            before.device(replace(BOARD, serial="another"), "BB", NOW)
            before.close(NOW)
        with opened(tmp_path / name) as (store, device):
            store.write([(device, record) for record in order], NOW)
        ids.append({letter.id for letter in Outbox(tmp_path / name, "laptop").after(0)})
    assert ids[0] == ids[1]
    assert len(ids[0]) == len(EVERYTHING)


# ---- Bringing it ----


def test_all_arrives_in_order_and_the_position_stays(tmp_path) -> None:
    with opened(tmp_path) as (store, device):
        twitches(store, device, range(5000))
    sink = Scripted()
    delivered(tmp_path, sink, lambda: len(sink.took) == 5000)
    assert [letter.seq for letter in sink.took] == list(range(1, 5001))
    assert max(len(numbers) for _, numbers in sink.attempts) == 500
    assert position(tmp_path) == 5000
    again = Scripted()
    with opened(tmp_path) as (store, device):
        twitches(store, device, [10_000])
    delivered(tmp_path, again, lambda: again.took)
    assert [letter.seq for letter in again.took] == [5001]


def test_a_sink_that_is_added_later_gets_what_was_before(tmp_path) -> None:
    """And the other one nothing twice."""
    with opened(tmp_path) as (store, device):
        twitches(store, device, range(10))
    first, second = Scripted(name="first"), Scripted(name="second")
    delivered(tmp_path, first, lambda: len(first.took) == 10)
    delivered(tmp_path, second, lambda: len(second.took) == 10)
    with Archive.open(tmp_path) as archive:
        assert [(sink.name, sink.seq) for sink in archive.sinks()] == [("first", 10), ("second", 10)]


@pytest.mark.parametrize("bad", [{1}, {10}, {3, 4, 7}, set(range(1, 11))])
def test_a_refused_letter_is_dead_with_its_reason_and_the_rest_arrives(tmp_path, bad) -> None:
    with opened(tmp_path) as (store, device):
        twitches(store, device, range(10))
    sink = Scripted(bad=bad)
    delivered(tmp_path, sink, lambda: position(tmp_path) == 10)
    assert [letter.seq for letter in sink.took] == [n for n in range(1, 11) if n not in bad]
    with Archive.open(tmp_path) as archive:
        letters = archive.dead_letters("scripted", 100)
        assert {letter.seq for letter in letters} == bad
        assert {letter.reason for letter in letters} == {"400: bad line"}
        assert archive.sinks()[0].refused == len(bad)


def test_a_server_that_is_away_for_a_day_is_asked_calmly_and_then_gets_all(tmp_path) -> None:
    with opened(tmp_path) as (store, device):
        twitches(store, device, range(10))
    sink = Scripted(*[UnreachableError("http://x cannot be reached (refused)")] * 300)
    told = delivered(tmp_path, sink, lambda: sink.took)
    times = [at for at, _ in sink.attempts]
    assert times[-1] - times[0] > 0.75 * 86400 * 0.6
    pauses = [b - a for a, b in pairwise(times)]
    assert max(pauses) <= 301
    assert all(pause >= 149 for pause in pauses[12:])
    assert {numbers[0] for _, numbers in sink.attempts} == {1}
    assert told[0][0] - times[0] >= 30
    assert "nothing is lost" in told[0][1]
    assert told[-1][1] is None


def test_a_server_that_denies_us_is_left_alone_for_an_hour(tmp_path) -> None:
    with opened(tmp_path) as (store, device):
        twitches(store, device, range(10))
    sink = Scripted(DeniedError("InfluxDB turns our token away (401: no)", "Give it a token that may write"))
    told = delivered(tmp_path, sink, lambda: sink.took)
    assert sink.attempts[1][0] - sink.attempts[0][0] == pytest.approx(3600, abs=2)
    assert [words for _, words in told] == [
        "InfluxDB turns our token away (401: no). Give it a token that may write",
        None,
    ]


def test_what_the_server_asks_for_is_done(tmp_path) -> None:
    with opened(tmp_path) as (store, device):
        twitches(store, device, [1])
    sink = Scripted(UnreachableError("429", retry_after_s=77))
    delivered(tmp_path, sink, lambda: sink.took)
    assert sink.attempts[1][0] - sink.attempts[0][0] == pytest.approx(77, abs=2)


@given(st.integers(1, 10**6), st.none() | st.floats(0, 1e9), st.floats(0, 1))
def test_a_pause_is_bounded(failures, asked_s, chance) -> None:
    assert 0.5 <= pause_s(failures, asked_s, chance) <= (300 if asked_s is None else 3600)


def test_a_copy_of_the_folder_repeats_with_the_same_ids(tmp_path) -> None:
    """As after a restored backup: who gets it twice can tell."""
    with opened(tmp_path / "a") as (store, device):
        twitches(store, device, range(3))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first, second = ([x.id for x in Outbox(tmp_path / name, "n").after(0)] for name in "ab")
    assert first == second
