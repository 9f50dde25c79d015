"""Integers of any width, packed from the least significant bit on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_interface.codecs import bits


@pytest.mark.parametrize(
    ("packed", "width", "values"),
    [("0f08", 6, [15, -32]), ("ff", 1, [-1] * 8), ("21436587", 4, [1, 2, 3, 4, 5, 6, 7, -8]), ("", 0, [0, 0])],
)
def test_golden(packed, width, values):
    assert bits.unpack(bytes.fromhex(packed), width, len(values)).tolist() == values


@given(st.lists(st.integers(-(1 << 40), (1 << 40) - 1), min_size=1, max_size=50))
def test_round_trip_in_as_few_bits_as_it_takes(values):
    row = np.array(values, np.int64)
    width = bits.width(row)
    packed = bits.pack(row, width)
    assert len(packed) == (width * len(values) + 7) // 8
    assert bits.unpack(packed, width, len(values)).tolist() == values
    assert width == 1 or row.max() >= 1 << (width - 2) or row.min() < -(1 << (width - 2))
