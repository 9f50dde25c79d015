"""The motor units of one arm: the fasciculating ones of each muscle, then the voluntary ones of each.

Rules of this module:

* A muscle is what lies below one channel, or below several neighbours where there are more than eight.
* A unit lies within `PAIR_REACH_MM` of some electrode pair: what no pair can see is not drawn.
* A fasciculating unit is any unit whose potential is of a size described for fasciculations. Its amplitude
  follows from its fibres and its depth, and so is nearly log-normal; it is not set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from firmware_interface.emulated.firing import POOL
from firmware_interface.emulated.motor_unit import (
    ELECTRODE_Z_MM,
    FIBRES,
    POINT_HZ,
    Electrodes,
    draw_unit,
    extent_s,
    mechanical_push,
    surface_potential,
)

Floats = NDArray[np.float64]

MUSCLES_MAX = 8
PAIR_REACH_MM = 15.0
TWITCH_UV = (24.0, 1500.0)  # peak to peak, on the channel where it is largest
POLYPHASIC_SHARE = 0.105  # in muscles without denervation
PUSH_G = (0.001, 0.003)  # peak to peak, one unit
VISIBLE_PUSH_G = (0.010, 0.100)

# From a firing to its end-plates: about what a nerve to the hand takes. It is also the room that a
# converter's symmetric response needs before the potential, at 100 Hz and more.
NERVE_S = 0.015


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """What each unit looks like. Responses begin at the firing; units are counted over all muscles."""

    potentials_uv: Floats
    """Shape (units, points, channels), `POINT_HZ` points a second."""
    pushes_g: Floats
    """Shape (units, points, 3), `PUSH_POINT_HZ` points a second."""
    onsets_s: Floats
    """From a firing to the onset of its potential on the channel where it is largest; shape (units,)."""
    durations_s: Floats
    """Of the potential there; shape (units,)."""
    peak_to_peak_uv: Floats
    """Shape (units, channels)."""


def muscles(channels: int) -> int:
    """How many muscles lie below so many channels."""
    return min(channels, MUSCLES_MAX)


def draw_anatomy(
    rng: Generator, channels: int, spacing_mm: float, motor_units: int, *, visible: bool, voluntary: bool
) -> Anatomy:
    """An arm with `motor_units` fasciculating units a muscle; with or without the voluntary ones."""
    z_mm = rng.uniform(*ELECTRODE_Z_MM, channels)
    electrodes = Electrodes(spacing_mm * np.arange(channels, dtype=np.float64), z_mm)
    bellies = np.array_split(electrodes.x_mm, muscles(channels))
    own, twitching, contracting = rng.spawn(3)
    potentials = [_twitching(twitching, x, electrodes) for x in bellies for _ in range(motor_units)]
    pushes_g = [_push_size_g(own, visible=visible) for _ in potentials]
    if voluntary:
        ranks = np.tile(np.arange(1, POOL + 1) / POOL, len(bellies))
        potentials += [_any_unit(contracting, x, rank, electrodes) for x in bellies for rank in ranks[:POOL]]
        pushes_g += list(PUSH_G[0] * (PUSH_G[1] / PUSH_G[0]) ** ranks)
    return _assembled(own, np.stack(potentials), pushes_g)


def _twitching(rng: Generator, x_mm: Floats, electrodes: Electrodes) -> Floats:
    """The potential of a unit that is of a size to be called a fasciculation."""
    while True:
        potential = _any_unit(rng, x_mm, rng.uniform(), electrodes)
        if TWITCH_UV[0] <= np.ptp(potential, axis=0).max() <= TWITCH_UV[1]:
            return potential


def _any_unit(rng: Generator, x_mm: Floats, rank: float, electrodes: Electrodes) -> Floats:
    """The potential of a unit below any of the pairs at `x_mm`; those recruited later are larger."""
    unit = draw_unit(
        rng,
        x_mm=rng.choice(x_mm) + rng.uniform(-PAIR_REACH_MM, PAIR_REACH_MM),
        fibres=round(FIBRES[0] * (FIBRES[1] / FIBRES[0]) ** rank),
        polyphasic=rng.uniform() < POLYPHASIC_SHARE,
    )
    return surface_potential(unit, electrodes)


def _push_size_g(rng: Generator, *, visible: bool) -> float:
    low, high = VISIBLE_PUSH_G if visible else PUSH_G
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _assembled(rng: Generator, potentials: Floats, pushes_g: list[float]) -> Anatomy:
    peak_to_peak = np.ptp(potentials, axis=1)
    extents = [extent_s(p[:, size.argmax()]) for p, size in zip(potentials, peak_to_peak, strict=True)]
    onsets_s = [NERVE_S + onset_s for onset_s, _ in extents]
    return Anatomy(
        potentials_uv=np.pad(potentials, ((0, 0), (round(NERVE_S * POINT_HZ),) * 2, (0, 0))),
        pushes_g=np.stack([mechanical_push(rng, at_s, g) for at_s, g in zip(onsets_s, pushes_g, strict=True)]),
        onsets_s=np.array(onsets_s),
        durations_s=np.array([duration_s for _, duration_s in extents]),
        peak_to_peak_uv=peak_to_peak,
    )
