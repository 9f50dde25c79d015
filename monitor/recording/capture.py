"""Captures of raw notifications (`fasciwatch record`), decoded as they were when they came.

Rule: what is replayed is what live monitoring was given; only the time is moved, by a whole number of ns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from firmware_interface.capture import Capture, CaptureError
from firmware_interface.capture import read as opened
from firmware_interface.samples import Gap
from monitor.recording.channels import RecordingError, Wanted
from monitor.recording.contents import Piece, Recording


def read(path: Path, _: Wanted) -> Recording:
    """The capture at `path`. Units and sensors are the device's own."""
    try:
        capture = opened(path)
    except CaptureError as error:
        raise RecordingError(str(error.args[0]), error.remedy) from error
    names = ", ".join(dict.fromkeys(device.name for device in capture.devices))
    notes = [f"captured from {names}"]
    if capture.unreadable:
        notes.append(f"the last {capture.unreadable} bytes are not whole and were left out")
    return Recording(
        path=path,
        streams=tuple(stream for device in capture.devices for stream in device.streams),
        duration_s=(capture.end_ns - capture.start_ns) * 1e-9,
        start=datetime.fromtimestamp(capture.start_ns * 1e-9, UTC).replace(tzinfo=None),
        notes=tuple(notes),
        pieces=lambda _: _from_start(capture),
    )


def _from_start(capture: Capture) -> Iterator[Piece]:
    start_ns = capture.start_ns
    for piece in capture.pieces():
        if isinstance(piece, Gap):
            yield replace(piece, start_ns=piece.start_ns - start_ns, end_ns=piece.end_ns - start_ns)
        else:
            yield replace(piece, timebase=replace(piece.timebase, ns=piece.timebase.ns - start_ns))
