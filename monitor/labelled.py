"""Twitches that a person has said something of, for benchmarks: the label, the features and the waveform."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from monitor import lines
from monitor.detection.events import Twitch
from monitor.diary import Diary
from monitor.store import Archive

_ALWAYS_NS = 2**63 - 1


def labelled(folder: Path, since_ns: int = 0, until_ns: int = _ALWAYS_NS) -> Iterator[lines.Fields]:
    """Each twitch of a data folder that was labelled, in order of time; but for those gone from the store."""
    with Diary.open(folder) as diary:
        labels = diary.labels(since_ns, until_ns)
    if not labels:
        return
    with Archive.open(folder) as archive:
        names = {known.id: known.device.name for known in archive.devices()}
        for each in labels:
            for _, twitch in archive.twitches(each.onset_ns, each.onset_ns + 1, each.device_id, each.channel):
                yield whole(twitch, names[each.device_id]) | {"label": str(each.label)}


def labelled_lines(folder: Path, since_ns: int = 0, until_ns: int = _ALWAYS_NS) -> Iterator[str]:
    """The same, one JSON object a line."""
    for fields in labelled(folder, since_ns, until_ns):
        yield json.dumps(fields, ensure_ascii=False, allow_nan=False) + "\n"


def whole(twitch: Twitch, device: str) -> lines.Fields:
    """A stored twitch with its waveform."""
    return lines.at_utc(twitch, device) | {
        "onset_ns": str(twitch.onset_ns),
        "rate_hz": twitch.rate_hz,
        "waveform_start_s": round(twitch.waveform_start_s, 6),
        "waveform": [round(value, 5) for value in twitch.waveform.tolist()],
    }
