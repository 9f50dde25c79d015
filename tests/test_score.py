"""The score: one report a twitch, what counts when and where, and marks that cannot be read."""

import json
from pathlib import Path

import numpy as np
import pytest
from edfio import Edf, EdfAnnotation, EdfSignal
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_interface.samples import Sensor, Stream, Unit
from monitor.detection.events import Context, State
from monitor.detection.settings import DetectorSettings
from monitor.recording import read
from monitor.recording.edf import read_annotations
from monitor.score import Truth, TruthError, compare, marked, match, read_truth, scored, truth_of, wilson

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
EMG = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 1.0, 1000.0, ("FDI",))
PAIR = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 1.0, 1000.0, ("FDI", "calf"))
ACC = Stream("acc", Sensor.ACC, Unit.G, 1.0, 100.0, ("x", "y", "z"))
HEAD = "kind,onset_s,duration_s\n"


def spans(*pairs):
    return np.array(pairs, float).reshape(-1, 2)


def context(state, start_s, duration_s, channel="FDI"):
    return Context(state, channel, round(start_s * 1e9), duration_s)


def judged(reports, marks, contexts=(), streams=(EMG,), seconds=60.0):
    return compare(spans(*reports), contexts, truth_of(marks), seconds, streams)


# Matching


def pairs_of(reports, twitches, tolerance_s=0.01):
    return sorted(map(tuple, match(spans(*reports), spans(*twitches), tolerance_s).tolist()))


def test_overlap_within_the_tolerance_is_a_match():
    assert pairs_of([(1.029, 1.03)], [(1.0, 1.02)]) == [(0, 0)]


def test_beyond_the_tolerance_is_none():
    assert pairs_of([(1.031, 1.04)], [(1.0, 1.02)]) == []
    assert pairs_of([(0.97, 0.989)], [(1.0, 1.02)]) == []


def test_a_twitch_without_duration_can_be_matched():
    assert pairs_of([(1.005, 1.01)], [(1.0, 1.0)]) == [(0, 0)]


def test_the_better_of_two_reports_is_the_match():
    assert pairs_of([(0.995, 1.0), (1.001, 1.02)], [(1.0, 1.02)]) == [(1, 0)]


def test_as_many_pairs_as_can_be_even_if_a_nearer_one_is_given_up():
    """The second report suits the first twitch better, but the first report has no other."""
    assert pairs_of([(0.98, 0.995), (1.0, 1.05)], [(1.0, 1.01), (1.04, 1.06)]) == [(0, 0), (1, 1)]


def test_doublets_are_two():
    assert pairs_of([(1.0, 1.01), (1.03, 1.04)], [(1.0, 1.012), (1.03, 1.042)]) == [(0, 0), (1, 1)]


def test_a_long_twitch_does_not_hide_those_after_it():
    assert pairs_of([(5.0, 5.01)], [(1.0, 6.0), (2.0, 2.01), (5.0, 5.01)]) == [(0, 2)]


# In steps of 7 ms, so that none lies at the tolerance of 10 ms, where rounding decides.
intervals = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 12)), max_size=7).map(
    lambda pairs: sorted((a * 0.007, (a + d) * 0.007) for a, d in pairs)
)


def most(near, row=0, taken=frozenset()):
    """The size of the largest matching, by trying everything."""
    if row == len(near):
        return 0
    options = [
        1 + most(near, row + 1, taken | {j}) for j in range(len(near[0])) if near[row][j] and j not in taken
    ]
    return max([most(near, row + 1, taken), *options])


@settings(deadline=None)
@given(intervals, intervals)
def test_matching_is_one_to_one_valid_and_as_large_as_can_be(reports, twitches):
    pairs = pairs_of(reports, twitches)
    near = [[a <= d + 0.01 and b >= c - 0.01 for c, d in twitches] for a, b in reports]
    assert all(near[i][j] for i, j in pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert len(pairs) == (most(near) if reports and twitches else 0)


# Counting


def test_hits_misses_and_false_positives():
    marks = [("twitch", 1, 0.02), ("twitch", 2, 0.02), ("other", 3, 1)]
    s = judged([(1.004, 1.02), (1.021, 1.03), (3.0, 3.01)], marks)
    assert (s.found, s.twitches, s.false_positives, s.reported) == (1, 2, 2, 3)
    assert s.recall == 0.5
    assert s.false_per_min == pytest.approx(2)
    assert s.onset_bias_s == pytest.approx(0.004)


def test_a_report_longer_than_a_twitch_can_be_is_none():
    marks = [("twitch", 1, 0.02)]
    assert judged([(1.0, 1.26)], marks).reported == 0
    assert judged([(1.0, 1.26)], marks, streams=(ACC,)).found == 1
    assert judged([(1.0, 1.51)], marks, streams=(ACC,)).reported == 0


def test_acceleration_has_the_wider_tolerance():
    reports, marks = [(1.06, 1.1)], [("twitch", 1, 0.02)]
    assert judged(reports, marks).found == 0
    assert judged(reports, marks, streams=(ACC,)).found == 1


def test_recall_stands_over_all_and_over_analysable_time():
    marks = [("twitch", 1, 0.02), ("twitch", 31, 0.02), ("twitch", 41, 0.02)]
    s = judged([(1.0, 1.02)], marks, [context(State.BAD_CONTACT, 30, 9)])
    assert s.recall == pytest.approx(1 / 3)
    assert s.recall_analysable == 0.5
    assert s.analysable_share == pytest.approx(51 / 60)


def test_contexts_that_overlap_are_not_counted_twice():
    contexts = [context(State.VOLUNTARY, 10, 10), context(State.ARTEFACT, 15, 10), context(State.ARTEFACT, 16, 1)]
    assert judged([], [], contexts).analysable_min == pytest.approx(45 / 60)


def test_gaps_are_not_recorded_time():
    s = judged([(1, 1.01)], [], [context(State.GAP, 30, 30)])
    assert s.recorded_min == pytest.approx(0.5)
    assert s.analysable_share == 1.0
    assert s.false_per_min == pytest.approx(2)


def test_nothing_analysable_gives_no_rate_rather_than_zero():
    s = judged([], [("twitch", 1, 0.02)], [context(State.BAD_CONTACT, 0, 60)])
    assert s.recall == 0
    assert s.recall_analysable is None
    assert s.false_per_analysable_min is None


def test_minutes_are_summed_over_channels():
    s = judged([(1, 1.01)], [], [context(State.ARTEFACT, 0, 30, "calf")], streams=(PAIR,))
    assert (s.sites, s.recorded_min, s.analysable_share) == (2, 2.0, pytest.approx(0.75))


def test_the_axes_of_an_accelerometer_are_one_site():
    assert judged([], [], streams=(ACC,)).recorded_min == 1.0


def test_a_twitch_is_analysable_while_one_channel_is():
    marks = [("twitch", 1, 0.02)]
    one = [context(State.ARTEFACT, 0, 30, "calf")]
    assert judged([], marks, one, streams=(PAIR,)).twitches_analysable == 1
    both = [*one, context(State.ARTEFACT, 0, 30)]
    assert judged([], marks, both, streams=(PAIR,)).twitches_analysable == 0


def test_false_positives_count_inside_quiet_windows_only():
    marks = [("quiet", 10, 5), ("quiet", 20, 5), ("twitch", 11, 0.02), ("twitch", 50, 0.02)]
    s = judged([(11, 11.01), (12, 12.01), (30, 30.01), (50, 50.01)], marks, [context(State.ARTEFACT, 0, 12.5)])
    assert (s.found, s.false_positives) == (2, 1)
    assert s.recorded_min == pytest.approx(10 / 60)
    assert s.analysable_share == pytest.approx(0.75)


def test_a_contraction_is_hit_by_a_false_report_but_not_by_a_true_one():
    marks = [("voluntary", 10, 2), ("voluntary", 20, 2), ("voluntary", 30, 2), ("twitch", 11, 0.02)]
    s = judged([(11, 11.02), (21, 21.01), (21.5, 21.51)], marks)
    assert (s.bursts, s.bursts_hit) == (3, 1)


def test_the_share_of_contraction_time_that_was_said():
    marks = [("voluntary", 10, 4)]
    said = [context(State.VOLUNTARY, 9, 2), context(State.ARTEFACT, 11, 2), context(State.VOLUNTARY, 13, 9)]
    assert judged([], marks, said).voluntary_share == pytest.approx(0.5)
    assert judged([], marks, said, streams=(PAIR,)).voluntary_share == pytest.approx(0.25)


def test_wilson_intervals():
    assert wilson(30, 30) == pytest.approx((0.8865, 1.0), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 0) is None


def test_all_of_it_goes_through_json_and_onto_a_screen():
    for s in (judged([], []), judged([(1, 1.01)], [("twitch", 1, 0.02), ("voluntary", 3, 1)])):
        assert json.loads(json.dumps(s.fields()))["reported"] == s.reported
        assert all(name and text for name, text in s.rows())


# Marks


def written(tmp_path, text):
    path = tmp_path / "marks.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_marks_from_csv_by_the_names_of_columns(tmp_path):
    text = "note,duration_s,Onset_s,kind\n,0.02,2,Twitch\n\nx,5,1,quiet\n,1,7,contraction\n,1,7,cough\n"
    truth = read_truth(written(tmp_path, text))
    assert truth.twitches.tolist() == [[2, 2.02]]
    assert truth.quiet.tolist() == [[1, 6]]
    assert truth.voluntary.tolist() == [[7, 8]]


@pytest.mark.parametrize("text", ["\ufeff" + HEAD + "twitch,1,0.5\n", "kind;onset_s;duration_s\ntwitch;1;0.5\n"])
def test_marks_as_a_spreadsheet_writes_them(tmp_path, text):
    assert read_truth(written(tmp_path, text)).twitches.tolist() == [[1, 1.5]]


def test_marks_out_of_order_are_put_in_order(tmp_path):
    truth = read_truth(written(tmp_path, HEAD + "twitch,5,0\ntwitch,1,0\n"))
    assert truth.twitches[:, 0].tolist() == [1, 5]


def test_a_truth_without_marks_is_one(tmp_path):
    assert not len(read_truth(written(tmp_path, HEAD)).twitches)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "nothing"),
        ("time,what\n1,x\n", "time, what"),
        (HEAD + "twitch,one,0.1\n", "line 2 has 'one'"),
        (HEAD + "twitch,1,0\ntwitch,1\n", "line 3"),
        (HEAD + "twitch,-1,0.1\n", "'-1'"),
        (HEAD + "twitch,nan,0.1\n", "'nan'"),
        (HEAD + "twitch,1,inf\n", "'inf'"),
        (b"\xff\xfe\x00k", "no text"),
    ],
)
def test_marks_that_cannot_be_read(tmp_path, text, says):
    with pytest.raises(TruthError, match=r"marks\.csv") as caught:
        read_truth(written(tmp_path, text))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_marks_that_are_not_there(tmp_path):
    with pytest.raises(TruthError, match="No such file"):
        read_truth(tmp_path / "marks.csv")


def edf(tmp_path, *annotations, seconds=90):
    counts = np.zeros(seconds * 100, np.int16)
    signal = EdfSignal.from_digital(counts, 100, label="FDI", physical_dimension="uV", digital_range=(-9, 9))
    path = tmp_path / "marked.edf"
    Edf([signal], data_record_duration=1, annotations=annotations or None).write(path)
    return path


def test_annotations_are_read_over_many_windows(tmp_path):
    texts = [EdfAnnotation(t, 0.5, f"at {t}") for t in (0.25, 13, 61.5, 88)]
    path = edf(tmp_path, *texts)
    whole = [(a.text, a.onset, a.duration) for a in texts]
    for seconds in (7, 60, 1000):
        read_back = read_annotations(path, seconds)
        assert [(text, duration_s) for text, _, duration_s in read_back] == [(t, d) for t, _, d in whole]
        assert [onset_s for _, onset_s, _ in read_back] == pytest.approx([onset_s for _, onset_s, _ in whole])
    assert read_annotations(edf(tmp_path)) == []


def test_marks_from_the_recording_itself(tmp_path):
    path = edf(tmp_path, EdfAnnotation(3, 0.02, "Fasciculation"), EdfAnnotation(5, None, "note"))
    assert marked(read(path)).twitches.tolist() == [[3, 3.02]]
    with pytest.raises(TruthError, match="no annotation"):
        marked(read(edf(tmp_path, EdfAnnotation(5, None, "note"))))
    with pytest.raises(TruthError, match="--truth"):
        marked(read(edf(tmp_path)))


# The whole way


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is absent")
def test_evoked_twitches_against_the_marks_of_a_person():
    truth = read_truth(DATA / "evoked_rest_1000hz.truth.csv")
    assert isinstance(truth, Truth)
    (s,) = scored(read(DATA / "evoked_rest_1000hz.edf"), truth, DetectorSettings())
    assert (s.sensor, s.twitches) == (Sensor.EMG, 30)
    assert s.found >= 27
    assert s.recorded_min == pytest.approx(1.0)
    assert s.onset_bias_s is not None
    assert abs(s.onset_bias_s) < 0.003
