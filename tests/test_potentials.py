"""Runs of energy, whatever the pieces in which it comes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from monitor.detection.past import Past
from monitor.detection.potentials import Runs, stretches

MERGE = 3


def found(energy, cuts, threshold=10.0):
    past, runs, out, start = Past(1, 2000), Runs(1, MERGE), [], 0
    for stop in [*sorted(set(cuts)), len(energy)]:
        if stop > start:
            past.append(energy[None, start:stop])
            out += runs.feed(past, start, stop, np.array([threshold]))
        start = stop
    return [(p.start, p.stop, p.peak, p.energy) for p in out]


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)), max_size=60),
    st.lists(st.integers(0, 300), max_size=8),
)
def test_runs_reach_to_the_release_level_and_hold_a_peak(levels, cuts):
    """Each sample above the threshold is in exactly one run; a run begins and ends above the release level."""
    energy = np.repeat([float(v) for v, _ in levels], [n for _, n in levels]) if levels else np.zeros(1)
    out = found(energy, [c for c in cuts if c < len(energy)])
    inside = np.zeros(len(energy), int)
    for start, stop, peak, size in out:
        inside[start:stop] += 1
        assert energy[peak] == size == energy[start:stop].max() > 10.0
        assert energy[start] > 3.5
        assert energy[stop - 1] > 3.5
    assert (inside[energy > 10] == 1).all()
    assert inside.max(initial=0) <= 1


def test_a_run_that_is_loud_late_begins_where_it_left_the_noise():
    energy = np.array([0.0] * 10 + [5.0] * 10 + [20.0] + [0.0] * 10)
    assert found(energy, [15]) == [(10, 21, 20, 20.0)]


@given(st.lists(st.booleans(), min_size=1))
def test_stretches_are_what_is_true(values):
    mask = np.array(values)
    out = np.zeros(len(mask), bool)
    for first, last in stretches(mask):
        out[first:last] = True
    np.testing.assert_array_equal(out, mask)
