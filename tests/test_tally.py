"""Minutes add up to what the detector said."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_interface.samples import Unit
from monitor.detection.events import Analysed, Context, State, Twitch
from monitor.tally import MINUTE_NS, Minute, tally

SECOND = 1_000_000_000
NOON = 30_000_000 * MINUTE_NS
SITES = ("FDI", "calf")


def twitch(channel, onset_ns):
    return Twitch(
        channel,
        onset_ns,
        0.01,
        50.0,
        90.0,
        Unit.MICROVOLT,
        20.0,
        0.9,
        ((channel, 90.0),),
        np.zeros(9),
        -0.02,
        1e3,
        2,
        3,
        90.0,
        None,
        None,
    )


def analysed(start_s, observed_s, *analysable_s):
    start_ns = NOON + round(start_s * SECOND)
    return Analysed(start_ns, start_ns + SECOND // 10, observed_s, analysable_s)


def test_nothing_gives_nothing():
    """No events, no minutes; and a context alone is no evidence of anything."""
    assert tally(SITES, []) == []
    assert tally(SITES, [Context(State.GAP, "FDI", NOON, 5.0)]) == []


def test_each_channel_of_a_minute_has_its_own_row():
    """Observed time is the stream's, analysable time and twitches are the channel's."""
    events = [analysed(0, 0.1, 0.1, 0.0), analysed(0.1, 0.05, 0.05, 0.05), twitch("calf", NOON + SECOND)]
    assert sorted(tally(SITES, events), key=lambda minute: minute.channel) == [
        Minute("FDI", NOON, pytest.approx(0.15), pytest.approx(0.15), 0),
        Minute("calf", NOON, pytest.approx(0.15), pytest.approx(0.05), 1),
    ]


def test_minutes_are_those_of_the_clock():
    """The last tenth of a minute and the first of the next are told apart, to the nanosecond for a twitch."""
    events = [
        analysed(59.9, 0.1, 0.1, 0.1),
        analysed(60.0, 0.1, 0.1, 0.1),
        twitch("FDI", NOON + MINUTE_NS - 1),
        twitch("FDI", NOON + MINUTE_NS),
        twitch("FDI", NOON + MINUTE_NS),
    ]
    found = {(m.channel, m.start_ns): (m.observed_s, m.twitches) for m in tally(SITES, events)}
    assert found == {
        ("FDI", NOON): (0.1, 1),
        ("calf", NOON): (0.1, 0),
        ("FDI", NOON + MINUTE_NS): (0.1, 2),
        ("calf", NOON + MINUTE_NS): (0.1, 0),
    }


def test_a_twitch_that_is_told_before_its_minute_is_a_minute_of_its_own():
    """Increments: the time in which it lay may come with another call."""
    assert tally(SITES, [twitch("FDI", NOON + 5)]) == [Minute("FDI", NOON, 0.0, 0.0, 1)]


def test_a_stretch_with_another_number_of_channels_is_refused():
    """Analysable times belong to the channels of the stream, one each."""
    with pytest.raises(ValueError, match="zip"):
        tally(SITES, [analysed(0, 0.1, 0.1)])


ticks = st.integers(0, 3000).flatmap(
    lambda at: st.tuples(st.floats(0, 0.1), st.booleans(), st.booleans()).map(
        lambda t: analysed(at / 10, t[0], t[0] * t[1], t[0] * t[2])
    )
)
twitches = st.builds(twitch, st.sampled_from(SITES), st.integers(NOON, NOON + 5 * MINUTE_NS))


@settings(max_examples=40, deadline=None)
@given(st.lists(ticks | twitches, max_size=60), st.integers(0, 60))
def test_increments_add_up_however_the_events_are_cut(events, cut):
    """Two tallies of the parts hold what one of the whole holds, and the whole what the events said."""

    def total(minutes):
        sums = {}
        for m in minutes:
            so_far = sums.get((m.channel, m.start_ns), np.zeros(3))
            sums[m.channel, m.start_ns] = np.add(so_far, (m.observed_s, m.analysable_s, m.twitches))
        return sums

    whole, parts = total(tally(SITES, events)), total(tally(SITES, events[:cut]) + tally(SITES, events[cut:]))
    assert whole.keys() == parts.keys()
    for key, sums in whole.items():
        np.testing.assert_allclose(parts[key], sums, atol=1e-9)
        assert key[1] % MINUTE_NS == 0
    heard = [event for event in events if isinstance(event, Analysed)]
    observed, analysable, count = sum(whole.values(), np.zeros(3))
    assert observed == pytest.approx(len(SITES) * sum(event.observed_s for event in heard))
    assert analysable == pytest.approx(sum(sum(event.analysable_s) for event in heard))
    assert count == len(events) - len(heard)
