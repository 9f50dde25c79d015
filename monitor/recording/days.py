"""Day files of the raw signal, and data folders that hold them, as recordings.

Rules:

* Nothing is changed: blocks have the numbers, indices and times with which they were kept.
* A recording is of one device, as sensors veto one another. A folder with more needs `device`.
* What was kept of a stream before its rate, unit or sites were changed is a stream of its own.
* Read ten seconds at a time, so days of signal take no memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from firmware_interface.samples import Gap, GapReason, SampleBlock, Stream, Timebase
from monitor.database import StoreError
from monitor.raw import FOLDER, Holding, RawArchive
from monitor.recording.channels import RecordingError, Wanted
from monitor.recording.contents import Piece, Recording

_JITTER_NS = 10**8
"""By how much times of samples in succession may disagree, as in `monitor.raw`."""


def holds_days(folder: Path) -> bool:
    """Whether `folder` is a data folder with raw signal."""
    return (folder / FOLDER).is_dir()


def read(path: Path, wanted: Wanted) -> Recording:
    """The day file or data folder at `path`. Units and sensors are the device's own."""
    del wanted
    return opened(path)


def opened(path: Path, device_id: int | None = None) -> Recording:
    """What was kept of one device.

    Args:
        path: a day file or data folder.
        device_id: as in the Archive; needed where there are several.

    Raises:
        RecordingError: nothing was kept, or of several devices, or the file is damaged.
    """
    archive = RawArchive(path) if path.is_dir() else RawArchive(path.parent, path)
    try:
        holdings = archive.holdings()
    except StoreError as error:
        raise RecordingError(str(error.args[0]), error.remedy) from error
    found = sorted({held.device_id for held in holdings})
    if device_id is None and len(found) > 1:
        raise RecordingError(
            f"{path.name}: holds the raw signal of {len(found)} devices",
            "Export one of them first: fasciwatch export edf --device NAME",
        )
    held = [each for each in holdings if device_id in (None, each.device_id)]
    if not held:
        raise RecordingError(f"{path.name}: no raw signal was kept here", "Name a day file or another data folder")
    named = _named(held)
    start_ns = min(each.start_ns for each in held)
    end_ns = max(each.end_ns for each in held)
    return Recording(
        path=path,
        streams=tuple(named.values()),
        duration_s=(end_ns - start_ns) * 1e-9,
        start=datetime.fromtimestamp(start_ns * 1e-9, UTC).replace(tzinfo=None),
        notes=(),
        pieces=partial(_pieces, archive, held[0].device_id, named, (start_ns, end_ns)),
    )


def _named(held: Iterable[Holding]) -> dict[Stream, Stream]:
    """Each stream under a name of its own: the second "emg" is "emg2"."""
    named: dict[Stream, Stream] = {}
    for each in held:
        name, n = each.stream.name, 1
        while name in (stream.name for stream in named.values()):
            n += 1
            name = f"{each.stream.name}{n}"
        named[each.stream] = replace(each.stream, name=name)
    return named


def _pieces(
    archive: RawArchive, device_id: int, named: dict[Stream, Stream], ends_ns: tuple[int, int], seconds: float
) -> Iterator[Piece]:
    start_ns, end_ns = ends_ns
    step_ns = max(round(seconds * 1e9), 10**9)
    ended: dict[Stream, tuple[int, int]] = {}
    for since_ns in range(start_ns, end_ns, step_ns):
        blocks = [
            block
            for name in dict.fromkeys(stream.name for stream in named)
            for block in _window(archive, device_id, name, since_ns, since_ns + step_ns)
        ]
        for block in blocks:
            stream = named[block.stream]
            index, time_ns = ended.get(stream, (block.first, start_ns))
            if block.first != index or block.start_ns - time_ns > _JITTER_NS:
                yield _gap(stream, block, index, time_ns, start_ns)
            ended[stream] = block.first + block.length, block.end_ns
            base = block.timebase
            moved = Timebase(base.index, base.ns - start_ns, base.period_ns)
            yield SampleBlock(stream, block.first, moved, block.counts)


def _window(archive: RawArchive, device_id: int, name: str, since_ns: int, until_ns: int) -> Iterator[SampleBlock]:
    """The blocks that begin in a stretch of time."""
    for block in archive.window(device_id, name, since_ns, until_ns).blocks:
        if since_ns <= block.start_ns < until_ns:
            yield block


def _gap(stream: Stream, block: SampleBlock, index: int, time_ns: int, start_ns: int) -> Gap:
    """The time before `block` of which nothing was kept; counted where the device went on counting."""
    counted = block.first > index
    passed_ns = max(block.start_ns - time_ns, 0)
    missing = block.first - index if counted else round(passed_ns * 1e-9 * stream.rate_hz)
    reason = GapReason.LOST if counted else GapReason.STOPPED
    return Gap(stream, time_ns - start_ns, time_ns - start_ns + passed_ns, missing, reason, exact=counted)
