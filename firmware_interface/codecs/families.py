"""All families that are read. A new one is a module beside this one, and a line here.

A described one (`described.py`) is known by its description, which goes along where others go by their name.
"""

from __future__ import annotations

from collections.abc import Collection

from firmware_interface.codecs import Codec
from firmware_interface.codecs.bangle import Bangle
from firmware_interface.codecs.bitalino import BITalino
from firmware_interface.codecs.described import Described, described
from firmware_interface.codecs.ganglion import Ganglion
from firmware_interface.codecs.gforce import GForce
from firmware_interface.codecs.metamotion import MetaMotion
from firmware_interface.codecs.movesense import Movesense
from firmware_interface.codecs.muse import Muse
from firmware_interface.codecs.myo import Myo
from firmware_interface.codecs.npg_lite import NpgLite
from firmware_interface.codecs.open_profile import OpenProfile
from firmware_interface.codecs.polar import Polar
from firmware_interface.codecs.relayed import Relayed
from firmware_interface.codecs.thingy52 import Thingy52
from firmware_interface.codecs.umyo import UMyo
from firmware_interface.codecs.witmotion import WitMotion
from firmware_interface.codecs.xsens_dot import XsensDot

FAMILIES: tuple[type[Codec], ...] = (
    OpenProfile,
    Polar,
    UMyo,
    Ganglion,
    Movesense,
    Myo,
    NpgLite,
    Muse,
    MetaMotion,
    WitMotion,
    GForce,
    BITalino,
    Bangle,
    Thingy52,
    XsensDot,
)


def recognise(services: Collection[str], name: str | None) -> type[Codec] | None:
    """The family of whatever advertises these services and this name; the first that says so."""
    return next((family for family in FAMILIES if family.recognises(services, name)), None)


def family_as_kept(codec: Codec) -> str:
    """What tells the family again, for whoever keeps what a device said: its name, or its description."""
    return codec.SOURCE if isinstance(codec, Described) else codec.FAMILY


def family_kept_as(text: str) -> type[Codec]:
    """The inverse. Raises KeyError where there is no such family."""
    if "\n" in text:
        return described(text)
    known: tuple[type[Codec], ...] = (*FAMILIES, Relayed)
    return {family.FAMILY: family for family in known}[text]
