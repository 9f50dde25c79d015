"""Where on the body: as a person says it, as a muscle is called, and where electrodes go.

Rule: a site is said as a side, if any, and one of the names below. What a channel was called may be anything, a
muscle or a device's own label: then its places are unknown, which matches nothing.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

from monitor.correlation.catalogue import SITES

REGIONS: Final = MappingProxyType(
    {
        "eye": ("eye",),
        "face": ("face",),
        "tongue": ("tongue",),
        "arms": ("arm", "forearm", "hand"),
        "legs": ("thigh", "calf", "shin", "foot"),
    }
)
"""As people speak of them -> places of electrodes, keys of the catalogue's SITES."""

_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_OTHER_NAMES = {
    "eyelid": "eye", "eyelids": "eye", "eyes": "eye", "orbicularis": "eye",
    "cheek": "face", "chin": "face", "lip": "face", "zygomaticus": "face", "mentalis": "face",
    "digastric": "tongue",
    "biceps": "arm", "triceps": "arm", "deltoid": "arm",
    "forearms": "forearm", "wrist": "forearm", "fcr": "forearm",
    "hands": "hand", "thumb": "hand", "fdi": "hand", "apb": "hand",
    "leg": "legs", "thighs": "thigh", "quadriceps": "thigh", "vastus": "thigh",
    "calves": "calf", "gastrocnemius": "calf", "soleus": "calf",
    "shins": "shin", "tibialis": "shin",
    "feet": "foot", "sole": "foot", "toe": "foot", "ah": "foot", "hallucis": "foot",
}  # fmt: skip
"""Muscles, plurals and parts -> a place or a region."""


def site_named(text: str) -> str | None:
    """A site as we write it: "Left calves" is "left calf"; `None` where it names no place that we know."""
    side, name = _parsed(text)
    return None if name is None else f"{side} {name}".strip()


def places(label: str) -> frozenset[str]:
    """The places of electrodes that a site or the name of a channel means; empty where it is not known."""
    _, name = _parsed(label)
    return frozenset() if name is None else frozenset(REGIONS.get(name, (name,)))


def same_place(felt: str, label: str) -> bool:
    """Whether what was felt at a site could be seen by a channel."""
    sides = {_parsed(felt)[0], _parsed(label)[0]} - {""}
    return len(sides) < 2 and bool(places(felt) & places(label))


def _parsed(text: str) -> tuple[str, str | None]:
    """(side or nothing, name); the first word that is a place counts: "biceps brachii" is an arm."""
    words = re.findall(r"[a-z]+", text.lower())
    side = next((_SIDES[word] for word in words if word in _SIDES), "")
    known = {*SITES, *REGIONS}
    named = (_OTHER_NAMES.get(word, word) for word in words)
    return side, next((name for name in named if name in known), None)
