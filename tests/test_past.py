"""The past is what was appended, as far back as was promised."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from monitor.detection.past import Past

KEEP = 50


@given(st.lists(st.integers(0, KEEP), max_size=40), st.integers(-1000, 1000))
def test_what_is_kept_is_what_came(lengths, begin):
    past = Past(2, KEEP)
    past.restart(begin)
    whole = np.concatenate((np.zeros((2, KEEP)), np.arange(2 * sum(lengths)).reshape(2, -1)), axis=1)
    at = 0
    for length in lengths:
        past.append(whole[:, KEEP + at : KEEP + at + length])
        at += length
        assert (past.start, past.end) == (begin + at - KEEP, begin + at)
        np.testing.assert_array_equal(past.span(past.start, past.end), whole[:, at : at + KEEP])
        np.testing.assert_array_equal(past.last(length), whole[:, KEEP + at - length : KEEP + at])


def test_a_span_is_cut_to_what_there_is():
    past = Past(1, 10)
    past.append(np.arange(5.0)[None])
    assert past.span(3, 100).tolist() == [[3.0, 4.0]]
    assert past.span(7, 9).shape == (1, 0)


def test_values_are_raised_and_never_lowered():
    past = Past(2, 10)
    past.append(np.array([[0.0, 3.0, 0.0], [0.0, 0.0, 0.0]]))
    past.raise_to(0, 0, 2, 2.0)
    assert past.last(3).tolist() == [[2.0, 3.0, 0.0], [0.0, 0.0, 0.0]]
