"""What must not stand in the configuration: tokens and passwords.

Rule: looked for in the environment, then in a file, then in the keyring of the desktop; never written, shown or
logged. The keyring is the extra "keyring"; `keyring set fasciwatch influxdb` fills it.
"""

from __future__ import annotations

import os
from pathlib import Path

from monitor.config import ConfigError

_SERVICE = "fasciwatch"


def credential(name: str, file: Path | None, what: str = "token") -> str:
    """The secret of `name` ("influxdb"), "" where there is none.

    Args:
        name: of the server it is for: FASCIWATCH_<NAME>_<WHAT> in the environment, <name> in the keyring.
        file: that holds it, and nothing else.
        what: "token" or "password".

    Raises:
        ConfigError: the file cannot be read.
    """
    given = os.environ.get(f"{_SERVICE}_{name}_{what}".upper())
    if given:
        return given.strip()
    if file is not None:
        return _read(f"{name}.{what}_file", file)
    return _from_keyring(name)


def _read(key: str, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"{key} = {str(file)!r}: {reason}", "Correct the path") from error


def _from_keyring(name: str) -> str:
    try:
        import keyring  # noqa: PLC0415 - an extra
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ImportError:
        return ""
    try:
        return keyring.get_password(_SERVICE, name) or ""
    except KeyringError:  # no desktop, or it is locked
        return ""
