"""A person's own descriptions of devices: one TOML file each, in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from firmware_interface.codecs import Codec
from firmware_interface.codecs.described import DescriptionError, described
from firmware_interface.codecs.families import FAMILIES


def families(folder: Path | None) -> tuple[type[Codec], ...]:
    """All that are read: first those described in `folder`, if any, then the built-in ones.

    Raises:
        DescriptionError: there is no such folder; a description cannot be read, or bears the name of another.
    """
    if folder is None:
        return FAMILIES
    if not folder.is_dir():
        raise DescriptionError(f"{folder}: no such folder", "Make it, or correct descriptions")
    own = tuple(_described(folder))
    for number, family in enumerate(own):
        if family.FAMILY in (other.FAMILY for other in (*own[:number], *FAMILIES)):
            raise DescriptionError(f"{folder}: there are two families {family.FAMILY!r}", "Name one otherwise")
    return (*own, *FAMILIES)


def _described(folder: Path) -> Iterator[type[Codec]]:
    for path in sorted(folder.glob("*.toml")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise DescriptionError(f"{path}: {reason}", "Check the file and its permissions") from error
        yield described(text, str(path))
