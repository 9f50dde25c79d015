"""Recordings in: a file becomes the same sample blocks and gaps as a live device.

    channels.py    what a file says of a channel -> streams        RecordingError
    contents.py    samples and their times -> blocks and gaps      Recording
    edf.py, csv.py, xdf.py, capture.py, days.py                    one format each

Rules of this package:

* Whatever the bytes, `read` returns a `Recording` or raises `RecordingError`: one line and a remedy.
* Sizes promised by a header are compared with the size of the file before anything is allocated.
* What is left out (a channel in degrees, a record that was cut off) is said in `Recording.notes`.
* Missing samples are a `Gap` and keep their place in the index; nothing is interpolated.
* Units are what the file says. A file that does not say gives counts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from firmware_interface.capture import SUFFIX
from firmware_interface.samples import Sensor, Unit
from monitor.recording import capture, csv, days, edf, xdf
from monitor.recording.channels import RecordingError, Wanted
from monitor.recording.contents import Piece, Recording

__all__ = ["Piece", "Recording", "RecordingError", "read"]

_READERS: dict[str, Callable[[Path, Wanted], Recording]] = {
    ".edf": edf.read,
    ".bdf": edf.read,
    ".csv": csv.read,
    ".xdf": xdf.read,
    SUFFIX: capture.read,
    ".sqlite": days.read,
}


def read(path: Path, *, unit: Unit | None = None, sensor: Sensor | None = None) -> Recording:
    """Open the recording at `path`. Samples are read as they are needed, of CSV and XDF at once.

    Args:
        path: a file whose name ends in .edf, .bdf, .csv, .xdf or .fasciwatch; a day file of the raw signal, or a
            data folder with such.
        unit: what the numbers of the file are, instead of what it says. A channel that the file gives in a
            unit of another quantity keeps its own: g does not become microvolts.
        sensor: what the file's channels measure, instead of what it says; not of channels in g or m/s^2.

    Raises:
        RecordingError: the file cannot be read as a recording.
    """
    reader = days.read if days.holds_days(path) else _READERS.get(path.suffix.lower())
    if reader is None and path.is_dir():
        raise RecordingError(f"{path}: a folder without raw signal", "Give a file, or a data folder of fasciwatch")
    if reader is None:
        raise RecordingError(
            f"{path.name}: a name ending in {path.suffix!r} tells no known format",
            f"Give a file ending in {', '.join(_READERS)}",
        )
    try:
        if not path.is_file() and reader is not days.read:
            raise RecordingError(f"{path}: no such file", "Check the path")
        if path.stat().st_size == 0:
            raise RecordingError(f"{path.name}: the file is empty", "Export or copy the recording again")
        return reader(path, Wanted(unit, sensor))
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or error}", "Check the path and its permissions") from error
