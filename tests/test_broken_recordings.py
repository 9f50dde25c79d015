"""Twenty recordings that are broken in a way of their own: one line each, no crash, no memory to speak of."""

import tracemalloc

import numpy as np
import pytest
from edfio import Edf, EdfSignal

from firmware_interface.errors import Fault
from monitor.detection.settings import DetectorSettings
from monitor.recording import read
from monitor.replay import replay

RATE = 500
MOST_BYTES = 60_000_000


def good(labels=("FDI", "calf"), seconds=8):
    rng = np.random.default_rng(1)
    volts = rng.normal(0, 5, RATE * seconds)
    made = [
        EdfSignal(volts, RATE, label=label, physical_dimension="uV", physical_range=(-400, 400))
        for label in labels
    ]
    return bytearray(Edf(made, data_record_duration=1).to_bytes())


def patched(at, text, **kind):
    data = good(**kind)
    data[at : at + len(text)] = text
    return data


def csv(*rows, header="time,FDI [uV]"):
    return "\n".join([header, *rows]).encode() + b"\n"


def timed(n, value="1"):
    return [f"{i / RATE:.3f},{value}" for i in range(n)]


SIGNALS = 256
"""Where the signals' headers begin."""
UNIT, PHYSICAL, DIGITAL, SIZES = (SIGNALS + 2 * n for n in (96, 104, 120, 216))
REFUSED = {
    "empty.edf": b"",
    "truncated-in-header.edf": good()[:300],
    "truncated-before-data.edf": good()[: 256 * 3],
    "wrong-magic.edf": b"RIFF" + bytes(2000),
    "zero-signals.edf": patched(252, b"0   "),
    "huge-signal-count.edf": patched(252, b"9999"),
    "header-of-another-size.edf": patched(184, b"99999999"),
    "zero-record-duration.edf": patched(244, b"0       "),
    "nan-record-duration.edf": patched(244, b"nan     "),
    "zero-samples-a-record.edf": patched(SIZES, b"0       "),
    "huge-samples-a-record.edf": patched(SIZES, b"99999999"),
    "unknown-units.edf": patched(UNIT, b"furlongsfurlongs"),
    "no-numbers.csv": csv("a,b", "c,d"),
    "all-nan.csv": csv(*timed(2000, "nan")),
    "text.bdf": b"Dear colleague, please find attached the recording.\n" * 40,
    "day.sqlite": b"SQLite format 3\x00" + b"\xff" * 4096,
}
READ = {
    "truncated-in-a-record.edf": good()[:-777],
    "promises-more-records.edf": patched(236, b"99999999"),
    "duplicate-labels.edf": bytes(good(labels=("EMG", "EMG", "EMG"))),
    "no-physical-range.edf": patched(PHYSICAL, b"0       0       0       0       "),
    "hour-long-gap.csv": csv(*timed(2000), *[f"{3600 + i / RATE:.3f},1" for i in range(2000)]),
    "some-nan.csv": csv(*timed(2000), *(f"{4 + i / RATE:.3f},nan" for i in range(100))),
}


@pytest.fixture
def written(tmp_path):
    def write(name, data):
        path = tmp_path / name
        path.write_bytes(bytes(data))
        return path

    return write


def within_memory(act):
    tracemalloc.start()
    try:
        result = act()
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
    return result


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(written, name):
    """With the file's name, what is wrong, and what to do."""
    path = written(name, REFUSED[name])

    def act():
        with pytest.raises(Fault) as caught:
            replay(read(path), DetectorSettings())
        return caught.value

    fault = within_memory(act)
    assert "\n" not in str(fault)
    assert name in str(fault)
    assert fault.remedy
    assert len(str(fault)) < 400


@pytest.mark.parametrize("name", READ)
def test_what_can_be_read_in_part_is(written, name):
    """What is left out is a note or a gap; nothing is made up."""
    path = written(name, READ[name])
    result = within_memory(lambda: replay(read(path), DetectorSettings()))
    assert all("\n" not in note for note in result.notes)
    assert sum(summary.recorded_s for summary in result.summaries) > 0
    assert max(summary.recorded_s for summary in result.summaries) <= 21


def test_there_are_twenty():
    """The set does not shrink."""
    assert len(REFUSED) + len(READ) >= 20
