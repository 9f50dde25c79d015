"""Recordings: the numbers, units, times and gaps in a file, and one line for a file that is broken."""

import itertools
import logging
import sys
from datetime import datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from edfio import Bdf, BdfSignal, Edf, EdfAnnotation, EdfSignal, Patient, Recording, read_edf
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_interface.samples import Gap, GapReason, SampleBlock, Sensor, Unit
from monitor.recording import RecordingError, read
from monitor.recording.channels import Claim, Wanted, group
from monitor.recording.contents import numbered

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
RNG = np.random.default_rng(1)


def ramp(n, start=0):
    return np.arange(start, start + n, dtype=np.int16)


def signal(digital, rate, **fields):
    kind = EdfSignal if digital.dtype == np.int16 else BdfSignal
    return kind.from_digital(digital, rate, **fields)


def write(path, *signals, **fields):
    kind = Edf if isinstance(signals[0], EdfSignal) else Bdf
    kind(signals, data_record_duration=1, **fields).write(path)
    return path


def patch(path, at, text):
    data = bytearray(path.read_bytes())
    data[at : at + len(text)] = text
    path.write_bytes(data)
    return path


def joined(recording, seconds=10.0):
    """Physical samples of each stream by name, gaps left out; order and numbering are checked on the way."""
    parts, ends, starts = {s.name: [] for s in recording.streams}, {}, []
    for piece in recording.blocks(seconds):
        starts.append(piece.start_ns)
        name = piece.stream.name
        if isinstance(piece, Gap):
            ends[name] = ends.get(name, 0) + piece.missing
        else:
            assert piece.first == ends.get(name, 0)
            assert piece.counts.shape[0] == len(piece.stream.channels)
            ends[name] = piece.first + piece.length
            parts[name].append(piece.physical)
    assert starts == sorted(starts)
    return {name: np.concatenate(blocks, axis=1) for name, blocks in parts.items()}


def gaps(recording):
    return [piece for piece in recording.blocks() if isinstance(piece, Gap)]


def refused(path, *words, **wanted):
    with pytest.raises(RecordingError) as caught:
        list(read(path, **wanted).blocks())
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.remedy
    for word in words:
        assert word in message
    return caught.value


# --- EDF and BDF


def test_edf_keeps_the_files_integers(tmp_path):
    """Where one factor calibrates a stream, its counts are the file's own numbers."""
    digital = ramp(500, -250)
    path = write(tmp_path / "a.edf", signal(digital, 100, label="FDI", physical_dimension="uV"))
    (block,) = read(path).blocks()
    assert block.counts.dtype == np.int16
    np.testing.assert_array_equal(block.counts, [digital])
    assert (block.first, block.start_ns, block.end_ns) == (0, 0, 5_000_000_000)
    assert block.stream.scale == 1.0


def test_edf_physical_values_are_edfios(tmp_path):
    """Gains and offsets that differ between channels are applied bit for bit as edfio applies them."""
    ranges = [(-105.95, 105.95), (-2.60877, 2.60877), (10, -10)]
    signals = [
        signal(ramp(300, -150), 100, label=f"c{i}", physical_dimension="uV", physical_range=r)
        for i, r in enumerate(ranges)
    ]
    path = write(tmp_path / "a.edf", *signals)
    expected = [s.data for s in read_edf(path).signals]
    np.testing.assert_array_equal(joined(read(path))["emg"], expected)


def test_bdf_keeps_24_bits(tmp_path):
    digital = np.array([-8388608, -1, 0, 1, 8388607, 70000] * 50, np.int32)
    path = write(tmp_path / "a.bdf", signal(digital, 100, physical_dimension="mV"))
    (block,) = read(path).blocks()
    assert block.stream.unit is Unit.MILLIVOLT
    np.testing.assert_array_equal(block.counts, [digital])


@pytest.mark.parametrize("seconds", [0.001, 1, 2.5, 1000])
def test_cutting_changes_nothing(tmp_path, seconds):
    digital = RNG.integers(-1000, 1000, (2, 700)).astype(np.int16)
    path = write(tmp_path / "a.edf", *(signal(d, 100, label=f"c{i}") for i, d in enumerate(digital)))
    recording = read(path)
    np.testing.assert_array_equal(joined(recording, seconds)["emg"], digital)
    assert max(block.length for block in recording.blocks(seconds)) <= max(100, seconds * 100)


def test_streams_by_rate_unit_and_sensor(tmp_path):
    path = write(
        tmp_path / "a.edf",
        signal(ramp(2000), 1000, label="FDI", physical_dimension="uV"),
        signal(ramp(200), 100, label="x", physical_dimension="g"),
        signal(ramp(2000), 1000, label="biceps", physical_dimension="uV"),
        signal(ramp(2000), 1000, label="my EKG", physical_dimension="uV"),
        signal(ramp(1000), 500, label="slow", physical_dimension="uV"),
        signal(ramp(200), 100, label="Acc Y"),
    )
    streams = read(path).streams
    assert [(s.name, s.sensor, s.unit, s.rate_hz, s.channels) for s in streams] == [
        ("emg", Sensor.EMG, Unit.MICROVOLT, 1000, ("FDI", "biceps")),
        ("acc", Sensor.ACC, Unit.G, 100, ("x",)),
        ("ecg", Sensor.ECG, Unit.MICROVOLT, 1000, ("my EKG",)),
        ("emg2", Sensor.EMG, Unit.MICROVOLT, 500, ("slow",)),
        ("acc2", Sensor.ACC, Unit.COUNT, 100, ("Acc Y",)),
    ]
    assert {name: x.shape for name, x in joined(read(path)).items()} == {
        "emg": (2, 2000),
        "acc": (1, 200),
        "ecg": (1, 2000),
        "emg2": (1, 1000),
        "acc2": (1, 200),
    }


@pytest.mark.parametrize(
    ("raw", "unit", "scale"),
    [
        (b"uV", Unit.MICROVOLT, 1),
        (b"UV", Unit.MICROVOLT, 1),
        ("µV".encode(), Unit.MICROVOLT, 1),
        ("μV".encode(), Unit.MICROVOLT, 1),
        ("µV".encode("latin-1"), Unit.MICROVOLT, 1),
        (b"uV\0\0", Unit.MICROVOLT, 1),
        (b"mV", Unit.MILLIVOLT, 1),
        (b"V", Unit.MILLIVOLT, 1000),
        (b"G", Unit.G, 1),
        (b"mg", Unit.G, 0.001),
        (b"m/s^2", Unit.METRE_PER_SECOND_SQUARED, 1),
        (b"m/s2", Unit.METRE_PER_SECOND_SQUARED, 1),
        ("m/s²".encode("latin-1"), Unit.METRE_PER_SECOND_SQUARED, 1),
        (b"", Unit.COUNT, 1),
        (b"count", Unit.COUNT, 1),
    ],
)
def test_units_as_people_write_them(tmp_path, raw, unit, scale):
    path = patch(write(tmp_path / "a.edf", signal(ramp(100), 100)), 256 + 16 + 80, raw.ljust(8))
    (stream,) = read(path).streams
    assert (stream.unit, stream.scale) == (unit, scale)


def test_channel_in_another_unit_is_left_out_with_a_note(tmp_path):
    path = write(
        tmp_path / "a.edf",
        signal(ramp(100), 100, label="skin", physical_dimension="degC"),
        signal(ramp(100), 100, label="FDI", physical_dimension="uV"),
    )
    recording = read(path)
    assert [s.channels for s in recording.streams] == [("FDI",)]
    assert recording.notes == ("channel 'skin': unit 'degC' is not one that can be read; left out",)
    assert [s.channels for s in read(path, unit=Unit.MILLIVOLT).streams] == [("FDI",)]


def test_no_readable_unit_is_refused_unless_named(tmp_path):
    path = write(tmp_path / "a.edf", signal(ramp(100), 100, physical_dimension="degC"))
    assert "--unit" in refused(path, "'degC'").remedy
    assert read(path, unit=Unit.MICROVOLT).streams[0].unit is Unit.MICROVOLT


def test_what_the_person_says_outweighs_the_file(tmp_path):
    """But does not turn an accelerometer into a muscle."""
    path = write(
        tmp_path / "a.edf",
        signal(ramp(100), 100, label="raw"),
        signal(ramp(100), 100, label="x", physical_dimension="g"),
    )
    emg, acc = read(path, unit=Unit.MICROVOLT, sensor=Sensor.ECG).streams
    assert (emg.unit, emg.sensor) == (Unit.MICROVOLT, Sensor.ECG)
    assert (acc.unit, acc.sensor) == (Unit.G, Sensor.ACC)


def test_a_unit_that_no_channel_can_be_in_is_refused(tmp_path):
    """It would be ignored otherwise."""
    path = write(tmp_path / "a.edf", signal(ramp(100), 100, physical_dimension="uV"))
    assert "--unit" in refused(path, "in uV, which cannot be g", unit=Unit.G).remedy
    refused(path, "cannot be deg/s", unit=Unit.DEGREE_PER_SECOND)
    for unit in (Unit.MICROVOLT, Unit.MILLIVOLT, Unit.COUNT):
        assert read(path, unit=unit).streams[0].unit is unit


def test_labels_become_unique_and_printable(tmp_path):
    labels = ["EMG", "EMG 2", "EMG", "", "EMG"]
    path = write(tmp_path / "a.edf", *(signal(ramp(100), 100, label=label) for label in labels))
    patch(path, 256 + 16, b"EMG\x1b[2J")
    assert read(path).streams[0].channels == ("EMG", "EMG?[2J", "EMG 2", "channel 4", "EMG 3")


def test_annotations_are_no_signal(tmp_path):
    path = tmp_path / "a.edf"
    write(path, signal(ramp(300), 100, label="FDI"), annotations=[EdfAnnotation(0.5, None, "cough")])
    recording = read(path)
    assert [s.channels for s in recording.streams] == [("FDI",)]
    np.testing.assert_array_equal(joined(recording)["emg"], [ramp(300)])


def test_start_is_the_files_local_time(tmp_path):
    started = datetime(2024, 5, 6, 7, 8, 9, 250000)  # noqa: DTZ001
    path = write(
        tmp_path / "a.edf",
        signal(ramp(100), 100),
        recording=Recording(startdate=started.date()),
        patient=Patient(),
        starttime=started.time(),
        annotations=[],
    )
    assert read(path).start == started
    assert read(patch(path, 168, b"99.99.99")).start is None


def test_unusable_calibration_gives_counts(tmp_path):
    """Microvolts are never invented."""
    path = write(tmp_path / "a.edf", signal(ramp(100), 100, label="FDI", physical_dimension="uV"))
    patch(path, 256 + 16 + 80 + 8, b"32767   ")  # physical minimum = maximum
    recording = read(path)
    assert recording.streams[0].unit is Unit.COUNT
    assert "read as counts" in recording.notes[0]
    np.testing.assert_array_equal(joined(recording)["emg"], [ramp(100)])


def test_file_cut_off_gives_its_whole_records(tmp_path):
    path = write(tmp_path / "a.edf", signal(ramp(1000), 100))
    path.write_bytes(path.read_bytes()[:-301])
    recording = read(path)
    assert recording.duration_s == 8
    assert recording.notes == (
        "the header promises 10 data records, the file holds 8",
        "the last data record was cut off; its 99 bytes are left out",
    )
    np.testing.assert_array_equal(joined(recording)["emg"], [ramp(800)])


def test_header_never_closed(tmp_path):
    path = patch(write(tmp_path / "a.edf", signal(ramp(300), 100)), 236, b"-1      ")
    assert read(path).duration_s == 3
    assert "never closed" in read(path).notes[0]


def test_file_that_shrinks_while_it_is_read(tmp_path):
    path = write(tmp_path / "a.edf", signal(ramp(300), 100))
    recording = read(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RecordingError, match="shorter"):
        list(recording.blocks())
    path.unlink()
    with pytest.raises(RecordingError, match="No such file"):
        list(recording.blocks())


def interrupted(path, onsets, *, bdf=False, slow=False):
    """Records of 1 s at the given onsets, as strings."""
    digital = np.arange(100 * len(onsets), dtype=np.int32 if bdf else np.int16)
    signals = [signal(digital, 100)]
    if slow:
        signals.append(signal(digital[::100].copy(), 1, label="slow"))
    write(path, *signals, annotations=[EdfAnnotation(0, None, "x" * 60)])
    width, samples = (3, 100 + slow) if bdf else (2, 100 + slow)
    data = path.read_bytes()
    header = 256 * (len(signals) + 2)
    size = (len(data) - header) // len(onsets)
    for i, onset in enumerate(onsets):
        tal = f"{onset}\x14\x14\0".encode().ljust(size - samples * width, b"\0")
        patch(path, header + i * size + samples * width, tal)
    return patch(path, 192, b"BDF+D" if bdf else b"EDF+D")


@pytest.mark.parametrize("bdf", [False, True])
def test_interruptions_are_gaps(tmp_path, bdf):
    path = interrupted(tmp_path / "a.edf", ["+0.5", "+1.5", "+7.503", "+8.503"], bdf=bdf)
    recording = read(path)
    before, gap, after = recording.blocks()
    assert (before.first, before.length, before.end_ns) == (0, 200, 2_000_000_000)
    assert gap.reason is GapReason.STOPPED
    assert (gap.start_ns, gap.end_ns, gap.missing, gap.exact) == (2_000_000_000, 7_003_000_000, 500, False)
    assert (after.first, after.length, after.start_ns) == (700, 200, 7_003_000_000)
    assert recording.duration_s == pytest.approx(9.003)
    np.testing.assert_array_equal(joined(recording)["emg"], [np.arange(400)])


def test_interruption_shorter_than_a_sample_of_a_slow_stream(tmp_path):
    path = interrupted(tmp_path / "a.edf", ["+0", "+1.2"], slow=True)
    fast, slow = gaps(read(path))
    assert (fast.missing, slow.missing) == (20, 0)
    assert slow.end_ns - slow.start_ns == 200_000_000


def test_interruptions_without_usable_times_are_refused(tmp_path):
    refused(interrupted(tmp_path / "a.edf", ["+0", "+2", "+1"]), "record 2", "before")
    refused(interrupted(tmp_path / "b.edf", ["+0", "later"]), "record 1")
    refused(patch(write(tmp_path / "c.edf", signal(ramp(200), 100)), 192, b"EDF+D"), "interruptions")


@pytest.mark.parametrize(
    ("at", "text", "word"),
    [
        (0, b"RIFFxxxx", "begins with"),
        (184, b"512 512 ", "no number"),
        (184, b"513     ", "do not agree"),
        (236, b"many    ", "number of records"),
        (236, b"-7      ", "number of records"),
        (244, b"0       ", "duration"),
        (244, b"nan     ", "duration"),
        (244, b"-1      ", "duration"),
        (244, b"1e-300  ", "Hz"),
        (244, b"1e300   ", "Hz"),
        (252, b"9999", "do not agree"),
        (252, b"-1  ", "number of signals"),
        (252, b"0   ", "number of signals"),
        (256 + 216, b"0       ", "samples a record"),
        (256 + 216, b"99999999", "no whole data record"),
        (256 + 216, b"ten     ", "samples a record"),
    ],
)
def test_damaged_header_is_one_line(tmp_path, at, text, word):
    refused(patch(write(tmp_path / "a.edf", signal(ramp(300), 100)), at, text), word, "a.edf")


@pytest.mark.parametrize("length", [1, 7, 100, 255, 256, 300, 511, 512, 600])
def test_cut_within_header_or_first_record(tmp_path, length):
    path = write(tmp_path / "a.edf", signal(ramp(300), 100))
    path.write_bytes(path.read_bytes()[:length])
    refused(path)


def only_recording_errors(path):
    """Reads `path` and its blocks; whatever it holds, a `RecordingError` is the only way to fail."""
    lines = []
    try:
        recording = read(path)
        lines += recording.notes
        for piece in itertools.islice(recording.blocks(), 50):
            if isinstance(piece, SampleBlock):
                assert np.isfinite(piece.physical).all()
    except RecordingError as error:
        lines.append(str(error))
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("name", ["plain.edf", "plus.edf", "interrupted.edf", "plain.bdf", "times.csv"])
def test_any_bytes_give_a_recording_or_a_recording_error(tmp_path, name):
    """Truncated and mutated at random, mostly in the header; the seed is fixed, so a failure repeats."""
    path, rng = tmp_path / name, np.random.default_rng(7)
    if name == "interrupted.edf":
        interrupted(path, ["+0", "+5", "+6"])
    elif name == "times.csv":
        path.write_text("# rate_hz: 100\ntime_s,a [uV],b [g]\n" + "".join(f"{i / 100},{i},1\n" for i in range(40)))
    else:
        digital = np.arange(40, dtype=np.int32 if name == "plain.bdf" else np.int16)
        notes = [EdfAnnotation(0, None, "x")] if name == "plus.edf" else None
        write(path, signal(digital, 10, physical_dimension="uV"), signal(digital, 10), annotations=notes)
    whole = path.read_bytes()
    for _ in range(300):
        data = bytearray(whole[: rng.integers(0, len(whole) + 1)] if rng.random() < 0.3 else whole)
        for at in rng.integers(0, max(1, len(data)), rng.integers(0, 6)):
            data[at : at + 1] = rng.choice([rng.bytes(1), b"9", b"-", b".", b" ", b"e", b"0"])
        path.write_bytes(data)
        only_recording_errors(path)


# --- which file


def test_path_that_is_no_recording(tmp_path):
    (tmp_path / "empty.edf").touch()
    (tmp_path / "folder.edf").mkdir()
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    refused(tmp_path / "empty.edf", "empty")
    refused(tmp_path / "folder.edf", "no such file")
    refused(tmp_path / "absent.edf", "no such file")
    refused(tmp_path / "a.wav", "'.wav'", ".edf, .bdf, .csv, .xdf")
    refused(tmp_path / "a", "''")


def test_suffix_may_be_upper_case(tmp_path):
    write(tmp_path / "a.edf", signal(ramp(100), 100)).rename(tmp_path / "A.EDF")
    assert read(tmp_path / "A.EDF").duration_s == 1


# --- CSV


def csv(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_times(tmp_path, delimiter):
    rows = ["time_s,biceps [uV],x [g]", *(f"{i / 250},{i}.5,{-i}" for i in range(100))]
    recording = read(csv(tmp_path, "\r\n".join(rows).replace(",", delimiter)))
    assert [(s.name, s.unit, s.rate_hz, s.channels) for s in recording.streams] == [
        ("emg", Unit.MICROVOLT, 250.0, ("biceps",)),
        ("acc", Unit.G, 250.0, ("x",)),
    ]
    assert recording.duration_s == 0.4
    signals = joined(recording, 0.1)
    np.testing.assert_array_equal(signals["emg"], [np.arange(100) + 0.5])
    np.testing.assert_array_equal(signals["acc"], [-np.arange(100)])


def test_csv_with_a_rate(tmp_path):
    recording = read(csv(tmp_path, "# made by hand\n# rate_hz: 1000\na [V],b [mV]\n1,2\n3,4\n"))
    (stream,) = recording.streams
    assert (stream.unit, stream.rate_hz, stream.channels) == (Unit.MILLIVOLT, 1000, ("a", "b"))
    np.testing.assert_array_equal(joined(recording)["emg"], [[1000, 3000], [2, 4]])


def test_csv_unit_from_the_person(tmp_path):
    path = csv(tmp_path, "# rate_hz: 1000\nbiceps\n1\n2\n")
    assert read(path).streams[0].unit is Unit.COUNT
    assert read(path, unit=Unit.MICROVOLT).streams[0].unit is Unit.MICROVOLT
    refused(csv(tmp_path, "# rate_hz: 1000\nbiceps [%]\n1\n2\n"), "'%'", "--unit")


@pytest.mark.parametrize(
    "header", ["t,a [µV]", "T,a [μV]", "time [s],a [uV]", '"time","a [uV]"', "\ufefft,a [uV]"]
)
def test_csv_headers_as_people_write_them(tmp_path, header):
    (stream,) = read(csv(tmp_path, header + "\n0,1\n0.5,2\n1.0,3\n")).streams
    assert (stream.channels, stream.unit, stream.rate_hz) == (("a",), Unit.MICROVOLT, 2.0)


def test_csv_header_in_latin_1(tmp_path):
    assert read(csv(tmp_path, "t,a [µV]\n0,1\n1,2\n".encode("latin-1"))).streams[0].unit is Unit.MICROVOLT


def test_csv_hole_in_time_is_a_gap(tmp_path):
    times = [*range(50), *range(57, 100)]
    recording = read(csv(tmp_path, "t,a\n" + "".join(f"{i / 100},{i}\n" for i in times)))
    before, gap, after = recording.blocks()
    assert (before.length, after.first, after.length) == (50, 57, 43)
    assert (gap.start_ns, gap.end_ns, gap.missing) == (500_000_000, 570_000_000, 7)
    assert (gap.reason, gap.exact) == (GapReason.LOST, False)
    assert after.timebase is before.timebase
    np.testing.assert_array_equal(joined(recording)["emg"], [times])


def test_csv_without_a_number_is_a_gap_in_its_stream_only(tmp_path):
    rows = ["nan,1,1", "1,1,1", "1,,1", ",1,1", "1,1,1", "1,inf,1", "1,1e300,1"]
    recording = read(csv(tmp_path, "# rate_hz: 100\na,b,x [g]\n" + "\n".join(rows)))
    found = [(g.stream.name, g.start_ns, g.missing, g.exact) for g in gaps(recording)]
    assert found == [
        ("emg", 0, 1, True),
        ("emg", 20_000_000, 2, True),
        ("emg", 50_000_000, 2, True),
    ]
    assert joined(recording)["acc"].shape == (1, 7)
    assert joined(recording)["emg"].shape == (2, 2)


def test_csv_stream_without_any_sample_is_named(tmp_path):
    recording = read(csv(tmp_path, "# rate_hz: 100\na,x [g]\n,1\n,2\n"))
    assert [s.name for s in recording.streams] == ["acc"]
    assert recording.notes == ("stream emg (a): no sample is complete; left out",)


def test_csv_last_line_cut_off(tmp_path):
    recording = read(csv(tmp_path, "t,a,b\n0,1,1\n1,2,2\n2,3"))
    assert recording.duration_s == 2
    assert recording.notes == ("line 4, the last, was cut off and is left out",)


@pytest.mark.parametrize("rate", [250, 300, 1000 / 3, 500])
def test_csv_times_rounded_to_milliseconds(tmp_path, rate):
    text = "t,a\n" + "".join(f"{i / rate:.3f},1\n" for i in range(3000))
    recording = read(csv(tmp_path, text))
    assert recording.streams[0].rate_hz == pytest.approx(rate, rel=1e-3)
    assert gaps(recording) == []


def test_csv_times_too_coarse_need_the_rate(tmp_path):
    text = "t,a\n" + "".join(f"{i / 700:.3f},1\n" for i in range(3000) if not 1000 <= i < 1010)
    refused(csv(tmp_path, text), "irregular", "rate_hz")
    (gap,) = gaps(read(csv(tmp_path, "# rate_hz: 700\n" + text)))
    assert gap.missing == 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("# nothing\n", ["row of channel names"]),
        ("1,2\n3,4\n", ["begins with numbers"]),
        ("a,b\n1,2\n", ["neither", "rate_hz"]),
        ("t,a\n", ["0 rows"]),
        ("t\n0\n1\n2\n", ["no channel"]),
        ("t,a,\n0,1,\n1,2,\n", ["''", "channel name"]),
        ("time [ms],a\n0,1\n1,2\n", ["'ms'", "seconds"]),
        ("t,a\n0,1\n1,x\n2,3\n", ["line 3", "'x'"]),
        ("t;a\n0;1,5\n1;2,5\n", ["line 2", "'1,5'", "decimal point"]),
        ("t,a\n0,1\n1,2,3\n2,3\n", ["line 3", "3 fields"]),
        ("t,a\n0,1\n\n2,1\n1,1\n", ["backwards", "row 3"]),
        ("t,a\n0,1\nnan,1\n2,1\n", ["row 2", "no time"]),
        ("t,a\n0,1\n0,1\n0,1\n1,1\n", ["repeat"]),
        ("t,a\n0,1\n1,1\n3.4,1\n4,1\n9.7,1\n", ["irregular"]),
        ("t,a\n0,1\n1000,1\n2000,1\n", ["1000 s apart"]),
        ("t,a\n0,1\n1,1\n2,1\n3,1\n4,1\n5,1\n1e300,1\n", ["times span"]),
        ("# rate_hz: 100\nt,a\n0,1\n1,1\n2,1\n", ["do not agree"]),
        ("# rate_hz: 100\nt,a\n0,1\n.001,1\n.002,1\n", ["do not agree"]),
        ("# rate_hz: fast\na\n1\n", ["'fast'"]),
        ("# rate_hz: 0\na\n1\n", ["'0'"]),
        ("# rate_hz: 1e99\na\n1\n", ["'1e99'"]),
        ("# rate_hz: 10\na,b\nnan,1\n1,nan\n", ["no row"]),
        ("t\0,a\n0,1\n1,2\n", ["channel name"]),
        ("t,a" + " " * 100_000 + "b\n0,1\n1,2\n", ["channel name"]),
    ],
)
def test_csv_that_cannot_be_read(tmp_path, text, words):
    refused(csv(tmp_path, text), *words)


@settings(deadline=None)
@given(st.text(alphabet='t,a;\t\n\r 01.9-e"#[]uVnan\x00é', max_size=80), st.booleans())
def test_csv_any_text(tmp_path_factory, text, headed):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(("# rate_hz: 10\na,b\n" if headed else "") + text + "\n", encoding="utf-8")
    only_recording_errors(path)


# --- numbering by timestamps


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(20, 200), st.integers(2, 100)), min_size=1, max_size=8),
    st.floats(-3e-4, 3e-4),
)
def test_losses_are_counted_under_jitter_and_drift(runs, drift):
    """Samples come in bursts of 8, late by up to 7 periods, from a clock a little off."""
    period = 0.004
    index = np.concatenate([[0], np.cumsum([n + m for n, m in runs])])
    true = np.concatenate([np.arange(8 * n) + 8 * s for (n, _), s in zip(runs, index, strict=False)])
    burst = np.arange(len(true)) // 8 * 8 + 7
    times = true[burst] * period * (1 + drift) + np.arange(len(true)) % 8 * 1e-5
    np.testing.assert_array_equal(numbered(times, period), true)


def test_one_late_timestamp_is_no_loss():
    times = np.arange(1000) * 0.004
    times[500] += 0.03
    np.testing.assert_array_equal(numbered(times, 0.004), np.arange(1000))


# --- XDF, with what pyxdf returns; the library itself is an extra


def xdf_stream(times, numbers, **fields):
    info = {"name": "armband", "type": "EMG", "nominal_srate": "250", "channel_format": "float32"} | fields
    desc = info.pop("desc", None)
    return {
        "info": {key: [value] for key, value in info.items()} | {"desc": [desc]},
        "time_stamps": np.asarray(times),
        "time_series": numbers,
    }


def channels(*described):
    return {"channels": [{"channel": [{k: [v] for k, v in c.items()} for c in described]}]}


@pytest.fixture
def xdf(tmp_path, monkeypatch):
    """Give the streams (or the exception) that pyxdf shall find in the file."""

    def load(found, log, path, *, dejitter_timestamps):
        assert dejitter_timestamps is False
        assert Path(path).exists()
        for line in log:
            logging.getLogger("pyxdf.pyxdf").error(line)
        if isinstance(found, Exception):
            raise found
        return found, {}

    def prepare(*found, log=()):
        found = found[0] if isinstance(found[0], Exception) else list(found)
        monkeypatch.setitem(sys.modules, "pyxdf", SimpleNamespace(load_xdf=partial(load, found, log)))
        path = tmp_path / "a.xdf"
        path.write_bytes(b"XDF:")
        return path

    return prepare


def test_xdf_streams(xdf):
    n = np.arange(100)
    emg = xdf_stream(
        1000 + n / 250,
        np.stack([n, -n], axis=1).astype(np.float32),
        desc=channels({"label": "FDI", "unit": "microvolts"}, {"label": "biceps", "unit": "microvolts"}),
    )
    acc = xdf_stream(
        1000.1 + n / 250,
        n[:, None],
        type="Accelerometer",
        channel_format="int16",
        desc=channels({"unit": "mg"}),
    )
    markers = xdf_stream([1000.0], [["start"]], type="Markers", channel_format="string", nominal_srate="0")
    gaze = xdf_stream(1000 + n / 250, n[:, None] * 1.0, name="eye", type="Gaze")
    recording = read(xdf(emg, acc, markers, gaze))
    assert [(s.name, s.unit, s.channels) for s in recording.streams] == [
        ("emg", Unit.MICROVOLT, ("FDI", "biceps")),
        ("acc", Unit.G, ("armband 1",)),
    ]
    assert recording.duration_s == pytest.approx(0.5)
    assert len(recording.notes) == 2
    assert "'Gaze'" in recording.notes[1]
    np.testing.assert_array_equal(joined(recording, 0.05)["emg"], [n, -n])
    np.testing.assert_array_equal(joined(recording)["acc"], [n * 0.001])


def test_xdf_streams_alike_stay_apart(xdf):
    """Two armbands of the same kind have two clocks."""
    n = np.arange(100)
    left, right = xdf_stream(n / 250, n[:, None] * 1.0), xdf_stream(n[:50] / 250, n[:50, None] * 1.0)
    assert [(s.name, s.channels) for s in read(xdf(left, right)).streams] == [
        ("emg", ("armband 1",)),
        ("emg2", ("armband 1 2",)),
    ]


def test_xdf_lost_samples_and_true_rate(xdf):
    index = np.delete(np.arange(5000), slice(2000, 2123))
    recording = read(xdf(xdf_stream(7 + index / 249.9, index[:, None] * 1.0)))
    (gap,) = gaps(recording)
    assert (gap.missing, gap.exact, gap.reason) == (123, False, GapReason.LOST)
    assert gap.start_ns == pytest.approx(2000 / 249.9 * 1e9, abs=1000)
    assert recording.duration_s == pytest.approx(5000 / 249.9)


def test_xdf_faults(xdf, monkeypatch):
    n = np.arange(10)
    refused(xdf(ValueError("bad\nchunk")), "not a readable XDF file: bad chunk")
    refused(xdf({"info": {}}), "not a readable XDF file")
    refused(xdf(xdf_stream([], np.empty((0, 1)))), "no stream")
    refused(xdf(xdf_stream(np.full(10, np.inf), n[:, None] * 1.0)), "no stream")
    refused(xdf(xdf_stream(n / 250, np.full((10, 1), np.nan))), "no sample")
    refused(xdf(xdf_stream(n / 250, n[:, None] * 1.0, desc=channels({"unit": "lux"}))), "'lux'", "--unit")
    path = xdf(xdf_stream(n / 250, n[:, None] * 1.0), log=["cut\noff", "cut\noff"])
    assert read(path).notes == ("cut off",)
    monkeypatch.setitem(sys.modules, "pyxdf", None)
    assert "fasciwatch[xdf]" in refused(path, "pyxdf").remedy


# --- channels


@settings(deadline=None)
@given(st.lists(st.text(max_size=8), min_size=1, max_size=12))
def test_labels_are_always_unique(labels):
    groups, _ = group("file", [Claim(label, "uV", 100.0) for label in labels], Wanted(sensor=Sensor.EMG))
    (made,) = groups
    assert len(set(made.stream.channels)) == len(labels)
    assert all(label.isprintable() and label for label in made.stream.channels)


# --- real recordings


@pytest.mark.skipif(not DATA.exists(), reason="no real recordings in ../shared/data")
def test_real_recordings():
    files = [*sorted(DATA.glob("*.edf")), *sorted((DATA / "myo").glob("*_00?.edf"))]
    assert files
    for path in files:
        recording = read(path)
        assert recording.notes == ()
        (stream,) = recording.streams
        expected = read_edf(path)
        assert stream.channels == expected.labels
        np.testing.assert_allclose(joined(recording)[stream.name], [s.data for s in expected.signals], rtol=1e-12)
