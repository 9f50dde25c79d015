"""The detector: finds twitches, says what is not rest, and never minds how the stream was cut."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from firmware_interface.emulated.arm import Arm, ArmSettings, IntervalKind
from firmware_interface.samples import SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.detection.detector import Detector
from monitor.detection.events import Analysed, Context, State, Twitch

SECOND = 1_000_000_000
RATE_HZ = 1000.0
START_NS = 1_800_000_000 * SECOND
STREAM = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.1, RATE_HZ, ("FDI", "calf"))
TIMEBASE = Timebase(0, START_NS, 1e9 / RATE_HZ)
REST = ArmSettings(
    channels=STREAM.channels,
    channel_spacing_mm=300,
    twitches_per_min=0,
    voluntary_per_min=0,
    movement_per_min=0,
    lift_off_per_hour=0,
    mains_uv=3,
    ecg_uv=0,
)
BUSY = replace(
    REST,
    twitches_per_min=60,
    voluntary_per_min=3,
    voluntary_s=2,
    movement_per_min=4,
    lift_off_per_hour=100,
    ecg_uv=5,
)


def emg(arm_settings, seconds, seed=1):
    """What an emulated arm gives, in counts, and its truth."""
    arm = Arm(arm_settings, seed)
    counts = np.clip(np.rint(arm.emg_uv(round(seconds * RATE_HZ)) / STREAM.scale), -32768, 32767)
    return counts.astype(np.int16), *arm.truth()


def quiet(seconds, sd_uv=2.0, seed=1):
    """Gaussian noise alone, in µV."""
    return np.random.default_rng(seed).normal(0, sd_uv, (2, round(seconds * RATE_HZ)))


def planted(seconds, onsets_s, peak_to_peak_uv=(200.0, 60.0), seed=1):
    """Noise with potentials of two phases that last 12 ms from their onset, in µV."""
    x = quiet(seconds, seed=seed)
    for onset_s in onsets_s:
        t = (np.arange(x.shape[1]) / RATE_HZ - onset_s - 0.006) / 0.002
        shape = t * np.exp(0.5 - t * t / 2) * (np.abs(t) < 3)
        x += np.array(peak_to_peak_uv)[:, None] / 2 * shape
    return x


def as_counts(x_uv):
    return np.clip(np.rint(x_uv / STREAM.scale), -32768, 32767).astype(np.int16)


def block(counts, first, stop, stream=STREAM):
    return SampleBlock(stream, first, TIMEBASE, counts[:, first:stop])


def detected(counts, lost=(), cuts=(), stream=STREAM):
    """All events of `counts`, whose samples in `lost` (first, stop) are left out, cut at `cuts` too."""
    detector = Detector(stream)
    length = counts.shape[1]
    edges = sorted([0, length, *(edge for span in lost for edge in span), *cuts])
    events = []
    for first, stop in itertools.pairwise(edges):
        if not any(begin <= first and stop <= end for begin, end in lost) or first == stop:
            events += detector.feed(block(counts, first, stop, stream))
    return events + detector.finish()


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


def seconds_of(twitch_or_context):
    return (twitch_or_context.onset_ns - START_NS) * 1e-9


def contexts(events, state, channel="FDI"):
    """(start, stop) of the contexts of one state and channel, in s."""
    found = [c for c in of(events, Context) if c.state is state and c.channel == channel]
    return [(seconds_of(c), seconds_of(c) + c.duration_s) for c in found]


def covered(spans, start, stop):
    """How much of `start` to `stop` is in `spans`, as a share."""
    return sum(max(min(b, stop) - max(a, start), 0) for a, b in spans) / (stop - start)


def bits(event):
    """An event as something that is equal to the last bit or not at all."""
    if isinstance(event, Twitch):
        return replace(event, waveform=None).__reduce__()[2], event.waveform.tobytes()
    return event


def account(events):
    accounts = of(events, Analysed)
    return sum(a.observed_s for a in accounts), sum(np.array(a.analysable_s) for a in accounts)


# ── the cut does not show ──

LOST = [(3_000, 3_058), (6_217, 6_420), (9_000, 9_250), (11_000, 14_500), (17_001, 17_002)]


@pytest.fixture(scope="module")
def busy():
    """Twenty seconds in which everything happens, with gaps of 1 ms to 3.5 s."""
    counts = emg(BUSY, 20, seed=3)[0]
    events = [bits(event) for event in detected(counts, LOST)]
    assert {type(event) for event in events} >= {tuple, Context, Analysed}
    return counts, events


@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(0, 20_000), max_size=30).flatmap(lambda c: st.just(c + c[:3])))
def test_any_cutting_gives_the_same_events_bit_for_bit(busy, cuts):
    """Arbitrary pieces, empty ones too: the same twitches, contexts, account and waveforms, in the same order."""
    counts, events = busy
    assert [bits(event) for event in detected(counts, LOST, cuts)] == events


@pytest.mark.parametrize("length", [7, 58])
def test_packets_of_any_length_give_the_same_events_bit_for_bit(busy, length):
    """As a radio sends them."""
    counts, events = busy
    assert [bits(event) for event in detected(counts, LOST, range(0, 20_000, length))] == events


def test_an_empty_block_says_nothing_and_starts_nothing():
    """Before, between and after samples."""
    counts = as_counts(quiet(2))
    detector = Detector(STREAM)
    assert detector.feed(block(counts, 0, 0)) == []
    events = detector.feed(block(counts, 500, 2000))
    assert detector.feed(block(counts, 2000, 2000)) == []
    events += detector.finish()
    assert account(events)[0] == pytest.approx(1.5)
    assert of(events, Analysed)[0].start_ns == TIMEBASE.at(500)


def test_finishing_an_unheard_stream_says_nothing():
    """No samples, no events; and finishing twice adds none."""
    assert Detector(STREAM).finish() == []
    detector = Detector(STREAM)
    detector.feed(block(as_counts(quiet(3)), 0, 3000))
    assert detector.finish()
    assert detector.finish() == []


# ── twitches ──


@pytest.mark.parametrize("peak_to_peak_uv", [60.0, 200.0, 2000.0])
def test_a_planted_twitch_is_found_where_and_as_large_as_it_is(peak_to_peak_uv):
    """Each one, on its channel, its onset within 3 ms, its amplitude within 15 %, and nothing else."""
    onsets_s = np.arange(5, 20, 1.5) + np.linspace(0, 0.3, 10)
    events = detected(as_counts(planted(22, onsets_s, (peak_to_peak_uv, 0))))
    found = of(events, Twitch)
    np.testing.assert_allclose([seconds_of(t) for t in found], onsets_s, atol=0.003)
    for twitch in found:
        assert twitch.channel == "FDI"
        assert twitch.peak_to_peak == pytest.approx(peak_to_peak_uv, rel=0.15)
        assert twitch.peak == pytest.approx(peak_to_peak_uv / 2, abs=0.1 * peak_to_peak_uv + 5)
        assert 0.004 < twitch.duration_s < 0.025
        assert twitch.unit is Unit.MICROVOLT
        assert 0.5 <= twitch.confidence <= 1
        assert twitch.snr > 5


def test_the_waveform_is_the_twitch_on_its_own_time_axis():
    """It starts `waveform_start_s` before the onset and holds the peak that is told."""
    for twitch in of(detected(as_counts(planted(20, [6.0123, 12.3]))), Twitch):
        assert twitch.waveform_start_s < 0
        assert twitch.waveform.dtype == np.float32
        time_s = twitch.waveform_start_s + np.arange(len(twitch.waveform)) / twitch.rate_hz
        assert time_s[-1] >= twitch.duration_s - 2 / RATE_HZ
        size = np.abs(twitch.waveform)
        assert size.max() == pytest.approx(twitch.peak, rel=1e-5)
        assert 0 <= time_s[np.argmax(size)] <= twitch.duration_s + 0.002
        before = size[time_s < -0.002]
        assert before.max() < 0.15 * twitch.peak


def test_an_event_over_several_channels_is_one_twitch():
    """Told on the channel where it is largest, with every channel's amplitude, largest first."""
    for sizes, order in (((200.0, 80.0), ("FDI", "calf")), ((80.0, 200.0), ("calf", "FDI"))):
        found = of(detected(as_counts(planted(20, [6.0, 12.0], sizes))), Twitch)
        assert [t.channel for t in found] == [order[0]] * 2
        for twitch in found:
            assert tuple(channel for channel, _ in twitch.amplitudes) == order
            assert [a for _, a in twitch.amplitudes] == pytest.approx([200, 80], rel=0.15)
            assert twitch.amplitudes[0][1] == twitch.peak_to_peak


def test_twitches_of_two_muscles_at_other_times_are_two():
    """Each on its own channel."""
    x = planted(20, [6.0], (200, 0)) + planted(20, [6.2], (0, 200)) - quiet(20)
    assert [(t.channel, round(seconds_of(t), 2)) for t in of(detected(as_counts(x)), Twitch)] == [
        ("FDI", 6.0),
        ("calf", 6.2),
    ]


def test_a_doublet_is_two_twitches():
    """The same unit again after 40 ms."""
    found = of(detected(as_counts(planted(20, [6.0, 6.04, 12.0, 12.04]))), Twitch)
    np.testing.assert_allclose(sorted(seconds_of(t) for t in found), [6.0, 6.04, 12.0, 12.04], atol=0.004)


def test_times_follow_the_timebase():
    """A device that is 1 % slow, and a timebase that is corrected on the way: onsets are in its time."""
    counts = as_counts(planted(20, [6.0, 15.0]))
    detector = Detector(STREAM)
    slow, shifted = Timebase(0, START_NS, 1.01e6), Timebase(10_000, START_NS + 11 * SECOND, 1.01e6)
    events = detector.feed(SampleBlock(STREAM, 0, slow, counts[:, :10_000]))
    events += detector.feed(SampleBlock(STREAM, 10_000, shifted, counts[:, 10_000:])) + detector.finish()
    assert [seconds_of(t) for t in of(events, Twitch)] == pytest.approx([6.06, 16.05], abs=0.004)


@pytest.mark.parametrize("unit", [Unit.COUNT, Unit.MILLIVOLT])
def test_other_units_are_kept(unit):
    """Amplitudes are in the stream's own unit; counts stay counts."""
    stream = replace(STREAM, unit=unit, scale=1.0 if unit is Unit.COUNT else 1e-4)
    (twitch,) = of(detected(as_counts(planted(20, [10.0])), stream=stream), Twitch)
    assert twitch.unit is unit
    assert twitch.peak_to_peak == pytest.approx(2000 if unit is Unit.COUNT else 0.2, rel=0.15)


# ── what is not a twitch ──


@pytest.mark.parametrize("mains_uv", [3.0, 20.0])
def test_noise_alone_is_silent(mains_uv):
    """Less than half a report a minute and channel, with hum and without; and nearly all of it is analysable."""
    minutes = 1
    events = detected(emg(replace(REST, mains_uv=mains_uv), 60 * minutes, seed=5)[0])
    assert len(of(events, Twitch)) < 0.5 * minutes * len(STREAM.channels)
    observed_s, analysable_s = account(events)
    assert (analysable_s > 0.95 * observed_s).all()


def test_a_contraction_is_voluntary():
    """Most of every contraction is said to be one, and few of its discharges are called twitches."""
    counts, _, intervals = emg(replace(REST, voluntary_per_min=6, voluntary_s=4), 60, seed=2)
    events = detected(counts)
    contractions = [i for i in intervals if i.kind is IntervalKind.VOLUNTARY and i.onset_s + i.duration_s < 59]
    assert len(contractions) >= 3
    said = [contexts(events, State.VOLUNTARY, site) for site in STREAM.channels]
    for interval in contractions:
        start, stop = interval.onset_s, interval.onset_s + interval.duration_s
        assert max(covered(spans, start, stop) for spans in said) > 0.6
    inside_s = sum(interval.duration_s for interval in contractions)
    assert len(of(events, Twitch)) < 0.2 * inside_s


@pytest.mark.parametrize("line", ["flat", "hum"])
def test_a_lost_electrode_is_bad_contact(line):
    """A line without noise, or one full of mains: the channel says so within a second, the other does not."""
    counts = as_counts(quiet(40))
    hum = 400 * np.sin(2 * np.pi * 50 * np.arange(15_000) / RATE_HZ) + 10 * quiet(15)[0]
    counts[0, 20_000:35_000] = 0 if line == "flat" else as_counts(hum)
    events = detected(counts)
    assert covered(contexts(events, State.BAD_CONTACT), 21, 34.5) > 0.95
    assert covered(contexts(events, State.BAD_CONTACT), 2, 19) == 0
    assert covered(contexts(events, State.BAD_CONTACT, "calf"), 2, 39) == 0
    analysable_s = account(events)[1]
    assert analysable_s[0] < 27
    assert analysable_s[1] > 38
    assert not [t for t in of(events, Twitch) if t.channel == "FDI"]


def test_lift_offs_of_an_arm_are_bad_contact():
    """Whichever way an electrode is lost, most of the time is said, and none of it is called twitches."""
    counts, _, intervals = emg(replace(REST, lift_off_per_hour=100), 80, seed=4)
    events = detected(counts)
    offs = [i for i in intervals if i.kind is IntervalKind.LIFT_OFF and i.onset_s > 5]
    assert offs
    for off in offs:
        start, stop = off.onset_s + 1, min(off.onset_s + off.duration_s, 80) - 0.5
        assert covered(contexts(events, State.BAD_CONTACT, STREAM.channels[off.channel]), start, stop) > 0.8
    assert len(of(events, Twitch)) <= 2


def test_a_movement_is_an_artefact():
    """Steps of millivolts that swing back: said to be artefacts, not twitches."""
    counts, _, intervals = emg(replace(REST, movement_per_min=10, movement_uv=3000), 60, seed=6)
    events = detected(counts)
    moves = [i for i in intervals if i.onset_s > 3 and i.onset_s < 58]
    assert len(moves) >= 6
    said = [span for site in STREAM.channels for span in contexts(events, State.ARTEFACT, site)]
    near = [m for m in moves if any(a - 0.5 <= m.onset_s <= b + 0.5 for a, b in said)]
    assert len(near) >= 0.7 * len(moves)
    assert len(of(events, Twitch)) <= 0.2 * len(moves)


# ── the account ──


def test_observed_and_gaps_are_the_wall_time(busy):
    """Stretches are in order, overlap nowhere, cover all but the long gaps; observed time is what was received."""
    counts = busy[0]
    accounts = of(detected(counts, LOST), Analysed)
    for before, after in itertools.pairwise(accounts):
        assert before.end_ns <= after.start_ns
    missing = sum(stop - first for first, stop in LOST)
    observed_s = sum(a.observed_s for a in accounts)
    assert observed_s + missing / RATE_HZ == pytest.approx(counts.shape[1] / RATE_HZ, abs=1e-9)
    spanned_s = sum(a.end_ns - a.start_ns for a in accounts) * 1e-9
    assert spanned_s == pytest.approx(20 - 3.5, abs=1e-6)  # bridged gaps are within


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_analysable_time_is_never_more_than_observed_time(seed):
    """In every stretch and channel, whatever happens and is lost."""
    rng = np.random.default_rng(seed)
    counts = emg(BUSY, 8, seed=seed)[0]
    edges = np.sort(rng.choice(8000, 8, replace=False)).reshape(-1, 2)
    events = detected(counts, [tuple(span) for span in edges.tolist()])
    for stretch in of(events, Analysed):
        assert len(stretch.analysable_s) == len(STREAM.channels)
        assert all(0 <= a <= stretch.observed_s + 1e-12 for a in stretch.analysable_s)
        assert stretch.observed_s <= (stretch.end_ns - stretch.start_ns) * 1e-9 + 1e-9
    assert account(events)[0] == pytest.approx(8 - (edges[:, 1] - edges[:, 0]).sum() / RATE_HZ)


def test_a_context_and_analysable_time_exclude_each_other():
    """What is in no context is analysable, to a tick, and what is in one is not."""
    counts = emg(replace(BUSY, lift_off_per_hour=0), 30, seed=8)[0]
    events = detected(counts)
    for channel, site in enumerate(STREAM.channels):
        said_s = sum(c.duration_s for c in of(events, Context) if c.channel == site)
        assert account(events)[1][channel] + said_s == pytest.approx(30, abs=1e-3)


def test_no_event_is_said_of_time_that_was_final():
    """What `Analysed` has closed stays closed: events of a feed are not before the stretches of earlier feeds."""
    counts = emg(BUSY, 20, seed=9)[0]
    detector = Detector(STREAM)
    final_ns = 0
    for first in range(0, 20_000, 500):
        events = detector.feed(block(counts, first, first + 500))
        for twitch in of(events, Twitch):
            assert twitch.onset_ns >= final_ns
        final_ns = max([final_ns, *(a.end_ns for a in of(events, Analysed))])
    assert final_ns > TIMEBASE.at(17_000)


def test_events_come_within_two_seconds():
    """The latency of a twitch is bounded: it can be shown live."""
    counts = as_counts(planted(12, [6.0]))
    detector = Detector(STREAM)
    for first in range(0, 12_000, 100):
        if of(detector.feed(block(counts, first, first + 100)), Twitch):
            assert first + 100 < 8_000
            return
    pytest.fail("not found")


# ── gaps ──


def test_a_twitch_beside_a_gap_is_still_found():
    """A gap of a packet, of half a second and of an hour: twitches 0.7 s before and after are there."""
    onsets_s = [6.3, 7.8, 12.3, 14.3, 20.3, 24.3]
    lost = [(7_000, 7_058), (13_000, 13_500), (21_000, 23_000)]
    found = of(detected(as_counts(planted(30, onsets_s)), lost), Twitch)
    np.testing.assert_allclose([seconds_of(t) for t in found], onsets_s, atol=0.003)


def test_the_edges_of_a_gap_are_no_twitches():
    """Lost packets on a drifting baseline with hum leave no report."""
    counts = emg(replace(REST, mains_uv=20), 60, seed=10)[0] + (np.arange(60_000) // 10).astype(np.int16)
    rng = np.random.default_rng(1)
    starts = np.arange(5_000, 58_000, 1_500)
    lost = [(int(s), int(s + rng.choice([58, 116, 240, 260, 700]))) for s in starts]
    assert len(of(detected(counts, lost), Twitch)) <= 1


def test_the_noise_floor_survives_a_gap():
    """Right after ten minutes without samples a twitch is found, and it is measured by the floor of before."""
    counts = as_counts(planted(20, [5.0, 10.4]))
    detector = Detector(STREAM)
    events = detector.feed(block(counts, 0, 10_000))
    before = detector.noise.copy()
    later = SampleBlock(STREAM, 610_000, TIMEBASE, counts[:, 10_000:11_200])
    events += detector.feed(later) + detector.finish()
    np.testing.assert_allclose(detector.noise, before, rtol=0.1)
    first, second = of(events, Twitch)
    assert seconds_of(second) == pytest.approx(610.4, abs=0.003)
    assert second.snr == pytest.approx(first.snr, rel=0.15)
    assert account(events)[1][0] > 10.5


def test_an_index_that_runs_backwards_is_a_new_stretch():
    """A device that counts from zero again loses nothing of either stretch."""
    counts = as_counts(planted(10, [5.0]))
    detector = Detector(STREAM)
    events = detector.feed(block(counts, 0, 10_000))
    again = Timebase(0, START_NS + 100 * SECOND, 1e6)
    events += detector.feed(SampleBlock(STREAM, 0, again, counts)) + detector.finish()
    assert [seconds_of(t) for t in of(events, Twitch)] == pytest.approx([5, 105], abs=0.003)
    assert account(events)[0] == pytest.approx(20)


# ── what is no twitch ──


def test_a_heart_is_no_series_of_twitches_and_twitches_between_its_beats_are():
    """From the fourth beat on; what it covers is said and not counted as analysable."""
    beats_s = 1 + 0.85 * np.arange(70) + 0.02 * np.sin(np.arange(70))
    twitches_s = beats_s[10:60:5] + 0.4
    x = planted(62, beats_s, (80, 80))
    for onset_s in twitches_s:
        t = (np.arange(x.shape[1]) / RATE_HZ - onset_s) / 0.005
        x[0] += 60 * t * np.exp(-np.maximum(t, 0)) * (t > 0) * (t < 8)
    events = detected(as_counts(x))
    found = np.array([seconds_of(t) for t in of(events, Twitch)])
    late = found[found > beats_s[4]]
    np.testing.assert_allclose(late, twitches_s, atol=0.01)
    spans = contexts(events, State.ARTEFACT)
    assert all(covered(spans, b, b + 0.012) > 0.99 for b in beats_s[4:-1])
    observed_s, analysable_s = account(events)
    assert observed_s - analysable_s[0] == pytest.approx(0.1 * 67, rel=0.25)


def test_a_heart_is_known_behind_a_gap():
    """Its beats are said again at once and where they are, and no time is lost to those from before the gap."""
    beats_s = 1 + 0.85 * np.arange(70) + 0.02 * np.sin(np.arange(70))
    lost = [(10_050, 10_950), (20_000, 21_000), (30_050, 30_950), (40_000, 41_000)]
    events = detected(as_counts(planted(62, beats_s, (80, 80))), lost)
    assert all(seconds_of(t) < beats_s[4] for t in of(events, Twitch))
    spans = contexts(events, State.ARTEFACT)
    heard = [b for b in beats_s[4:-1] if not any(a / 1000 - 0.08 < b < z / 1000 + 0.08 for a, z in lost)]
    assert all(covered(spans, b, b + 0.012) > 0.99 for b in heard)
    observed_s, analysable_s = account(events)
    said_s = sum(b - a for a, b in (*spans, *contexts(events, State.BAD_CONTACT)))
    assert observed_s - analysable_s[0] == pytest.approx(said_s, abs=0.1)


@pytest.mark.parametrize("alike", [True, False])
def test_what_all_of_a_far_apart_montage_shows_at_once_is_an_artefact(alike):
    """The same on all of four channels; a twitch that three of them hardly see is one."""
    stream = replace(STREAM, channels=("a", "b", "c", "d"))
    x = np.random.default_rng(2).normal(0, 2, (4, 20_000))
    size_uv = np.array([200, 200, 200, 200] if alike else [200, 30, 30, 30])
    for onset_s in (5, 8.3, 11.1, 15.2):
        t = (np.arange(20_000) / RATE_HZ - onset_s - 0.006) / 0.002
        x += size_uv[:, None] / 2 * t * np.exp(0.5 - t * t / 2) * (np.abs(t) < 3)
    events = detected(as_counts(x), stream=stream)
    assert len(of(events, Twitch)) == (0 if alike else 4)
    assert len(contexts(events, State.ARTEFACT, "a")) == (4 if alike else 0)


def test_the_pop_of_a_cable_is_an_artefact():
    """A step that comes at once and goes away slowly looks like a potential behind a high-pass."""
    x = quiet(40)
    for onset_s in np.arange(3.1, 38, 2.7):
        t = np.arange(x.shape[1]) / RATE_HZ - onset_s
        x[0] += 1000 * np.exp(-np.maximum(t, 0) / 0.4) * (t >= 0)
    events = detected(as_counts(x))
    assert len(of(events, Twitch)) <= 1
    assert len(contexts(events, State.ARTEFACT)) >= 12
    assert sum(b - a for a, b in contexts(events, State.ARTEFACT)) < 0.5 * 13


def test_the_wake_of_a_large_potential_is_part_of_it():
    """A tenth of its size 60 ms later is said neither on its own nor as a doublet."""
    x = planted(30, np.arange(4, 28, 1.7) + np.linspace(0, 0.4, 15), (400, 400))
    x += planted(30, np.arange(4.06, 28, 1.7) + np.linspace(0, 0.4, 15), (40, 40), seed=3) - quiet(30, seed=3)
    found = of(detected(as_counts(x)), Twitch)
    assert len(found) == 15
    assert all(t.follows_s is None for t in found)


def test_a_muscle_at_work_throughout_is_voluntary():
    """Though its own noise is all that was ever heard; of its discharges no more than 3 a minute are reported."""
    settings = replace(REST, voluntary_per_min=0)
    rng = np.random.default_rng(1)
    x = emg(settings, 40)[0] * STREAM.scale
    shape = planted(0.06, [0.02], (200, 200))[0] - quiet(0.06)[0]
    for channel in range(2):
        for at in np.flatnonzero(rng.random(x.shape[1] - 60) < 0.05):
            x[channel, at : at + 60] += rng.choice([-1, 1]) * rng.lognormal(-1.5, 1) * shape
    events = detected(as_counts(x))
    assert len(of(events, Twitch)) <= 2
    assert covered(contexts(events, State.VOLUNTARY), 2, 40) > 0.95


@pytest.mark.parametrize("rate_hz", [2000.0, 5000.0])
def test_a_faster_stream_says_the_same(rate_hz):
    """The same skin sampled faster: the same twitches, a sample apart at most, and the same time accounted for."""
    onsets_s = np.arange(5, 20, 1.5) + np.linspace(0, 0.3, 10)
    slow_uv = planted(22, onsets_s, (60, 0))
    factor = round(rate_hz / RATE_HZ)
    fast_uv = resample_poly(slow_uv, factor, 1, axis=1)
    fast = SampleBlock(
        replace(STREAM, rate_hz=rate_hz), 0, Timebase(0, START_NS, 1e9 / rate_hz), as_counts(fast_uv)
    )
    detector = Detector(fast.stream)
    events = detector.feed(fast) + detector.finish()
    found = [seconds_of(t) for t in of(events, Twitch)]
    np.testing.assert_allclose(
        found, [seconds_of(t) for t in of(detected(as_counts(slow_uv)), Twitch)], atol=0.003
    )
    np.testing.assert_allclose(account(events)[0], 22.0, atol=0.01)
