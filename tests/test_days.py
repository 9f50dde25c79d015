"""Day files and data folders as recordings: what was kept, with its times and gaps."""

import pytest

from firmware_interface.emulated.arm import ArmSettings
from firmware_interface.samples import Gap, SampleBlock
from monitor.detection.events import Twitch
from monitor.detection.settings import DetectorSettings
from monitor.raw import Raw, Retention
from monitor.recording import RecordingError, read
from monitor.replay import replay
from monitor.simulate.stores import write_signal
from monitor.store import Archive

MIDNIGHT_NS = 1_767_312_000 * 10**9
START_NS = MIDNIGHT_NS - 20 * 10**9


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 s around midnight, two of them lost."""
    folder = tmp_path_factory.mktemp("days")
    arm = ArmSettings(channels=("calf",), rate_hz=250.0, twitches_per_min=60, lift_off_per_hour=0)
    write_signal(folder, arm, 4, START_NS, 40, [(5, 7)])
    return folder


def test_replay_finds_what_was_stored(folder):
    """The same samples, the same twitches, and the gap where it was."""
    with Archive.open(folder) as archive:
        stored = [(twitch.onset_ns - START_NS, twitch.peak) for _, twitch in archive.twitches(0, 2**62)]
    found = replay(read(folder), DetectorSettings())
    twitches = [(event.onset_ns, event.peak) for event in found.events if isinstance(event, Twitch)]
    assert len(stored) > 8
    assert twitches == stored
    assert [s.recorded_s for s in found.summaries] == [pytest.approx(38)]


def test_a_day_is_what_began_in_it(folder):
    """Each file alone, and together all."""
    first, second = sorted((folder / "raw").glob("*.sqlite"))
    lengths = [
        sum(p.length for p in read(path).blocks() if isinstance(p, SampleBlock)) for path in (first, second)
    ]
    assert sum(lengths) == 38 * 250
    assert lengths[1] == pytest.approx(20 * 250, abs=500)
    (gap,) = [piece for piece in read(first).blocks() if isinstance(piece, Gap)]
    assert (gap.start_ns, gap.missing, gap.exact) == (5 * 10**9, 500, True)


@pytest.mark.parametrize("seconds", [1.0, 7.0, 100.0])
def test_any_window_gives_every_block_once(folder, seconds):
    indices = [p.first for p in read(folder).blocks(seconds) if isinstance(p, SampleBlock)]
    assert indices == sorted(set(indices))
    assert sum(p.length for p in read(folder).blocks(seconds) if isinstance(p, SampleBlock)) == 38 * 250


def test_batches_can_be_gone_on_with(folder):
    """From anywhere, the rest is the same."""
    whole = [[piece.start_ns for piece in batch] for batch in read(folder).batches(5.0)]
    for skip in (0, 3, len(whole)):
        assert [[piece.start_ns for piece in batch] for batch in read(folder).batches(5.0, skip)] == whole[skip:]


def test_a_folder_without_raw_signal_is_one_line(tmp_path):
    (tmp_path / "raw").mkdir()
    Raw(tmp_path, Retention()).close()
    with pytest.raises(RecordingError, match="no raw signal"):
        read(tmp_path)
