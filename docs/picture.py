"""Makes docs/live.svg, the picture in the README: the live view after half a minute of the demo.

python docs/picture.py
"""

from __future__ import annotations

import asyncio
import io
import re
import tempfile
import time
from pathlib import Path

from rich.console import Console

from firmware_interface.ble import Radio
from firmware_interface.codecs.open_profile import OpenProfile
from firmware_interface.emulated.arm import Arm, ArmSettings
from firmware_interface.emulated.peripheral import WornWearable
from firmware_interface.emulated.wearable import Wearable, WearableSettings
from firmware_interface.virtual_radio import VirtualRadio
from monitor.collector import Collector, Subject
from monitor.detection.settings import DetectorSettings
from monitor.live import Screen
from monitor.store import Store

_SECONDS = 40.0
_ADDRESS = "F0:5C:1A:00:00:01"


async def _live(folder: Path, console: Console) -> None:
    arm = Arm(ArmSettings(channels=("biceps", "triceps", "FCR", "FDI"), twitches_per_min=30.0), seed=1)
    wearable = Wearable(WearableSettings(loss=0.01), arm, 1, time.monotonic_ns())
    store = Store.open(folder)
    store.begin(now_ns=time.time_ns(), version="picture", settings={})
    async with VirtualRadio() as radio, WornWearable(radio, wearable, _ADDRESS):
        followed = Radio((OpenProfile,), radio.backend)
        collector = Collector(followed, store, [Subject(_ADDRESS)], DetectorSettings())
        screen = Screen(collector, Console(file=io.StringIO(), width=100))
        task = asyncio.create_task(collector.run(screen.tell), name="collector")
        await asyncio.sleep(_SECONDS)
        console.print(screen.render())
        task.cancel()
        await asyncio.wait((task,))
    store.close(time.time_ns())


def main() -> None:
    """Watch, draw, and keep no font from elsewhere."""
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_live(Path(folder), console))
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="fasciwatch demo"), flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg).replace("Fira Code", "DejaVu Sans Mono")
    Path(__file__).with_name("live.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
