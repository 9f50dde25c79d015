"""What alerts cost, and how soon they are there.

    .venv/bin/python -m benchmarks.alerts rules        # evaluations a second on one core
    .venv/bin/python -m benchmarks.alerts latency      # onset to subscriber, through the demo; needs mosquitto
    .venv/bin/python -m benchmarks.alerts reconnect    # states of 100 devices, said again; needs mosquitto

Latency: each twitch of the emulated wearable is told on standard output when it is decided, and is heard by
mosquitto_sub when it was committed, sent and passed on. The first is the detector's decision latency; the
difference is what the way to the subscriber costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from monitor.alerts.engine import Engine, Now
from monitor.alerts.rules import DEFAULTS, Kind
from monitor.alerts.watching import Seen, SeenChannel, Watching
from monitor.outbox import Delivery, Outbox
from monitor.sinks.mqtt import Broker, Mqtt
from monitor.sinks.requests import Requests
from monitor.store import Store
from tests.servers import Ear, Mosquitto

DEVICES, CHANNELS = 100, ("FDI", "biceps", "FCR", "triceps")


def devices(second: int, twitches: int) -> list[Seen]:
    channels = tuple(SeenChannel(name, True, twitches, float(second)) for name in CHANNELS)
    return [Seen(f"d{n}", f"d{n}", second * 10**9, 80, 0.01, channels) for n in range(DEVICES)]


def rules(seconds: int) -> None:
    """All kinds, of 100 devices with 4 channels, a tick a second."""
    person = [replace(DEFAULTS[kind], on=True) for kind in (Kind.RATE, Kind.BURST, Kind.TRIGGER_REMINDER)]
    watching, engine, evaluated, begun = Watching(person, ["influx"]), Engine(), 0, time.process_time()
    for second in range(1, seconds + 1):
        now = Now(second * 10**9, 1_800_000_000 * 10**9 + second * 10**9, 0)
        readings = watching.readings(now, devices(second, second // 3), {})
        engine.tick(now, readings)
        evaluated += len(readings)
    spent = time.process_time() - begun
    print(
        f"{evaluated / spent:.0f} rules evaluated a second of CPU ({evaluated // seconds} a tick, {seconds} ticks)"
    )


def latency(minutes: float) -> None:
    with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name) / "m") as broker:
        config = Path(name) / "config.toml"
        config.write_text(f'node = "n"\n[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\ntls = false\n')
        program = Path(sys.executable).with_name("fasciwatch")
        options = ["--data", Path(name) / "data", "--config", config, "--for", str(60 * minutes), "--json"]
        decided: dict[tuple[str, str], float] = {}
        with Ear(broker, "fasciwatch/n/+/twitch") as ear:
            demo = subprocess.Popen([program, "demo", *options], stdout=subprocess.PIPE, text=True)
            listening = threading.Thread(target=_listen, args=(demo, decided))
            listening.start()
            demo.wait()
            listening.join()
        heard: dict[tuple[str, str], float] = {}
        for at, _, _, said in ear.heard:
            fields = json.loads(said)
            heard.setdefault((fields["onset"], fields["channel"]), at)
    both = sorted(set(decided) & set(heard))
    wall = time.time() - time.monotonic()
    onsets = {key: datetime.fromisoformat(key[0]).timestamp() - wall for key in both}
    _say("onset to decision    ", [decided[key] - onsets[key] for key in both])
    _say("onset to subscriber  ", [heard[key] - onsets[key] for key in both])
    _say("decision to subscriber", [heard[key] - decided[key] for key in both])
    print(f"{len(decided)} twitches told, {len(heard)} heard; load {os.getloadavg()[0]:.1f}")


def _listen(demo: subprocess.Popen[str], decided: dict[tuple[str, str], float]) -> None:
    assert demo.stdout
    for said in demo.stdout:
        fields = json.loads(said)
        if fields["type"] == "twitch":
            decided[fields["onset"], fields["channel"]] = time.monotonic()


def _say(what: str, seconds: list[float]) -> None:
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    print(f"{what} p50 {p50:.1f} ms, p99 {p99:.1f} ms, of {len(seconds)}")


def reconnect() -> None:
    with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name) / "m") as broker:
        asyncio.run(_reconnect(Path(name) / "data", broker))


async def _reconnect(folder: Path, broker: Mosquitto) -> None:
    """Kill the broker, which retains nothing; how long all states take from its being back and connected to."""
    store = Store.open(folder)
    store.begin(now_ns=time.time_ns(), version="1", settings={})
    outbox = Outbox(folder, "n")
    sink = Mqtt(Broker("localhost", broker.port, tls=False), "n", outbox, Requests(folder))
    watching, engine = Watching((), ["mqtt"]), Engine()
    now = Now(10**12, time.time_ns(), 0)
    alerts = engine.tick(now, watching.readings(now, devices(1000, 0), {}))
    store.write([(0, alert) for alert in alerts], time.time_ns())
    delivery = Delivery(sink, outbox)
    task = asyncio.create_task(delivery.run(lambda _, records: store.write([(0, r) for r in records], 0), _deaf))
    sink.show(10**12, devices(1000, 0))
    wanted = 2 * DEVICES + len(alerts)  # availability and state of each, and every alert
    took = []
    for _ in range(5):
        broker.kill()
        await asyncio.to_thread(broker.start)
        with Ear(broker, "fasciwatch/n/#") as ear:
            while len({topic for _, topic, _, _ in ear.heard}) < wanted + 1:  # noqa: ASYNC110 - a process decides
                await asyncio.sleep(0.01)
            connected = next(
                at for at, topic, _, said in ear.heard if topic == "fasciwatch/n/state" and said == "online"
            )
            first: dict[str, float] = {}
            for at, topic, _, _ in ear.heard:
                first.setdefault(topic, at)
            took.append(max(first.values()) - connected)
    task.cancel()
    await asyncio.wait((task,))
    store.close(time.time_ns())
    print(f"{wanted} states of {DEVICES} devices: {max(took):.2f} s at most of 5, load {os.getloadavg()[0]:.1f}")


def _deaf(_: str, __: str | None) -> None:
    pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rules", "latency", "reconnect"])
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--minutes", type=float, default=5.0)
    chosen = parser.parse_args()
    match chosen.what:
        case "rules":
            rules(chosen.seconds)
        case "latency":
            latency(chosen.minutes)
        case _:
            reconnect()
