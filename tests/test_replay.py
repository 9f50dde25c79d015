"""A recording through the detector: what is found, in order, and what could not be analysed."""

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from edfio import Edf, EdfSignal

from firmware_interface.emulated.arm import Arm, ArmSettings
from firmware_interface.samples import Gap, GapReason, SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.detection.events import Context, State, Twitch
from monitor.detection.settings import DetectorSettings
from monitor.recording import Recording, RecordingError, read
from monitor.replay import ChannelSummary, replay

SECOND = 1_000_000_000
EVOKED = Path(__file__).parent.parent.parent / "shared" / "data" / "evoked_rest_1000hz.edf"
SETTINGS = DetectorSettings()
ARM = ArmSettings(
    channels=("FDI", "calf"),
    channel_spacing_mm=300,
    twitches_per_min=30,
    voluntary_per_min=0,
    movement_per_min=0,
    lift_off_per_hour=0,
)
EMG = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.1, 1000.0, ARM.channels)
TIMEBASE = Timebase(0, 0, 1e6)


def recording(stream, counts, lost=(), seconds=10.0):
    """A recording in memory; `lost` are (first, stop) samples that are missing."""
    edges = sorted({0, counts.shape[1], *(edge for span in lost for edge in span)})

    def pieces(seconds):
        step = round(seconds * stream.rate_hz)
        for start, stop in pairwise(edges):
            if any(first <= start < last for first, last in lost):
                ends = TIMEBASE.at(start), TIMEBASE.at(stop)
                yield Gap(stream, *ends, stop - start, GapReason.LOST)
                continue
            for at in range(start, stop, step):
                yield SampleBlock(stream, at, TIMEBASE, counts[:, at : min(at + step, stop)])

    return Recording(Path("made.edf"), (stream,), counts.shape[1] / stream.rate_hz, None, (), pieces)


@pytest.fixture(scope="module")
def arm():
    """A relaxed, twitching minute, with its truth."""
    emulated = Arm(ARM, seed=11)
    counts = np.rint(emulated.emg_uv(60_000) / EMG.scale).astype(np.int16)
    return counts, emulated.truth()[0]


@pytest.fixture(scope="module")
def replayed(arm):
    return replay(recording(EMG, arm[0], lost=[(20_000, 23_000)]), SETTINGS)


def twitches(replayed):
    return [event for event in replayed.events if isinstance(event, Twitch)]


def test_the_real_recording_is_found():
    """Evoked responses of a hand at rest: at least 27 of 30 within 10 ms, at most 2 that are none."""
    if not EVOKED.exists():
        pytest.skip(f"{EVOKED} is not here: local evaluation only, see its PROVENANCE.md")
    with EVOKED.with_suffix(".truth.csv").open() as file:
        truth = np.array([float(row["onset_s"]) for row in csv.DictReader(file)])
    onsets = np.array([twitch.onset_ns * 1e-9 for twitch in twitches(replay(read(EVOKED), SETTINGS))])
    away = np.abs(onsets[:, None] - truth)
    assert len(truth) == 30
    assert (away.min(axis=0) <= 0.010).sum() >= 27
    assert (away.min(axis=1) > 0.010).sum() <= 2


def test_the_twitches_of_an_emulated_arm_are_found(arm, replayed):
    """Nearly every twitch well above the noise is reported where it is, and nearly nothing else is."""
    onsets_s = np.array([twitch.onset_ns * 1e-9 for twitch in twitches(replayed)])
    truth = arm[1]
    clear = [d.onset_s for d in truth if max(d.peak_to_peak_uv) > 40 and not 18 < d.onset_s < 25]
    found = [onset for onset in clear if np.abs(onsets_s - onset).min() < 0.010]
    assert len(clear) > 8
    assert len(found) >= 0.9 * len(clear)
    every = np.array([d.onset_s for d in truth])
    false = [onset for onset in onsets_s if np.abs(every - onset).min() > 0.040]
    assert len(false) <= 1


def test_events_are_in_the_order_of_their_onset(replayed):
    """Twitches, contexts and gaps of all channels, as one list."""
    onsets = [event.onset_ns for event in replayed.events]
    assert onsets == sorted(onsets)
    assert len(onsets) > 10


def test_the_summary_is_of_what_was_recorded(replayed):
    """A channel each, in order: its time without the gap, of which some was analysable, and its twitches."""
    assert [summary.channel for summary in replayed.summaries] == list(ARM.channels)
    for summary in replayed.summaries:
        assert summary.recorded_s == pytest.approx(57, abs=0.001)
        assert 40 < summary.analysable_s <= summary.recorded_s + 1e-6
        assert summary.twitches == sum(twitch.channel == summary.channel for twitch in twitches(replayed))
        assert summary.rate_per_min == 60 * summary.twitches / summary.analysable_s


def test_nothing_analysable_is_no_rate():
    """Zero twitches in no time is not a rate of zero."""
    assert ChannelSummary("FDI", 60.0, 0.0, 0).rate_per_min is None


def test_a_gap_is_a_context_of_every_channel(replayed):
    """Where it was, as long as it was, once each."""
    gaps = [event for event in replayed.events if isinstance(event, Context) and event.state is State.GAP]
    assert gaps == [Context(State.GAP, site, 20 * SECOND, 3.0) for site in ARM.channels]


@pytest.mark.parametrize("seconds", [0.05])
def test_the_cutting_of_the_file_does_not_show(arm, replayed, seconds):
    """Blocks of any length give the same events, to the bit."""

    def plain(events):
        return [
            (event.channel, event.onset_ns, event.duration_s, getattr(event, "peak", event)) for event in events
        ]

    whole = recording(EMG, arm[0], lost=[(20_000, 23_000)])
    cut = Recording(whole.path, whole.streams, 60.0, None, (), lambda _: whole.blocks(seconds))
    assert plain(replay(cut, SETTINGS).events) == plain(replayed.events)


def test_contexts_that_were_said_in_pieces_are_joined(arm):
    """A hundred seconds without contact are one context, though the detector says it each minute."""
    counts = np.concatenate((arm[0][:, :20_000], np.zeros((2, 100_000), np.int16)), axis=1)
    events = replay(recording(EMG, counts), SETTINGS).events
    off = [event for event in events if isinstance(event, Context) and event.onset_ns > 15 * SECOND]
    assert {(event.state, event.channel) for event in off} == {(State.BAD_CONTACT, site) for site in ARM.channels}
    assert len(off) == 2
    for event in off:
        assert event.onset_ns == pytest.approx(20 * SECOND, abs=SECOND)
        assert event.onset_ns + event.duration_s * SECOND == pytest.approx(120 * SECOND, abs=SECOND)


def edf(path, *labels_and_units):
    rng = np.random.default_rng(1)
    made = [
        EdfSignal(rng.normal(0, 1, 5000), 100 if unit == "g" else 500, label=label, physical_dimension=unit)
        for label, unit in labels_and_units
    ]
    Edf(made, data_record_duration=1).write(path)
    return path


def test_a_file_of_an_ecg_alone_is_refused_with_a_remedy(tmp_path):
    """Nothing to find twitches in: one line, naming the file, and what to do."""
    with pytest.raises(RecordingError, match=r"ecg\.edf has no EMG or acceleration") as caught:
        replay(read(edf(tmp_path / "ecg.edf", ("ECG", "uV"))), SETTINGS)
    assert "--sensor emg" in caught.value.remedy


def test_what_is_not_analysed_is_said(tmp_path):
    """Streams of other sensors beside EMG are left out, with a note that names them and why."""
    path = tmp_path / "mixed.edf"
    made = [
        EdfSignal(np.random.default_rng(1).normal(0, 1, 5000), 500, label="FDI", physical_dimension="uV"),
        EdfSignal(np.random.default_rng(2).normal(0, 1, 5000), 500, label="ECG", physical_dimension="uV"),
    ]
    Edf(made, data_record_duration=1).write(path)
    result = replay(read(path), SETTINGS)
    assert [summary.channel for summary in result.summaries] == ["FDI"]
    assert any("ECG" in note and "not analysed" in note for note in result.notes)
