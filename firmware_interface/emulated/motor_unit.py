"""What one motor unit shows on the skin: a potential under each electrode pair, a push on an accelerometer.

Rules of this module:

* Nothing here knows when a unit fires, how fast a device samples, or what is to be found in the signal.
* Lengths are mm and velocities m/s, which is mm/ms. x lies across the fibres, z along them, depth is below
  the fat. z = 0 is the middle of the innervation zone.
* Shapes, and how amplitudes spread, come from a volume conductor. Its absolute gain is set once, for all
  arms, by measurement: conductivities from 0.063 to 0.303 S/m are in use, amplitudes are known better.

Sources, in full in docs/emulated-arm.md: Rosenfalck's action potential as a tripole in an anisotropic half
space (Merletti 1999; the formulas of the open sEMG-Sim and semg-sim); sizes and times of surface units and
their mechanical twitches (PMC1779696, PMC4274888, Med Biol Eng Comput 2004;42:496).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import bilinear, lfilter

Floats = NDArray[np.float64]

IAP_PER_MM = 1.0  # lambda of V(z) = 96 (lambda z)^3 exp(-lambda z) - 90 mV, Rosenfalck
ANISOTROPY = 6.0  # axial over radial conductivity
RADIAL_S_PER_M = 0.303
# µV S mm per fibre. Makes the median unit within 15 mm of an electrode pair 48.2 µV peak to peak, as measured
# (PMC1779696: 8-327). A fibre of 55 µm and 1.01 S/m would give 230, or 1100 were the muscle 0.063 S/m.
FIBRE_UV = 1020.0
FAT_AND_SKIN_MM = 4.0  # 3 mm + 1 mm, isotropic
DEPTH_MM = (3.0, 20.0)
VELOCITY_M_PER_S = (3.5, 4.5)  # about 4
ENDPLATE_SPREAD_MM = (5.0, 10.0)
SEMI_LENGTH_MM = (40.0, 70.0)
ELECTRODE_DISTANCE_MM = 20.0
ELECTRODE_Z_MM = (15.0, 25.0)  # middle of the pair, between innervation zone and the nearest tendon
FIBRES = (50, 1000)
FIBRES_PER_MM2 = 20.0  # of one unit, within its territory (Fuglevand 1993)
POLYPHASIC_DELAY_MS = (2.0, 9.0)  # late fibre groups; keeps the whole within the 37 ms seen by needle

POINT_HZ = 8000.0  # potentials hold nothing above 1 kHz
POTENTIAL_S = 0.035
PUSH_POINT_HZ = 1000.0
PUSH_S = 1.2  # the slowest resonance, 8 Hz and zeta 0.15, has then fallen to 0.01 %
ONSET_FRACTION = 0.02

CONTRACTION_S = (0.047, 0.102)
MECHANICAL_DELAY_S = (0.0205, 0.0047)  # mean, SD
MECHANICAL_DELAY_MIN_S = 0.010
RESONANCE_HZ = (8.0, 25.0)
RESONANCE_ZETA = (0.15, 0.4)

# A unit of 50 to 1000 fibres is summed at this many evenly spread places, each with its share of the fibres.
# 16 differ from 256 by under 3 % of the peak: at 3 mm and more below the skin single fibres do not stand out.
_PLACES = 16
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


def _tripole() -> tuple[Floats, Floats]:
    """Positions behind the wave front in mm, and strengths, of the three poles of an action potential.

    Each pole is the membrane current between two zero crossings of V'', put at its centre; so the strengths
    add up to nothing, and so do their first moments, as they must for a potential that returns to rest.
    """
    crossings = np.array([0.0, 3 - math.sqrt(3), 3 + math.sqrt(3), 60.0])
    decay = np.exp(-crossings)
    potential = crossings**3 * decay
    slope = crossings**2 * (3 - crossings) * decay
    strengths = np.diff(slope)
    positions = np.diff(crossings * slope - potential) / strengths
    return positions / IAP_PER_MM, strengths


POLE_MM, POLE_STRENGTH = _tripole()


@dataclass(frozen=True, slots=True)
class Electrodes:
    """The middles of bipolar pairs in line with the fibres; shape (channels,) each."""

    x_mm: Floats
    z_mm: Floats


@dataclass(frozen=True, slots=True)
class MotorUnit:
    """The fibres of one motor neuron, as `_PLACES` groups; shape (places,) each."""

    fibres: int
    velocity_m_per_s: float
    x_mm: Floats
    depth_mm: Floats
    endplate_mm: Floats
    tendons_mm: Floats
    """Distance from end-plate to tendon, shape (2, places): towards +z and -z."""
    delay_ms: Floats
    """How much later than the first group each group is excited; zero unless polyphasic."""


def draw_unit(rng: Generator, x_mm: float, fibres: int, *, polyphasic: bool) -> MotorUnit:
    """A motor unit around `x_mm` with everything else drawn from the ranges above."""
    radius = math.sqrt(fibres / FIBRES_PER_MM2 / math.pi)
    place = np.arange(_PLACES)
    distance = radius * np.sqrt((place + 0.5) / _PLACES)
    angle = _GOLDEN_ANGLE * place + rng.uniform(0, 2 * math.pi)
    endplate = _scatter(rng)
    return MotorUnit(
        fibres=fibres,
        velocity_m_per_s=rng.uniform(*VELOCITY_M_PER_S),
        x_mm=x_mm + distance * np.cos(angle),
        depth_mm=_reflected(_log_uniform(rng, DEPTH_MM) + distance * np.sin(angle), DEPTH_MM),
        endplate_mm=endplate,
        tendons_mm=rng.uniform(*SEMI_LENGTH_MM, (2, 1)) + np.stack((_scatter(rng), _scatter(rng))),
        delay_ms=_late_groups(rng) if polyphasic else np.zeros(_PLACES),
    )


def _log_uniform(rng: Generator, bounds: tuple[float, float]) -> float:
    return math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1])))


def _reflected(values: Floats, bounds: tuple[float, float]) -> Floats:
    """A territory that would leave the muscle is folded back into it."""
    low, high = bounds
    return np.asarray(high - np.abs(high - low - np.abs(values - low)))


def _scatter(rng: Generator) -> Floats:
    """Even scatter over the width of an innervation zone, around 0; tendons are as ragged."""
    strata = (rng.permutation(_PLACES) + 0.5) / _PLACES - 0.5
    return np.asarray(rng.uniform(*ENDPLATE_SPREAD_MM) * strata)


def _late_groups(rng: Generator) -> Floats:
    """Three groups of fibres, two of them reached late, over slow new branches of the axon."""
    delays = np.array([0.0, *rng.uniform(*POLYPHASIC_DELAY_MS, 2)])
    return delays[np.arange(_PLACES) % 3]


def surface_potential(unit: MotorUnit, electrodes: Electrodes) -> Floats:
    """The unit's potential from its excitation at 0 to `POTENTIAL_S`; shape (points, channels), in µV.

    From each end-plate two tripoles leave in opposite directions. A pole not yet formed waits at the
    end-plate and one that has arrived stays at the tendon, where the three cancel: the end-of-fibre effect.
    """
    poles = _pole_positions(unit)
    group_uv = FIBRE_UV * unit.fibres / _PLACES / (2 * math.pi * RADIAL_S_PER_M)
    strengths = group_uv * np.tile(POLE_STRENGTH, 2)
    potentials = np.empty((poles.shape[2], len(electrodes.x_mm)))
    for channel, (x_mm, z_mm) in enumerate(zip(electrodes.x_mm, electrodes.z_mm, strict=True)):
        # Fat and skin are isotropic: to a wave along z they weigh 1/sqrt(Ka) of so much muscle.
        depth = math.sqrt(ANISOTROPY) * unit.depth_mm + FAT_AND_SKIN_MM
        across = (ANISOTROPY * (unit.x_mm - x_mm) ** 2 + depth**2)[:, None, None]
        near, far = (
            np.einsum("p,fpt->t", strengths, 1 / np.sqrt(across + (z_mm + side - poles) ** 2))
            for side in (-ELECTRODE_DISTANCE_MM / 2, ELECTRODE_DISTANCE_MM / 2)
        )
        potentials[:, channel] = near - far
    return potentials


def _pole_positions(unit: MotorUnit) -> Floats:
    """z of every pole at every point in time; shape (places, 6, points)."""
    times_ms = np.arange(round(POTENTIAL_S * POINT_HZ)) / POINT_HZ * 1000
    front = unit.velocity_m_per_s * (times_ms - unit.delay_ms[:, None])
    travelled = front[:, None, :] - POLE_MM[:, None]
    up, down = (np.clip(travelled, 0, tendon[:, None, None]) for tendon in unit.tendons_mm)
    endplate = unit.endplate_mm[:, None, None]
    return np.concatenate((endplate + up, endplate - down), axis=1)


def extent_s(potential: Floats) -> tuple[float, float]:
    """When one channel's `potential` first exceeds 2 % of its peak, and for how long until the last time."""
    size = np.abs(potential)
    above = np.flatnonzero(size > ONSET_FRACTION * size.max())
    return float(above[0] / POINT_HZ), float((above[-1] - above[0]) / POINT_HZ)


def mechanical_push(rng: Generator, onset_s: float, peak_to_peak_g: float) -> Floats:
    """Acceleration of the skin over one twitch, along a random axis; shape (`PUSH_S` in points, 3), in g.

    The unit's force P t/T exp(1 - t/T), `MECHANICAL_DELAY_S` after the potential's onset at `onset_s`, drives
    muscle and skin, a resonance of second order, whose displacement is differentiated twice.
    """
    delay_s = max(rng.normal(*MECHANICAL_DELAY_S), MECHANICAL_DELAY_MIN_S)
    times_s = np.arange(round(PUSH_S * PUSH_POINT_HZ)) / PUSH_POINT_HZ - onset_s - delay_s
    relative = np.maximum(times_s, 0) / rng.uniform(*CONTRACTION_S)
    force = relative * np.exp(1 - relative)
    omega = 2 * math.pi * rng.uniform(*RESONANCE_HZ)
    resonance = [1.0, 2 * rng.uniform(*RESONANCE_ZETA) * omega, omega**2]
    acceleration = lfilter(*bilinear([1.0, 0.0, 0.0], resonance, PUSH_POINT_HZ), force)
    axis = rng.normal(size=3)
    unit_size = peak_to_peak_g / np.ptp(acceleration) / np.linalg.norm(axis)
    return np.asarray(acceleration[:, None] * (axis * unit_size))
