"""The signal in columns: the same wherever a window begins, and nothing where nothing was received."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_interface.codecs import Device
from firmware_interface.samples import SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.page.envelope import COLUMN_NS, Live, envelope, wider
from monitor.raw import Block, Raw, RawArchive, Retention
from monitor.store import KnownDevice

START_NS = 1_800_000_000 * 10**9
FIRST = START_NS // COLUMN_NS


def stream(rate_hz):
    return Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.5, rate_hz, ("a", "b"))


def blocks(rate_hz, seconds, seed=1):
    rng = np.random.default_rng(seed)
    length = round(rate_hz)
    return [
        SampleBlock(stream(rate_hz), n * length, Timebase(0, START_NS, 1e9 / rate_hz),
                    rng.normal(0, 100, (2, length)).astype(np.int16))
        for n in range(seconds)
    ]  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.integers(100, 450), st.integers(1, 200), st.sampled_from([50.0, 130.0, 200.0, 1000.0]))
def test_a_window_is_a_cut_of_the_whole(begin, count, rate_hz):
    """Whoever looks at a time sees the same."""
    given_blocks = blocks(rate_hz, 7)
    whole = envelope(given_blocks, 2, FIRST, 700, COLUMN_NS)
    part = envelope(given_blocks, 2, FIRST + begin, count, COLUMN_NS)
    np.testing.assert_array_equal(part, whole[:, begin : begin + count])


def test_what_was_not_received_is_nothing():
    """A second that is missing is NaN, and the columns around it are not drawn together."""
    received = blocks(1000.0, 5)
    columns = envelope([*received[:2], *received[3:]], 2, FIRST, 500, COLUMN_NS)
    assert np.isnan(columns[:, 200:300]).all()
    assert not np.isnan(columns[:, :200]).any()
    assert (columns[:, :200, 0] <= columns[:, :200, 1]).all()


def test_wider_columns_hold_the_extremes():
    """Two columns as one: the least and the largest of both, what is known of them."""
    columns = envelope(blocks(1000.0, 1), 2, FIRST - 1, 40, COLUMN_NS)
    wide = wider(columns, 2)
    assert wide.shape == (2, 20, 2)
    np.testing.assert_array_equal(wide[:, 1:, 0], columns[:, 2:, 0].reshape(2, -1, 2).min(axis=2))
    np.testing.assert_array_equal(wide[:, 0], columns[:, 1])


def test_the_present_is_read_as_it_grows(tmp_path):
    """Second by second, read often or seldom: in the end what was stored, once."""
    raw = Raw(tmp_path, Retention())
    live = Live(RawArchive(tmp_path))
    device = KnownDevice(1, Device("x", "s", "1", (stream(1000.0),)), "", 0, 0, {})
    stored = blocks(1000.0, 12)
    for n, each in enumerate(stored):
        block = Block(1, each.stream, each.start_ns, each.end_ns, each.first, None, (None, None), each.counts)
        raw.write([block], each.end_ns)
        if n in (0, 1, 5, 6, 11):
            live.columns([device], FIRST, 10, each.end_ns + 10**8)
    drawn = live.columns([device], FIRST, 1200, stored[-1].end_ns + 2 * 10**8)
    raw.close()
    np.testing.assert_array_equal(drawn[0].columns, envelope(stored, 2, FIRST, 1200, COLUMN_NS))
    assert live.columns([device], FIRST - 5000, 10, stored[-1].end_ns) is None
