"""What other programs drive, as the collector takes it: an LSL stream, or a board of BrainFlow.

    source ─ thread ─► Chunk ─► Connected | Notification | Lost ─► handle

Rules:

* An address that begins with `lsl:` or `brainflow:` is one of theirs; all others are the radio's.
* Their libraries block: each source has a thread of its own, and nothing else touches it.
* As with the radio, every attempt ends in one `Lost` and is followed by another, for ever. Only a library that is
  missing, or an address that makes no sense, is an error: a person must act.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_interface.ble import Connected, LinkItem, Lost, Radio
from firmware_interface.codecs import Device
from firmware_interface.codecs.relayed import SAMPLES, Relayed, write_info, write_samples
from firmware_interface.errors import RadioError
from firmware_interface.samples import GapReason, Notification

_STALL_S = 3.0
_LEAP_S = 0.5
"""Times that leap by more are another attempt's: what lies between was lost before it came to us."""
_AGAIN_S = 2.0


class SourceError(Exception):
    """The source cannot be opened or read now; another attempt may do."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Samples that follow each other."""

    values: NDArray[np.floating]
    """Shape (channels, samples), in the unit of the stream."""
    first_s: float
    """Time of the first sample and of the last, by a clock of the source that never steps."""
    last_s: float
    age_s: float
    """How long ago the last one was."""


class Source(Protocol):
    """One stream of another program. Its methods block, and are called one after the other from one thread."""

    def open(self) -> Device:
        """What it is, with one stream. Raises SourceError."""

    def read(self) -> Chunk | None:
        """What came since the last time; waits for a moment. Raises SourceError."""

    def close(self) -> None:
        """Whatever became of it."""


class Relay:
    """The radio, and beside it what other programs drive."""

    def __init__(self, radio: Radio) -> None:
        self._radio = radio

    async def follow(self, address: str, handle: Callable[[LinkItem], Awaitable[None]]) -> NoReturn:
        """As `Radio.follow`. Raises RadioError, too, where a library is missing or the address makes no sense."""
        source = source_at(address)
        if source is None:
            await self._radio.follow(address, handle)
        while True:
            async with aclosing(_link(source, address)) as items:
                async for item in items:
                    await handle(item)
            await asyncio.sleep(_AGAIN_S)


def source_at(address: str) -> Source | None:
    """What is at an address that is not the radio's. The libraries come with extras, and are not asked for before.

    Raises:
        RadioError: its library is missing, or it makes no sense.
    """
    kind, _, where = address.partition(":")
    if kind not in ("lsl", "brainflow"):
        return None
    try:
        if kind == "lsl":
            from firmware_interface.lsl_inlet import LslInlet  # noqa: PLC0415

            return LslInlet(where)
        from firmware_interface.brainflow_board import BrainFlowBoard  # noqa: PLC0415

        return BrainFlowBoard(where)
    except ImportError as error:
        raise RadioError(
            f"{address} needs a library that is missing", f"pip install 'fasciwatch[{kind}]'"
        ) from error


async def _link(source: Source, address: str) -> AsyncGenerator[LinkItem, None]:
    """One attempt, up to its `Lost`."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, address) as thread:
        try:
            device = await loop.run_in_executor(thread, source.open)
            info = write_info(device)
            yield Connected(device, Relayed(device), time.monotonic_ns(), address, 0, device.name, (info,))
            index, last_s, arrival_ns, heard_ns = 0, None, 0, time.monotonic_ns()
            while True:
                chunk = await loop.run_in_executor(thread, source.read)
                now_ns = time.monotonic_ns()
                if chunk is None:
                    if now_ns - heard_ns > _STALL_S * 1e9:
                        yield Lost(GapReason.STALLED, now_ns, f"no samples for {_STALL_S:g} s")
                        return
                    continue
                if last_s is not None and abs(chunk.first_s - last_s) > _LEAP_S:
                    yield Lost(GapReason.DISCONNECTED, now_ns, f"{abs(chunk.first_s - last_s):.1f} s are missing")
                    return
                arrival_ns = max(arrival_ns, now_ns - round(max(chunk.age_s, 0.0) * 1e9))
                yield Notification(SAMPLES, write_samples(index, chunk.values), arrival_ns)
                index, last_s, heard_ns = index + chunk.values.shape[1], chunk.last_s, now_ns
        except SourceError as fault:
            yield Lost(GapReason.DISCONNECTED, time.monotonic_ns(), str(fault))
        finally:
            await asyncio.shield(loop.run_in_executor(thread, source.close))
