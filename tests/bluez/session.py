"""Inside the guest: the collector, bleak and BlueZ on one side, the emulated wearable on the other.

Bumble plays the controller that BlueZ takes for the computer's adapter; it shares the air of the virtual radio
with the wearable. Nothing here may block the event loop: the controller would not answer the kernel in time.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from firmware_interface import ble
from firmware_interface.ble import Connected, Radio
from firmware_interface.codecs.open_profile import OpenProfile
from firmware_interface.emulated.peripheral import WornWearable
from firmware_interface.emulated.wearable import Wearable, WearableSettings
from firmware_interface.samples import GapReason
from firmware_interface.virtual_radio import VirtualRadio
from monitor.clock import HostClock
from monitor.collector import Collector, Subject
from monitor.detection.events import Context
from monitor.detection.settings import DetectorSettings
from monitor.live import _sentence
from monitor.store import Archive, Store
from tests.test_wearable import CountingBody, CountingSettings

ADDRESS = "C4:5A:00:00:00:01"
SLOW = WearableSettings(name="TWITCH", serial="TWITCH", rate_hz=250.0, acc_rate_hz=50.0)
"""An emulated computer takes some 20 notifications a second."""


async def main() -> None:
    from bumble import hci  # noqa: PLC0415 - after virtual_radio has quietened it
    from bumble.controller import Controller  # noqa: PLC0415
    from bumble.transport import open_transport  # noqa: PLC0415

    body = CountingBody(CountingSettings(rate_hz=250.0, acc_rate_hz=50.0))
    async with AsyncExitStack() as stack:
        air = await stack.enter_async_context(VirtualRadio())
        vhci = await stack.enter_async_context(await open_transport("vhci"))
        adapter = Controller("adapter", host_source=vhci.source, host_sink=vhci.sink, link=air._link)
        # https://github.com/google/bumble/issues/841
        adapter.le_features &= ~(hci.LeFeatureMask.LL_PRIVACY | hci.LeFeatureMask.LE_EXTENDED_ADVERTISING)
        adapter.le_acl_data_packet_length = 251
        await powered()
        wearable = Wearable(SLOW, body, 1, time.monotonic_ns())
        worn = await stack.enter_async_context(WornWearable(air, wearable, ADDRESS))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        await session(worn, folder)
    report(wearable)


async def powered() -> None:
    await asyncio.sleep(3)
    power = await asyncio.create_subprocess_exec("timeout", "10", "bluetoothctl", "power", "on")
    await power.wait()


async def session(worn: WornWearable, folder: Path) -> None:
    """Scan, connect, stream, an unplanned disconnect, reconnect."""
    radio, clock = Radio([OpenProfile]), HostClock()
    told: list[object] = []
    for sighting in await radio.scan(8):
        print(f"scan: {sighting.name} {sighting.address} {sighting.rssi} dBm {sighting.codec}")
    store = Store.open(folder)
    store.begin(now_ns=clock.utc_ns(), version="bluez", settings={})
    collector = Collector(radio, store, [Subject(ADDRESS)], DetectorSettings(), clock)
    began_s = time.monotonic()

    def tell(device: str, what: object) -> None:
        told.append(what)
        if not isinstance(what, Context):  # a test pattern is no muscle
            print(f"{time.monotonic() - began_s:6.1f} s {_sentence(device, what)}")

    task = asyncio.create_task(collector.run(tell))
    await until(lambda: connections(told) == 1)
    await asyncio.sleep(25)
    await worn.peripheral.disconnect()
    await until(lambda: connections(told) == 2)
    await asyncio.sleep(15)
    print(f"view: {collector.views()[0].link}, loss {collector.views()[0].loss:.4f}")
    task.cancel()
    await asyncio.wait((task,))
    store.close(clock.utc_ns())
    show(folder)


def connections(told: list[object]) -> int:
    return sum(isinstance(what, Connected) for what in told)


async def until(condition, seconds: float = 120) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


ACCOUNT: dict[str, float] = {}


def show(folder: Path) -> None:
    with Archive.open(folder) as archive:
        gaps = [gap for _, gap in archive.gaps(0, 1 << 62) if gap.stream.name == "emg"]
        minutes = [minute for _, minute in archive.minutes(0, 1 << 62)]
        links = [link for _, link in archive.links(0, 1 << 62)]
    first = minutes[0].channel
    ACCOUNT["received"] = round(sum(m.observed_s for m in minutes if m.channel == first) * SLOW.rate_hz)
    ACCOUNT["missing"] = sum(gap.missing for gap in gaps)
    for gap in gaps:
        print(f"gap: {gap.reason}, {gap.missing} samples, exact: {gap.exact}")
    for link in links:
        print(f"link: {link.address}, firmware {link.firmware}, {link.rssi} dBm")
    assert len(links) >= 2
    assert GapReason.DISCONNECTED in [gap.reason for gap in gaps]
    assert all(gap.exact for gap in gaps)


def report(wearable: Wearable) -> None:
    """What is on its way at an end, seconds of it in so slow a computer, is sent and not received."""
    sent = wearable.sent["emg"]
    print(f"account: received {ACCOUNT['received']}, reported missing {ACCOUNT['missing']}, sent {sent}")
    assert 25 * SLOW.rate_hz < ACCOUNT["received"] <= sent
    print("all well")


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    ble._CONNECT_S, ble._STALL_S = 60.0, 10.0  # the emulated computer stands still for seconds at times
    asyncio.run(main())
