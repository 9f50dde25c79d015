"""What is stored, minute by minute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_interface.samples import Gap, GapReason, Sensor, Stream, Unit
from monitor.reception import MINUTE_NS, by_minute
from monitor.tally import Minute

EMG = Stream("emg", Sensor.EMG, Unit.COUNT, 1.0, 1000.0, ("FDI", "biceps"))


def test_a_minute_is_what_was_observed_and_what_is_missing_with_its_reason():
    minutes = [(7, Minute(label, 0, 45.0, 40.0, 3)) for label in EMG.channels]
    gaps = [
        (7, Gap(EMG, 10 * 10**9, 20 * 10**9, 10_000, GapReason.LOST)),
        (7, Gap(EMG, 55 * 10**9, 70 * 10**9, 15_000, GapReason.DISCONNECTED, exact=False)),
    ]
    first, second = by_minute(minutes, gaps, 0, 10 * MINUTE_NS)
    assert (first.device_id, first.channel, first.observed_s) == (7, "FDI", 45.0)
    assert first.missing_s == {GapReason.LOST: 10.0, GapReason.DISCONNECTED: 5.0}
    assert (first.loss, first.exact) == (0.25, False)
    assert (second.observed_s, second.missing_s, second.loss) == (0.0, {GapReason.DISCONNECTED: 10.0}, 1.0)


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), max_size=5))
def test_no_second_of_a_gap_in_the_range_is_lost_or_counted_twice(spans):
    since_ns, until_ns = 3 * MINUTE_NS, 12 * MINUTE_NS
    gaps = [(1, Gap(EMG, min(span), max(span), 1, GapReason.LOST)) for span in spans]
    inside_ns = sum(max(min(max(s), until_ns) - max(min(s), since_ns), 0) for s in spans)
    heard = by_minute([], gaps, since_ns, until_ns)
    assert sum(sum(each.missing_s.values()) for each in heard) == pytest.approx(inside_ns * 1e-9)
    assert all(each.start_ns % MINUTE_NS == 0 for each in heard)
