"""Ticks become contexts, and every tick that has a state is in one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.detection.contexts import Contexts
from monitor.detection.events import State

TICK_NS = 100_000_000
states = st.sampled_from([None, State.VOLUNTARY, State.ARTEFACT])


@given(st.lists(st.tuples(states, states), max_size=60))
def test_contexts_cover_their_ticks_once(ticks):
    contexts = Contexts(("a", "b"))
    said = [c for i, tick in enumerate(ticks) for c in contexts.feed(tick, i * TICK_NS, (i + 1) * TICK_NS)]
    assert contexts.any == any(ticks[-1:] and ticks[-1])
    said += contexts.close()
    covered = {}
    for context in said:
        first, count = context.onset_ns // TICK_NS, round(context.duration_s / 0.1)
        for i in range(first, first + count):
            assert (context.channel, i) not in covered
            covered[context.channel, i] = context.state
    expected = {(c, i): s for i, tick in enumerate(ticks) for c, s in zip("ab", tick, strict=True) if s}
    assert covered == expected


def test_a_long_one_is_said_in_pieces():
    contexts = Contexts(("a",))
    said = [c for i in range(1500) for c in contexts.feed([State.BAD_CONTACT], i * TICK_NS, (i + 1) * TICK_NS)]
    assert [c.duration_s for c in said] == [pytest.approx(60.0, abs=0.2)] * 2
    assert contexts.states == (State.BAD_CONTACT,)
