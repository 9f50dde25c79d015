"""One sensor of a device forbids what another one sees, and the time is accounted for."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_interface.samples import SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.detection import heart_listener
from monitor.detection.events import Analysed, Context, State, Twitch
from monitor.detection.settings import DetectorSettings
from monitor.detection.veto import PATIENCE_S, HeartVeto, MovementVeto, Vetoes

FRAME_NS = 200_000_000
TWITCH = Twitch(
    channel="FDI",
    onset_ns=0,
    duration_s=0.01,
    peak=50.0,
    peak_to_peak=90.0,
    unit=Unit.MICROVOLT,
    snr=20.0,
    confidence=0.9,
    amplitudes=(("FDI", 90.0),),
    waveform=np.zeros(50, np.float32),
    waveform_start_s=-0.02,
    rate_hz=1000.0,
    phases=2,
    turns=3,
    median_hz=80.0,
    motor_unit=None,
    follows_s=None,
)


def frame(number, *, moving=False):
    start_ns = number * FRAME_NS
    return Analysed(start_ns, start_ns + FRAME_NS, 0.2, (0.0 if moving else 0.2,), moving)


@cache
def twitch(number):
    """In the middle of a frame."""
    return replace(TWITCH, onset_ns=number * FRAME_NS + FRAME_NS // 2)


def heard(moving_frames, count=50, patience_s=PATIENCE_S):
    """A twitch in every frame, and what is left of that."""
    veto = MovementVeto(("FDI",), patience_s)
    passed = []
    for number in range(count):
        veto.hear([frame(number, moving=number in moving_frames)])
        passed += veto.feed([twitch(number), frame(number)])
    return passed + veto.finish([])


def test_at_rest_everything_passes_in_order():
    """Nothing is added, left out or moved."""
    assert heard(set()) == [event for number in range(50) for event in (twitch(number), frame(number))]


@given(st.sets(st.integers(0, 49)))
def test_movement_takes_its_own_time_and_no_more(moving):
    """Twitches, analysable time and contexts, frame by frame."""
    events = heard(moving)
    kept = [e.onset_ns // FRAME_NS for e in events if isinstance(e, Twitch)]
    assert kept == sorted(set(range(50)) - moving)
    assert sum(e.analysable_s[0] for e in events if isinstance(e, Analysed)) == pytest.approx(0.2 * len(kept))
    assert sum(e.observed_s for e in events if isinstance(e, Analysed)) == pytest.approx(10.0)
    contexts = [e for e in events if isinstance(e, Context)]
    assert sum(c.duration_s for c in contexts) == pytest.approx(0.2 * len(moving))
    assert all(c.state is State.ARTEFACT for c in contexts)


def test_emg_waits_for_acceleration():
    """Nothing passes before acceleration was decided up to there."""
    veto = MovementVeto(("FDI",))
    assert veto.feed([twitch(0), frame(0)]) == []
    veto.hear([frame(0)])
    assert veto.feed([]) == [twitch(0), frame(0)]


def test_a_silent_accelerometer_vetoes_nothing():
    """What has waited long enough passes."""
    veto = MovementVeto(("FDI",))
    passed = [event for number in range(50) for event in veto.feed([twitch(number), frame(number)])]
    assert 80 <= len(passed) < 100
    assert len(passed + veto.finish([])) == 100


def beat(at_ns):
    return Context(State.ARTEFACT, "ecg", at_ns - 50_000_000, 0.1)


def test_nothing_just_after_a_beat_is_a_twitch():
    """A fifth of a second from the R wave on, which is not analysable either."""
    veto = HeartVeto(("x",))
    veto.hear([beat(1_000_000_000), frame(20)])
    early, late = replace(TWITCH, onset_ns=1_150_000_000), replace(TWITCH, onset_ns=1_250_000_000)
    passed = veto.feed([frame(4), early, frame(5), late, frame(6)])
    assert [e for e in passed if isinstance(e, Twitch)] == [late]
    assert [e.analysable_s[0] for e in passed if isinstance(e, Analysed)] == pytest.approx([0.2, 0.0, 0.2])


@pytest.mark.parametrize(
    ("sensors", "judged"),
    [
        ((Sensor.EMG,), ()),
        ((Sensor.EMG, Sensor.ACC), (Sensor.EMG,)),
        ((Sensor.ACC, Sensor.ECG), (Sensor.ACC,)),
        ((Sensor.EMG, Sensor.ECG), ()),
        ((Sensor.EMG, Sensor.ACC, Sensor.ECG), (Sensor.EMG, Sensor.ACC)),
    ],
)
def test_who_judges_whom(sensors, judged):
    """Acceleration judges the EMG, the ECG acceleration."""
    streams = [Stream(str(s), s, Unit.COUNT, 1.0, 100.0, ("a",)) for s in sensors]
    vetoes = Vetoes(streams)
    assert tuple(s.sensor for s in streams if vetoes.over(s)) == judged
    assert {s.sensor for s in streams if vetoes.listen_to(s)} == {
        {Sensor.EMG: Sensor.ACC, Sensor.ACC: Sensor.ECG}[sensor] for sensor in judged
    }


@pytest.mark.parametrize("rate_hz", [130.0, 250.0])
def test_an_ecg_is_heard_for_its_beats(rate_hz):
    """From the fifth on, each one, and where it is."""
    stream = Stream("ecg", Sensor.ECG, Unit.MICROVOLT, 1.0, rate_hz, ("ecg",))
    beats_s = 1 + 0.8 * np.arange(60) + 0.02 * np.sin(np.arange(60))
    t = np.arange(round(50 * rate_hz)) / rate_hz
    x = np.random.default_rng(1).normal(0, 8, len(t))
    for beat_s in beats_s:
        x += 1000 * np.exp(-(((t - beat_s) / 0.012) ** 2)) + 150 * np.exp(-(((t - beat_s - 0.25) / 0.05) ** 2))
    heart = heart_listener(stream, DetectorSettings())
    events = heart.feed(SampleBlock(stream, 0, Timebase(0, 0, 1e9 / rate_hz), x[None])) + heart.finish()
    said_s = np.array([e.onset_ns * 1e-9 + e.duration_s / 2 for e in events if isinstance(e, Context)])
    assert all(np.abs(said_s - beat_s).min() < 0.05 for beat_s in beats_s[4:])
