"""Where electrodes go, drawn: a body, and each place with its pair of electrodes along the muscle.

Rule: own drawings, of plain shapes; a drawing shows where, the words beside it say how.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from monitor.page.frame import text


@dataclass(frozen=True, slots=True)
class Spot:
    """A place on the drawing, 200 by 420; the person's left is on the right."""

    x: float
    y: float
    angle: float
    """Of the muscle, degrees from upright."""
    back: bool = False
    """Reached from behind."""
    reference: str = "on a bone nearby"


SPOTS: Final = {
    "eye": Spot(112, 39, 60, reference="behind the ear"),
    "face": Spot(111, 50, 40, reference="behind the ear"),
    "tongue": Spot(100, 66, 0, reference="behind the ear"),
    "arm": Spot(151, 128, 8, reference="at the elbow"),
    "forearm": Spot(159, 182, 10, reference="at the elbow"),
    "hand": Spot(170, 226, 30, reference="at the wrist"),
    "thigh": Spot(117, 276, -4, reference="on the kneecap"),
    "calf": Spot(122, 338, 2, back=True, reference="on the shin bone"),
    "shin": Spot(127, 334, 2, reference="on the kneecap"),
    "foot": Spot(126, 396, 70, reference="at the ankle"),
}
"""Of the catalogue's SITES."""

_BODY = (
    '<circle cx="100" cy="42" r="24"/><rect x="91" y="62" width="18" height="20" rx="6"/>'
    '<path d="M62 86 Q100 74 138 86 L132 170 Q130 196 136 222 L64 222 Q70 196 68 170 Z"/>'
    '<path d="M138 88 Q158 94 159 130 L166 206 Q170 216 172 232 L162 234 L150 206 L136 128 Z"/>'
    '<path d="M62 88 Q42 94 41 130 L34 206 Q30 216 28 232 L38 234 L50 206 L64 128 Z"/>'
    '<path d="M101 222 L136 222 Q138 270 133 306 Q136 344 130 388 L134 400 L116 404 L113 388 Q110 344 111 306 Z"/>'
    '<path d="M99 222 L64 222 Q62 270 67 306 Q64 344 70 388 L66 400 L84 404 L87 388 Q90 344 89 306 Z"/>'
)


def figure(chosen: str) -> str:
    """The body with one place marked."""
    spot = SPOTS[chosen]
    others = "".join(
        f'<circle cx="{each.x}" cy="{each.y}" r="3" fill="var(--quiet)"/>'
        for name, each in SPOTS.items()
        if name != chosen
    )
    pair = (
        f'<g transform="translate({spot.x} {spot.y}) rotate({spot.angle})">'
        '<line x1="0" y1="-14" x2="0" y2="14" stroke="var(--accent)" stroke-width="1.5" stroke-dasharray="3 2"/>'
        '<circle cx="0" cy="-7" r="5.5" fill="var(--accent)" stroke="var(--card)" stroke-width="1.5"/>'
        '<circle cx="0" cy="7" r="5.5" fill="var(--accent)" stroke="var(--card)" stroke-width="1.5"/></g>'
        f'<circle cx="{spot.x}" cy="{spot.y}" r="21" fill="none" stroke="var(--accent)" stroke-width="1.5"/>'
    )
    about = text(f"A body with two electrodes on the {chosen}{', reached from behind' if spot.back else ''}")
    return (
        f'<svg viewBox="0 0 200 420" role="img" aria-label="{about}" class="body-figure">'
        f'<g fill="var(--info-ground)" stroke="var(--quiet)" stroke-width="1.5">{_BODY}</g>'
        f"{others}{pair}</svg>"
    )
