"""Raw signal as EDF and BDF: the same numbers, the same twitches, and every sample accounted for."""

import shutil
import subprocess
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from firmware_interface.codecs import Device
from firmware_interface.emulated.arm import ArmSettings
from firmware_interface.samples import Gap, GapReason, SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.detection.events import Twitch
from monitor.detection.settings import DetectorSettings
from monitor.diary import Entry
from monitor.export import bids, edf
from monitor.export.source import ExportError, source_of
from monitor.raw import Assembler, Raw, Retention
from monitor.recording import read
from monitor.recording.edf import read_annotations
from monitor.replay import replay
from monitor.simulate.stores import write_diary, write_signal
from monitor.store import Archive, Store

START_NS = 1_767_225_600_123_456_000
SECOND = 10**9
ARM = ArmSettings(
    channels=("left calf", "Fuß"), rate_hz=250.0, visible=True, twitches_per_min=40, lift_off_per_hour=0
)
SETTINGS = DetectorSettings()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """70 s of an arm and its accelerometer, of which some was lost, with a diary."""
    folder = tmp_path_factory.mktemp("export") / "data"
    write_signal(folder, ARM, 3, START_NS, 45, [(20, 22)])
    coffee = Entry("caffeine", START_NS + 30 * SECOND, dose=80, unit="mg", note="with Anna")
    write_diary(folder, [coffee], START_NS + 100 * SECOND)
    return folder


def export(folder, out, form="edf", identified=False, told=lambda _: None, span=(0, 2**62)):
    with closing(Archive.open(folder)) as archive:
        source = source_of(folder, archive, span, device="", subject="P01", identified=identified)
        chosen = edf.FORMS[form]
        return list(edf.export(source, chosen, edf.plain_name(source, chosen, out), told, lambda _: None))


def found(path):
    events = replay(read(path), SETTINGS).events
    return [(e.onset_ns, e.duration_s, e.peak, e.waveform.tobytes()) for e in events if isinstance(e, Twitch)]


def samples(path):
    """Stream name -> index -> counts, of what was received."""
    kept = {}
    for piece in read(path).blocks():
        if isinstance(piece, SampleBlock):
            for n, column in enumerate(piece.counts.T.tolist()):
                kept.setdefault(piece.stream.name, {})[piece.first + n] = column
    return kept


@pytest.fixture(scope="module")
def there(data):
    """What is found in the folder itself."""
    return found(data)


@pytest.mark.parametrize("form", ["edf", "bdf"])
def test_export_and_replay_give_the_same_twitches(data, there, tmp_path, form):
    """Of both sensors, to the bit, over a gap; and each sample is where it was, or missing where it was."""
    (written,) = export(data, tmp_path, form)
    assert written.path.name == f"P01_device1_20260101T000000Z.{form}"
    assert len(there) > 20
    assert found(written.path) == there
    assert samples(written.path) == samples(data)


@pytest.mark.parametrize("form", ["edf", "bdf"])
def test_others_read_the_same_bits(data, tmp_path, form):
    """pyedflib and MNE: digital values, annotations and channel names."""
    pyedflib = pytest.importorskip("pyedflib")
    mne = pytest.importorskip("mne")
    (written,) = export(data, tmp_path, form)
    kept = samples(data)["emg"]
    with closing(pyedflib.EdfReader(str(written.path))) as theirs:
        assert theirs.getSignalLabels() == ["left calf", "Fu", "VALID", "x", "y", "z", "VALID 2"]
        digital = [theirs.readSignal(n, digital=True) for n in range(3)]
        texts = theirs.readAnnotations()[2].tolist()
        low, high = theirs.getPhysicalMinimum(0), theirs.getPhysicalMaximum(0)
        bottom, top = theirs.getDigitalMinimum(0), theirs.getDigitalMaximum(0)
    places = np.array(sorted(kept))
    expected = np.array([kept[place] for place in places.tolist()]).T
    assert np.array_equal(np.array(digital)[:2, places], expected)
    assert np.flatnonzero(digital[2]).tolist() == places.tolist()
    assert sum(text.startswith("twitch ") for text in texts) > 20
    assert "trigger caffeine 80 mg" in texts
    assert texts.count("gap lost emg") == texts.count("gap lost acc") == 1
    reader = mne.io.read_raw_edf if form == "edf" else mne.io.read_raw_bdf
    raw = reader(str(written.path), preload=True, verbose="error")
    volts = raw.get_data(picks=[0])[0]
    gain = (high - low) / (top - bottom)
    again = np.rint((volts * 1e6 - high) / gain + top).astype(int)
    assert np.array_equal(again[: len(digital[0])], digital[0])
    assert len(raw.annotations) == len(texts)


def test_annotations_are_where_the_signal_is(data, tmp_path):
    """A twitch is annotated at the sample at which the detector found it."""
    (written,) = export(data, tmp_path)
    marks = sorted(onset for text, onset, _ in read_annotations(written.path) if text == "twitch left calf")
    events = replay(read(written.path), SETTINGS).events
    onsets = sorted(e.onset_ns * 1e-9 for e in events if isinstance(e, Twitch) and e.channel == "left calf")
    assert marks == pytest.approx(onsets, abs=2e-6)


def test_nobody_is_named_unless_it_is_asked_for(data, tmp_path):
    """Neither the device's name and address nor what the person wrote."""
    (plain,) = export(data, tmp_path / "a")
    (named,) = export(data, tmp_path / "b", identified=True)
    for secret in (b"emulated", b"F0:5C", b"Anna", b"E-1"):
        assert secret not in plain.path.read_bytes()
    assert b"emulated" in named.path.read_bytes()
    assert b"with Anna" in named.path.read_bytes()


# Streams as devices make them ---------------------------------------------------------------------------------


def keep(folder, stream, blocks):
    """A data folder with the raw signal of one stream; blocks are (first, start in s, counts)."""
    store = Store.open(folder)
    store.begin(now_ns=START_NS, version="test", settings={})
    device = store.device(Device("band", "S", "1", (stream,)), "A", START_NS)
    store.close(START_NS + 1)
    raw = Raw(folder, Retention(1e6, 10**15, 0))
    assembler = Assembler(device)
    for first, start_s, counts in blocks:
        base = Timebase(first, START_NS + round(start_s * 1e9), 1e9 / stream.rate_hz)
        assembler.feed(SampleBlock(stream, first, base, counts))
        raw.write(assembler.take(), base.ns)
    raw.close()
    return folder


EMG = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 0.02235174179077148, 100.0, ("calf",))


def ramp(n, start=0, dtype=np.int16):
    return np.arange(start, start + n, dtype=dtype)[None]


def test_a_long_silence_begins_a_new_file_and_a_short_one_does_not(tmp_path):
    """Never EDF+D: up to five minutes are filled and marked invalid."""
    blocks = [(0, 0, ramp(100)), (20_100, 201, ramp(100)), (120_100, 1201, ramp(100))]
    first, second = export(keep(tmp_path / "d", EMG, blocks), tmp_path)
    assert (first.duration_s, second.duration_s) == (202.0, 1.0)
    gaps = [p for p in read(first.path).blocks() if isinstance(p, Gap)]
    assert sum(gap.missing for gap in gaps) == 20_000
    assert (second.start_ns - first.start_ns) == 1201 * SECOND
    assert b"EDF+C" in first.path.read_bytes()[:256]


def test_a_device_that_counts_anew_goes_on_by_time(tmp_path):
    """Its samples stay in order, the time between is missing, and no sample is lost."""
    blocks = [(500, 0, ramp(100)), (0, 10, ramp(100, 7))]
    (written,) = export(keep(tmp_path / "d", EMG, blocks), tmp_path)
    pieces = list(read(written.path).blocks())
    kept = [p for p in pieces if isinstance(p, SampleBlock)]
    assert [p.first for p in kept] == [0, 1000]
    assert kept[1].counts[0, 0] == 7
    gaps = [p for p in pieces if isinstance(p, Gap)]
    assert (sum(gap.missing for gap in gaps), {gap.reason for gap in gaps}) == (900, {GapReason.LOST})


def test_a_clock_that_drifts_away_begins_a_new_file(tmp_path):
    """The file runs at the nominal rate; what is a second off begins anew, at its own time."""
    blocks = [(100 * n, n * 1.01, ramp(100)) for n in range(250)]
    written = export(keep(tmp_path / "d", EMG, blocks), tmp_path)
    assert len(written) == 3
    assert (
        sum(piece.length for w in written for piece in read(w.path).blocks() if isinstance(piece, SampleBlock))
        == 25_000
    )
    assert written[1].start_ns - START_NS == pytest.approx(101 * 1.01 * SECOND, abs=2 * SECOND)


def test_the_scale_comes_back_whole(tmp_path):
    """The header has eight characters for a range; the transducer field has them all."""
    stream = replace(EMG, channels=("calf",))
    (written,) = export(keep(tmp_path / "d", stream, [(0, 0, ramp(100, 10**6, np.int32))]), tmp_path, "bdf")
    (back,) = read(written.path).streams
    assert back.scale == stream.scale
    assert back.unit is Unit.MICROVOLT


def test_what_does_not_fit_is_refused_or_left_out_with_the_way_that_does(tmp_path):
    """24 bits go into BDF, floats into Parquet."""
    wide = keep(tmp_path / "wide", EMG, [(0, 0, ramp(100, 10**6, np.int32))])
    with pytest.raises(ExportError, match="does not fit into EDF") as caught:
        export(wide, tmp_path)
    assert "bdf" in caught.value.remedy
    assert not list(tmp_path.glob("*.edf*"))
    told = []
    floats = keep(tmp_path / "float", EMG, [(0, 0, np.ones((1, 100), np.float32))])
    assert export(floats, tmp_path, told=told.append) == []
    assert "parquet" in told[0]


def test_more_annotations_than_a_record_holds_are_all_there(tmp_path):
    """They stand in records after it, if need be in records of their own."""
    folder = keep(tmp_path / "d", EMG, [(0, 0, ramp(200))])
    entries = [Entry("caffeine", START_NS + SECOND + n * 1000, dose=float(n), unit="mg") for n in range(60)]
    write_diary(folder, entries, START_NS + 100 * SECOND)
    (written,) = export(folder, tmp_path)
    texts = [text for text, _, _ in read_annotations(written.path)]
    assert texts == [f"trigger caffeine {n} mg" for n in range(60)]


def test_a_full_disk_leaves_no_half_a_file(tmp_path, data):
    """One line, and nothing with a name that looks whole."""
    target = tmp_path / "file"
    target.write_text("in the way")
    with pytest.raises(ExportError) as caught:
        export(data, target)
    assert "\n" not in str(caught.value)


# BIDS ---------------------------------------------------------------------------------------------------------


def export_bids(data, out, subject="P01"):
    with closing(Archive.open(data)) as archive:
        source = source_of(data, archive, (0, 2**62), device="", subject=subject, identified=False)
        study = bids.Study("A study", "patients")
        return list(bids.export(source, edf.FORMS["bdf"], out, study, print, lambda _: None))


def test_bids_holds_what_its_validator_asks_for(data, tmp_path):
    """The layout, the sidecars, and no error of the public validator, where it is installed."""
    (path,) = [path for path in export_bids(data, tmp_path) if path.suffix == ".bdf"]
    export_bids(data, tmp_path, "P02")
    assert path.relative_to(tmp_path).as_posix() == (
        "sub-P01/ses-20260101/emg/sub-P01_ses-20260101_task-rest_run-01_emg.bdf"
    )
    stem = path.name.removesuffix("_emg.bdf")
    channels = (path.parent / f"{stem}_channels.tsv").read_text().splitlines()
    assert [row.split("\t")[:2] for row in channels[1:]] == [
        ["left calf", "EMG"], ["Fu", "EMG"], ["VALID", "MISC"],
        ["x", "ACCEL"], ["y", "ACCEL"], ["z", "ACCEL"], ["VALID 2", "MISC"],
    ]  # fmt: skip
    events = [row.split("\t") for row in (path.parent / f"{stem}_events.tsv").read_text().splitlines()[1:]]
    assert {row[2] for row in events} == {"twitch", "trigger", "gap"}
    assert (tmp_path / "participants.tsv").read_text() == (
        "participant_id\tgroup\nsub-P01\tpatients\nsub-P02\tpatients\n"
    )
    if validator := shutil.which("bids-validator-deno"):
        done = subprocess.run([validator, tmp_path], capture_output=True, text=True, check=False)
        assert "[ERROR]" not in done.stdout
        assert done.returncode == 0


def test_bids_takes_away_nothing_but_its_own(data, tmp_path):
    """An earlier export gives way to a whole one; what else is in the person's folder stays, and is told."""
    written = export_bids(data, tmp_path)
    with closing(Archive.open(data)) as archive:
        nothing = source_of(data, archive, (0, 1), device="", subject="P01", identified=False)
        done = bids.export(nothing, edf.FORMS["bdf"], tmp_path, bids.Study(), print, lambda _: None)
        assert list(done) == []
    assert all(path.exists() for path in written)
    assert export_bids(data, tmp_path) == written
    scan = tmp_path / "sub-P01" / "ses-1" / "anat" / "scan.nii"
    scan.parent.mkdir(parents=True)
    scan.write_bytes(b"x")
    with pytest.raises(ExportError, match=r"scan\.nii is no export"):
        export_bids(data, tmp_path)
    assert scan.exists()
    assert not list(tmp_path.glob(".sub-*"))


def test_columns_of_others_stay_in_the_list_of_people(data, tmp_path):
    """Written again, and with another person beside."""
    listed = tmp_path / "participants.tsv"
    export_bids(data, tmp_path)
    listed.write_text("participant_id\tgroup\tage\nsub-P01\told\t50\nsub-P09\tcontrol\t60\n")
    export_bids(data, tmp_path)
    export_bids(data, tmp_path, "P02")
    assert listed.read_text() == (
        "participant_id\tgroup\tage\nsub-P01\tpatients\t50\nsub-P02\tpatients\tn/a\nsub-P09\tcontrol\t60\n"
    )


def test_a_subject_must_be_one_in_bids(data, tmp_path):
    """Letters and digits."""
    with pytest.raises(ExportError, match="no name for a subject"):
        export_bids(data, tmp_path, "../x")
