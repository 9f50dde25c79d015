"""Events as lines: shapes that others rely on, and numbers that JSON knows."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_interface.samples import Gap, GapReason, Sensor, Stream, Unit
from monitor import lines
from monitor.detection.events import Context, State, Twitch
from monitor.replay import ChannelSummary

NS = 1_000_000_000
START_NS = 1_795_352_700_123_456_789  # 2026-11-22T13:05:00.123…Z
STREAM = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.1, 1000.0, ("FDI", "µ calf"))
TWITCH = Twitch(
    channel="FDI",
    onset_ns=12_345_000_000,
    duration_s=0.012,
    peak=123.4,
    peak_to_peak=210.56789,
    unit=Unit.MICROVOLT,
    snr=31.0,
    confidence=0.97,
    amplitudes=(("FDI", 210.56789), ("µ calf", 40.0)),
    waveform=np.zeros(40, np.float32),
    waveform_start_s=-0.02,
    rate_hz=1000.0,
    phases=3,
    turns=5,
    median_hz=92.5,
    motor_unit=2,
    follows_s=0.032,
)
CONTEXT = Context(State.VOLUNTARY, "FDI", 20_100_000_000, 3.2)
GAP = Gap(STREAM, START_NS, START_NS + 3 * NS, 3000, GapReason.DISCONNECTED, exact=False)


def test_a_twitch_of_a_recording_is_as_designed():
    """The keys of design.md in their order, with their values; what is more comes after."""
    fields = lines.from_start(TWITCH)
    designed = {
        "type": "twitch",
        "channel": "FDI",
        "onset_s": 12.345,
        "duration_s": 0.012,
        "peak": 123.4,
        "unit": "uV",
        "snr": 31.0,
        "confidence": 0.97,
    }
    assert {key: fields[key] for key in designed} == designed
    assert [key for key in fields if key in designed] == list(designed)
    assert fields["amplitudes"] == {"FDI": 210.5679, "µ calf": 40.0}


@pytest.mark.parametrize("state", ["voluntary", "artefact", "bad_contact", "gap"])
def test_a_context_of_a_recording_is_as_designed(state):
    """Each of the four states, nothing more and nothing less than the keys of design.md."""
    line = lines.as_json(lines.from_start(Context(State(state), "FDI", 20_100_000_000, 3.2)))
    assert line == json.dumps(
        {"type": "context", "channel": "FDI", "onset_s": 20.1, "state": state, "duration_s": 3.2}
    )
    assert len(State) == 4


def test_a_summary_is_as_designed():
    """The keys of design.md in their order."""
    line = lines.as_json(lines.summary(ChannelSummary("FDI", 60.0, 58.2, 30)))
    assert json.loads(line) == {
        "type": "summary",
        "channel": "FDI",
        "recorded_s": 60.0,
        "analysable_s": 58.2,
        "twitches": 30,
        "rate_per_min": 30.928,
    }


def test_no_analysable_time_is_no_rate():
    """Absent is null, not zero and not infinity."""
    fields = lines.summary(ChannelSummary("FDI", 60.0, 0.0, 0))
    assert fields["rate_per_min"] is None
    assert '"rate_per_min": null' in lines.as_json(fields)


def test_live_events_carry_utc_and_their_device():
    """The same fields with `onset` in ISO 8601 in place of `onset_s`."""
    for event in (TWITCH, CONTEXT):
        live, recorded = lines.at_utc(event, "armband"), lines.from_start(event)
        assert live.pop("device") == "armband"
        assert live.pop("onset") == lines.utc(event.onset_ns)
        del recorded["onset_s"]
        assert live == recorded
        assert next(iter(live)) == "type"


def test_a_gap_says_why_and_how_much():
    """Reason, stream, how long, how many samples, and whether they were counted."""
    assert lines.at_utc(GAP, "armband") == {
        "type": "gap",
        "device": "armband",
        "reason": "disconnected",
        "stream": "emg",
        "onset": "2026-11-22T13:05:00.123Z",
        "duration_s": 3.0,
        "missing": 3000,
        "exact": False,
    }


def test_labels_stay_as_they_are_written():
    """One line of UTF-8, no escapes."""
    line = lines.as_json(lines.from_start(TWITCH))
    assert "µ calf" in line
    assert "\n" not in line


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_know_is_refused(number):
    """NaN on a line would break every reader, so it never leaves."""
    with pytest.raises(ValueError, match="JSON"):
        lines.as_json({"peak": number})


@given(st.integers(0, 4_000_000_000_000).map(lambda ms: ms * 1_000_000), st.integers(0, 999_999))
def test_utc_is_exact_to_the_millisecond(ms_ns, rest_ns):
    """Cut, not rounded: the same text for every nanosecond of a millisecond, and it reads back."""
    text = lines.utc(ms_ns + rest_ns)
    assert text == lines.utc(ms_ns)
    assert text.endswith("Z")
    seconds = np.datetime64(text[:-1], "ms").astype(np.int64)
    assert int(seconds) * 1_000_000 == ms_ns


@given(st.floats(0, 1e5), st.floats(0, 1e7), st.floats(0, 1e6), st.floats(0, 1), st.integers(0, 10**18))
def test_every_finite_event_is_a_line_that_reads_back(duration_s, peak, snr, confidence, onset_ns):
    """Whatever was measured, the line parses to finite numbers near it."""
    event = Twitch(
        "FDI",
        onset_ns,
        duration_s,
        peak,
        peak,
        Unit.COUNT,
        snr,
        confidence,
        (("FDI", peak),),
        np.zeros(1),
        0.0,
        1.0,
        1,
        1,
        peak,
        None,
        None,
    )
    read = json.loads(lines.as_json(lines.from_start(event)))
    assert read["onset_s"] == pytest.approx(onset_ns * 1e-9, abs=1e-6)
    assert (read["duration_s"], read["peak"]) == (
        pytest.approx(duration_s, abs=1e-6),
        pytest.approx(peak, abs=1e-4),
    )
    assert read["unit"] == "count"


def test_people_read_one_line_with_the_unit():
    """What happened, where, how large or how long."""
    assert lines.plain(TWITCH) == "twitch on FDI: 211 uV peak to peak, 12 ms, SNR 31"
    assert "FDI" in lines.plain(CONTEXT)
    assert "3.2 s" in lines.plain(CONTEXT)
    assert "emg" in lines.plain(GAP)
    assert "disconnected" in lines.plain(GAP)
    assert "_" not in lines.plain(Context(State.BAD_CONTACT, "FDI", 0, 1.0))
