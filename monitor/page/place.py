"""Where the page is: its address and its port."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from typing import ClassVar, Final

from firmware_interface.errors import Fault

EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - to compare with


class PageError(Fault):
    """The page cannot be served like this; the person's to mend."""

    exit_code: ClassVar[int] = 2


def is_loopback(address: str) -> bool:
    """Whether nobody but this computer reaches an address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def url(address: str, port: int, *, tls: bool) -> str:
    """To be opened, by whoever can reach it."""
    host = next(iter(local_addresses()), "localhost") if address in EVERYWHERE else address
    named = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{named}:{port}/"


def local_addresses() -> list[str]:
    """Of this computer on its network; nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # TEST-NET-1, which is nowhere
        return [probe.getsockname()[0]]
    return []


def free_port(address: str, first: int) -> int:
    """`first`, or the next one that nobody listens on.

    Raises:
        PageError: none of ten is free.
    """
    for port in range(first, first + 10):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as trial, suppress(OSError):
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((address, port))
            return port
    raise PageError(f"the ports {first} to {first + 9} are all in use", "Name another one with --port")
