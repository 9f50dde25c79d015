"""All families of wearables that this program reads; the first that recognises a device reads it."""

from __future__ import annotations

from firmware_interface.codecs import Codec
from firmware_interface.codecs.open_profile import OpenProfile

CODECS: tuple[type[Codec], ...] = (OpenProfile,)
