"""Tallies from what is stored: which site, which donning, how many artefacts.

Rules:

* A site is what a channel was called; the axes of an accelerometer are one. Where two devices have a site of the
  same name, the device is part of it: two arms are not one.
* A donning ends where a device saw nothing that could be analysed for 2 h. Shorter pauses are lost packets, a
  shower or a walk out of reach, and the level before and after is compared.
* Artefacts are counted where they began.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from monitor.correlation.bins import BIN_S, Tallies
from monitor.detection.events import State
from monitor.store import KnownDevice, Spent, Stretch

BIN_NS = BIN_S * 10**9
"""The stretch to ask the archive for."""
_DONNING_NS = 2 * 3600 * 10**9


def tallies_of(stretches: Sequence[Stretch], spent: Sequence[Spent], names: Mapping[int, str]) -> Tallies:
    """Tallies, in order of time.

    Args:
        stretches: of `BIN_NS`, in order of time.
        spent: contexts in stretches as long.
        names: of the devices, by id.
    """
    sites = sites_of((each.where for each in stretches), names)
    numbers = {site: number for number, site in enumerate(sorted(set(sites.values())))}
    artefacts: dict[tuple[int, str, int], int] = defaultdict(int)
    for each in spent:
        if each.state is State.ARTEFACT:
            artefacts[each.device_id, each.channel, each.start_ns] += each.count
    kept = [each for each in stretches if each.observed_s > 0]
    return Tallies(
        start_s=np.array([each.start_ns * 1e-9 for each in kept]),
        duration_s=np.array([each.observed_s for each in kept]),
        analysable_s=np.array([each.analysable_s for each in kept]),
        twitches=np.array([float(each.twitches) for each in kept]),
        site=np.array([numbers[sites[each.where]] for each in kept], np.int64),
        sites=tuple(numbers),
        session=np.array(_donnings(kept), np.int64),
        artefacts=np.array([float(artefacts[each.device_id, each.channel, each.start_ns]) for each in kept]),
        activity=np.full(len(kept), np.nan),
    )


def sites_of(heard: Iterable[tuple[int, str]], names: Mapping[int, str]) -> dict[tuple[int, str], str]:
    """What to call each (device, channel) of stretches."""
    devices: dict[str, set[int]] = defaultdict(set)
    for device, channel in heard:
        devices[channel].add(device)
    called = {
        (device, channel): channel if len(ids) == 1 else f"{names[device]} {channel}"
        for channel, ids in devices.items()
        for device in ids
    }
    twice = [name for name in called.values() if list(called.values()).count(name) > 1]
    return {key: f"{name} ({key[0]})" if name in twice else name for key, name in called.items()}


def every_channel(
    sites: Mapping[tuple[int, str], str], devices: Sequence[KnownDevice]
) -> dict[tuple[int, str], str]:
    """The same, with each axis of an accelerometer, after which twitches are named."""
    found = dict(sites)
    for known in devices:
        for channel in (name for stream in known.device.streams for name in stream.channels):
            site = known.id, known.device.site(channel)
            if site in sites:
                found[known.id, channel] = sites[site]
    return found


def _donnings(stretches: Sequence[Stretch]) -> list[int]:
    """A number for each stretch; it grows where its device saw nothing for long."""
    last_ns: dict[int, int] = {}
    numbers: dict[int, int] = {}
    found: list[int] = []
    count = 0
    for each in stretches:
        if each.device_id not in last_ns or each.start_ns - last_ns[each.device_id] > _DONNING_NS:
            numbers[each.device_id] = count
            count += 1
        if each.analysable_s > 0 or each.device_id not in last_ns:
            last_ns[each.device_id] = each.start_ns
        found.append(numbers[each.device_id])
    return found
