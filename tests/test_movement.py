"""While the wearer moves, the EMG says nothing of twitches, and says so."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_interface.samples import Unit
from monitor.detection.events import Analysed, Context, State, Twitch
from monitor.detection.movement import PATIENCE_S, MovementVeto

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
