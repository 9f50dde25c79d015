"""All families that are read. A new one is a module beside this one, and a line here."""

from __future__ import annotations

from firmware_interface.codecs import Codec
from firmware_interface.codecs.open_profile import OpenProfile

FAMILIES: tuple[type[Codec], ...] = (OpenProfile,)
