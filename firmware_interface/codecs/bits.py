"""Integers of any width in a row of bytes, the least significant bit first: how differences are packed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def unpack(packed: bytes, width: int, count: int) -> Integers:
    """`count` signed integers of `width` bits, 0 to 62; `packed` is long enough."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=width * count, bitorder="little")
    values = bits.reshape(count, width) @ (1 << np.arange(width, dtype=np.int64))
    return np.asarray(values - ((values >> max(width - 1, 0)) << width), np.int64)


def pack(values: Integers, width: int) -> bytes:
    """The inverse; the last byte is filled up with zeros."""
    bits = (values[:, None] >> np.arange(width)) & 1
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()


def width(values: Integers) -> int:
    """Bits that the widest of them needs, its sign included."""
    return int(max(values.max(), ~values.min())).bit_length() + 1
