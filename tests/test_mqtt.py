"""MQTT with a real broker that dies, stalls, forgets, refuses and lies: alerts arrive, or a person is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from firmware_interface.samples import Status
from monitor.alerts.engine import Alert, Change
from monitor.alerts.rules import Kind
from monitor.alerts.said import said_after
from monitor.alerts.watching import Seen, SeenChannel
from monitor.diary import Diary, read_diary
from monitor.outbox import Delivery, DeniedError, Outbox
from monitor.sinks import mqtt
from monitor.sinks.mqtt import Broker, Mqtt, tried
from monitor.sinks.requests import Requests
from monitor.store import Store
from monitor.tally import Minute
from tests.servers import Cable, Ear, Mosquitto, certificates
from tests.test_store import BOARD, CONTEXT, GAP, NOW, TWITCH, S

NODE = "laptop"
HERE = f"fasciwatch/{NODE}"
LASTING = ("persistence true", "autosave_on_changes true", "autosave_interval 1")
"""What the documents tell people to have their broker do."""
ALERT = Alert(
    "no_data.arm", Kind.NO_DATA, NOW, Change.RAISED, raised=True, since_ns=NOW, why="gone", announce=True
)
SEEN = Seen("arm", "arm", 10 * S, 80, 0.02, (SeenChannel("FDI", True, 0, 0.0),))


class Desk:
    """A store in a session, and a broker that it is delivered to."""

    def __init__(self, folder, broker):
        self.folder, self.store = folder, Store.open(folder)
        self.store.begin(now_ns=NOW, version="1", settings={})
        self.sink = Mqtt(broker, NODE, Outbox(folder, NODE), Requests(folder))
        self.told, self.count = [], 0

    def raise_alerts(self, count=1):
        """Alerts of one name that come and go; the ids."""
        for _ in range(count):
            self.count += 1
            raised = bool(self.count % 2)
            at_ns = time.time_ns()
            change = Change.RAISED if raised else Change.CLEARED
            since_ns = at_ns if raised else None
            alert = replace(ALERT, at_ns=at_ns, change=change, raised=raised, since_ns=since_ns, value=self.count)
            self.store.write([(0, alert)], at_ns)

    def ids(self):
        letters = Outbox(self.folder, NODE).after(0, 1 << 30)
        return {letter.id for letter in letters if isinstance(letter.contents, Alert)}

    def notice(self, name, trouble):
        if trouble or (self.told and self.told[-1]):
            self.told.append(trouble)

    def keep(self, device, records):
        self.store.write([(device, record) for record in records], NOW)


@asynccontextmanager
async def delivering(folder, broker, **settings):
    port = broker.port if isinstance(broker, Mosquitto | Cable) else broker
    settings = {"tls": False, "keepalive_s": 6, **settings}
    desk = Desk(folder, Broker("localhost", port, **settings))
    delivery = Delivery(desk.sink, Outbox(folder, NODE))
    task = asyncio.create_task(delivery.run(desk.keep, desk.notice))
    try:
        yield desk
    finally:
        task.cancel()
        await asyncio.wait((task,))
        desk.store.close(NOW)
    if not task.cancelled():
        task.result()


async def until(condition, seconds=30):
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - another process decides
            await asyncio.sleep(0.05)


def ids_heard(ear):
    found = [json.loads(said) for _, topic, _, said in list(ear.heard) if "/alert/" in topic and said]
    return {each["id"] for each in found if each["type"] == "alert"}


# ---- What goes out ----


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_everything_goes_out_under_its_topic(tmp_path, version) -> None:
    with Mosquitto(tmp_path / "broker") as broker, Ear(broker, "fasciwatch/#") as ear:
        now_ns = time.time_ns() // (60 * S) * 60 * S
        async with delivering(tmp_path / "data", broker, version=version) as desk:
            device = desk.store.device(BOARD, "AA", NOW)
            minutes = [Minute(channel, now_ns - 120 * S, 60.0, 30.0, 4) for channel in ("FDI", "calf left")]
            shifted = [replace(TWITCH, onset_ns=now_ns), replace(CONTEXT, onset_ns=now_ns)]
            gap = replace(GAP, start_ns=now_ns, end_ns=now_ns + S)
            desk.store.write(
                [(device, each) for each in (*minutes, *shifted, gap, Status(battery_percent=50))], now_ns
            )
            desk.raise_alerts()
            wanted = ("twitch", "context", "gap", "minute", "health")
            await until(lambda: all(ear.last(f"{HERE}/board/{kind}") for kind in wanted))
            await until(lambda: ear.last(f"{HERE}/alert/no_data.arm"))
            desk.sink.show(12 * S, [SEEN])
            await until(lambda: ear.last(f"{HERE}/arm/availability") == "online")
            desk.sink.show(40 * S, [SEEN])
            await until(lambda: ear.last(f"{HERE}/arm/availability") == "offline")
            assert ear.last(f"{HERE}/state") == "online"
        await until(lambda: ear.last(f"{HERE}/state") == "offline")
        assert desk.told == []
    minute = json.loads(ear.last(f"{HERE}/board/minute"))
    assert (minute["twitches"], minute["twitches_per_min"], minute["analysable"]) == (8, 8.0, 0.5)
    assert set(minute["channels"]) == {"FDI", "calf left"}
    alert = json.loads(ear.last(f"{HERE}/alert/no_data.arm"))
    assert (alert["raised"], alert["why"], alert["announce"]) == (True, "gone", True)
    assert "alerts ack no_data.arm" in alert["silence"]
    assert {alert["id"]} == desk.ids()


async def test_what_is_older_than_a_day_is_for_other_servers_but_alerts_are_not(tmp_path) -> None:
    with Mosquitto(tmp_path / "broker") as broker, Ear(broker, f"{HERE}/#") as ear:
        async with delivering(tmp_path / "data", broker) as desk:
            device = desk.store.device(BOARD, "AA", NOW)
            old_ns = time.time_ns() - 2 * 86400 * S
            desk.store.write([(device, replace(TWITCH, onset_ns=old_ns)), (0, replace(ALERT, at_ns=old_ns))], NOW)
            await until(lambda: ear.last(f"{HERE}/alert/no_data.arm"))
        assert ear.last(f"{HERE}/board/twitch") is None


# ---- Brokers that fail ----


@pytest.mark.parametrize(
    "times", [pytest.param(1), pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
async def test_a_broker_that_is_killed_and_started_again_under_load(tmp_path, times) -> None:
    """Every alert arrives, under one id; what stands is right in the end, and nobody is left `offline`."""
    with Mosquitto(tmp_path / "broker", *LASTING, f"persistence_location {tmp_path}/broker/") as broker:
        async with delivering(tmp_path / "data", broker) as desk:
            with Ear(broker, f"{HERE}/#") as ear:
                await until(lambda: ear.last(f"{HERE}/state") == "online")
                for n in range(times):
                    for _ in range(10):
                        desk.raise_alerts(3)
                        await asyncio.sleep(0.05)
                    broker.kill()
                    desk.raise_alerts(3)
                    await asyncio.sleep(0.2 * (n % 4))
                    await asyncio.to_thread(broker.start)
                desk.raise_alerts(3 + desk.count % 2)  # an odd number: raised
                wanted = desk.ids()
                await until(lambda: wanted <= ids_heard(ear), 60)
                await until(lambda: ear.last(f"{HERE}/state") == "online")
                await until(lambda: json.loads(ear.last(f"{HERE}/alert/no_data.arm"))["value"] == desk.count)
                assert json.loads(ear.last(f"{HERE}/alert/no_data.arm"))["raised"]
                assert ids_heard(ear) == wanted
    heard = [json.loads(said)["id"] for _, t, _, said in ear.heard if t.endswith("no_data.arm")]
    print(f"{len(wanted)} alerts, {times} kills, heard {len(heard)} times")  # noqa: T201


async def test_a_network_that_stalls(tmp_path, monkeypatch) -> None:
    """Nothing passes and nobody says so: it is noticed, connected anew, and everything arrives."""
    monkeypatch.setattr(mqtt, "_TIMEOUT_S", 1.0)
    with Mosquitto(tmp_path / "broker") as broker, Ear(broker, f"{HERE}/#") as ear:
        async with Cable(broker.port).running() as cable, delivering(tmp_path / "data", cable) as desk:
            desk.raise_alerts(2)
            await until(lambda: desk.ids() <= ids_heard(ear) and desk.ids())
            cable.pull()
            desk.raise_alerts(3)
            await asyncio.sleep(3)
            cable.plug()
            await until(lambda: desk.ids() <= ids_heard(ear))
            await until(lambda: ear.last(f"{HERE}/state") == "online")
            assert json.loads(ear.last(f"{HERE}/alert/no_data.arm"))["raised"]


async def test_a_broker_that_forgot_what_it_retained_is_told_again(tmp_path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        async with delivering(tmp_path / "data", broker) as desk:
            with Ear(broker, f"{HERE}/#") as before:
                desk.raise_alerts()
                desk.sink.show(12 * S, [SEEN])
                await until(lambda: before.last(f"{HERE}/alert/no_data.arm") and before.last(f"{HERE}/arm/state"))
            broker.kill()
            await asyncio.to_thread(broker.start)
            with Ear(broker, f"{HERE}/#") as after:
                topics = ("alert/no_data.arm", "arm/state", "arm/availability", "state")
                await until(lambda: all(after.last(f"{HERE}/{topic}") for topic in topics))
                assert after.last(f"{HERE}/state") == "online"


async def test_what_stands_is_said_again_with_the_same_id(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(mqtt, "_REMIND_EVERY_S", 0.5)
    monkeypatch.setattr(mqtt, "_SHOW_EVERY_S", 0.5)
    with Mosquitto(tmp_path / "broker") as broker, Ear(broker, f"{HERE}/alert/#") as ear:
        async with delivering(tmp_path / "data", broker) as desk:
            desk.raise_alerts()
            await until(lambda: sum("no_data" in topic for _, topic, _, _ in ear.heard) > 2)
    assert len({payload for _, topic, _, payload in ear.heard if "no_data" in topic}) == 1


# ---- Brokers that refuse ----


# A handshake that fails leaves its socket to the garbage collector, in paho.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_tls_with_a_password_and_an_access_list(tmp_path) -> None:
    authority, certificate = certificates(tmp_path)
    access = [f"user fw\ntopic readwrite {HERE}/#", "topic readwrite homeassistant/#", "user ear\ntopic read #"]
    users = {"fw": "secret", "ear": "ear"}
    with (
        Mosquitto(tmp_path / "broker", users=users, access=access, certificate=certificate) as broker,
        Ear(broker, "#", "--cafile", str(authority), "-u", "ear", "-P", "ear") as ear,
    ):
        login = {"tls": True, "ca_file": authority, "username": "fw"}
        async with delivering(tmp_path / "data", broker, password="secret", **login) as desk:
            desk.raise_alerts()
            await until(lambda: desk.ids() == ids_heard(ear))
        assert desk.told == []
        await tried(Broker("localhost", broker.port, password="secret", **login), NODE)
        for wrong, words in (
            ({"password": "wrong", **login}, "turns us away"),
            ({"password": "secret", **login, "ca_file": None}, "not to be trusted"),
        ):
            with pytest.raises(DeniedError, match=words):
                await tried(Broker("localhost", broker.port, **wrong), NODE)


async def test_a_wrong_password_is_told_and_nothing_is_lost(tmp_path) -> None:
    with Mosquitto(tmp_path / "broker", users={"fw": "secret", "ear": "ear"}) as broker:
        async with delivering(tmp_path / "data", broker, username="fw", password="wrong") as desk:
            desk.raise_alerts()
            await until(lambda: desk.told)
            assert "turns us away" in desk.told[0]
            assert "password" in desk.told[0]
            assert Outbox(tmp_path / "data", NODE).position(desk.sink.name) == 0
        with Ear(broker, f"{HERE}/#", "-u", "ear", "-P", "ear") as ear:
            async with delivering(tmp_path / "data", broker, username="fw", password="secret"):
                await until(lambda: desk.ids() == ids_heard(ear))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_expired_certificate_is_told(tmp_path) -> None:
    authority, certificate = certificates(tmp_path, days=-1)
    with Mosquitto(tmp_path / "broker", certificate=certificate) as broker:
        async with delivering(tmp_path / "data", broker, tls=True, ca_file=authority) as desk:
            await until(lambda: desk.told)
    assert "not to be trusted" in desk.told[0]
    assert "expired" in desk.told[0]


async def test_an_access_list_that_silently_denies_is_told_and_nothing_is_lost(tmp_path, monkeypatch) -> None:
    """The broker says yes to all of it. What does not come back did not leave; once it does, all arrives."""
    monkeypatch.setattr(mqtt, "_ECHO_S", 0.5)
    monkeypatch.setattr(mqtt, "_PROVE_AGAIN_S", 0.5)
    monkeypatch.setattr(mqtt, "_SHOW_EVERY_S", 0.2)
    monkeypatch.setattr(mqtt.NotProvenError, "pause_s", 0.5)
    denied = ["topic read #", f"topic write {HERE}/state"]
    with Mosquitto(tmp_path / "broker", access=denied) as broker, Ear(broker, f"{HERE}/#") as ear:
        async with delivering(tmp_path / "data", broker) as desk:
            desk.raise_alerts(3)
            await until(lambda: desk.told)
            assert "throws it away" in desk.told[0]
            assert ids_heard(ear) == set()
            assert Outbox(tmp_path / "data", NODE).position(desk.sink.name) == 0
            broker.allow(["topic readwrite #"])
            await until(lambda: ids_heard(ear) == desk.ids())
            await until(lambda: desk.told[-1] is None)


async def test_the_hourly_proof_notices_an_access_list_that_was_changed(tmp_path, monkeypatch) -> None:
    for name, seconds in (
        ("_PROVE_EVERY_S", 0.5),
        ("_ECHO_S", 0.3),
        ("_SHOW_EVERY_S", 0.2),
        ("_PROVE_AGAIN_S", 0.3),
    ):
        monkeypatch.setattr(mqtt, name, seconds)
    monkeypatch.setattr(mqtt.NotProvenError, "pause_s", 0.3)
    with Mosquitto(tmp_path / "broker", access=["topic readwrite #"]) as broker:
        async with delivering(tmp_path / "data", broker) as desk:
            desk.raise_alerts()
            await until(lambda: Outbox(tmp_path / "data", NODE).position(desk.sink.name) == 1)
            broker.allow(["topic read #"])
            await until(lambda: desk.told)
    assert "throws it away" in desk.told[0]


# ---- online and offline ----

SPEAKER = """
import asyncio, sys
from pathlib import Path
from monitor.outbox import Outbox
from monitor.sinks.mqtt import Broker, Mqtt
from monitor.sinks.requests import Requests
from monitor.store import Store

async def main():
    folder = Path(sys.argv[1])
    store = Store.open(folder)
    sink = Mqtt(Broker("localhost", int(sys.argv[2]), tls=False, keepalive_s=6), "laptop",
                Outbox(folder, "laptop"), Requests(folder))
    while True:
        try:
            await sink.check()
        except Exception:
            pass
        await asyncio.sleep(0.1)

asyncio.run(main())
"""


def speaker(folder, broker):
    return subprocess.Popen([sys.executable, "-c", SPEAKER, folder, str(broker.port)])


async def test_the_will_comes_within_a_second_of_death_and_online_again_after(tmp_path) -> None:
    with Mosquitto(tmp_path / "broker") as broker, Ear(broker, f"{HERE}/state") as ear:
        process = speaker(tmp_path / "data", broker)
        await until(lambda: ear.last(f"{HERE}/state") == "online")
        killed_s = time.monotonic()
        process.kill()
        process.wait()
        await until(lambda: ear.last(f"{HERE}/state") == "offline")
        took_s = ear.heard[-1][0] - killed_s
        print(f"will {took_s:.3f} s after death")  # noqa: T201
        assert took_s < (1.0 if os.getloadavg()[0] < 2 else 5.0)  # of a busy machine's time
        async with delivering(tmp_path / "data", broker):
            await until(lambda: ear.last(f"{HERE}/state") == "online")


@pytest.mark.long
async def test_the_will_comes_within_one_and_a_half_keep_alives_of_a_stall(tmp_path) -> None:
    """And `offline` does not stick once the process goes on."""
    with Mosquitto(tmp_path / "broker") as broker, Ear(broker, f"{HERE}/state") as ear:
        process = speaker(tmp_path / "data", broker)
        try:
            await until(lambda: ear.last(f"{HERE}/state") == "online")
            process.send_signal(signal.SIGSTOP)
            stalled_s = time.monotonic()
            await until(lambda: ear.last(f"{HERE}/state") == "offline")
            took_s = ear.heard[-1][0] - stalled_s
            print(f"will {took_s:.1f} s after a stall; keep-alive 6 s")  # noqa: T201
            assert took_s < 1.5 * 6
            process.send_signal(signal.SIGCONT)
            await until(lambda: ear.last(f"{HERE}/state") == "online")
        finally:
            process.kill()
            process.wait()


async def test_offline_that_somebody_else_says_for_us_is_put_right(tmp_path) -> None:
    with Mosquitto(tmp_path / "broker") as broker, Ear(broker, f"{HERE}/state") as ear:
        async with delivering(tmp_path / "data", broker):
            await until(lambda: ear.last(f"{HERE}/state") == "online")
            publish(broker, f"{HERE}/state", "offline", "-r")
            await until(lambda: [said for _, _, _, said in ear.heard[-2:]] == ["offline", "online"])


# ---- In ----


def publish(broker, topic, payload, *options):
    run = [
        "mosquitto_pub",
        "-h",
        "localhost",
        "-p",
        str(broker.port),
        "-q",
        "1",
        "-t",
        topic,
        "-m",
        payload,
        *options,
    ]
    subprocess.run(run, check=True)


async def test_what_comes_in_is_done_and_answered_and_a_bad_message_changes_nothing(tmp_path) -> None:
    folder = tmp_path / "data"
    with Mosquitto(tmp_path / "broker") as broker, Ear(broker, f"{HERE}/response/#") as ear:
        async with delivering(folder, broker) as desk:
            desk.raise_alerts()

            async def answered(topic, payload):
                before = len(ear.heard)
                publish(broker, f"{HERE}/{topic}", payload)
                await until(lambda: len(ear.heard) > before)
                _, where, _, said = ear.heard[-1]
                return where.removeprefix(f"{HERE}/response/"), json.loads(said)

            await until(lambda: ear.process.poll() is None and not desk.told)
            await until(lambda: Outbox(folder, NODE).position(desk.sink.name) == 1)
            for _ in range(2):  # delivered twice, done once
                where, said = await answered(
                    "trigger/set", '{"kind":"caffeine","dose":"120 mg","transaction":"a"}'
                )
                assert (where, said["ok"], said["transaction"]) == ("trigger", True, "a")
            assert len(read_diary(folder)) == 1
            where, said = await answered("alert/no_data.arm/set", '{"action":"snooze","for":"30min"}')
            assert (where, said["ok"], said["action"]) == ("alert", True, "snooze")
            where, said = await answered("request/acknowledge", '{"alert":"no_data.arm","transaction":"b"}')
            assert (where, said["ok"], said["transaction"]) == ("acknowledge", True, "b")
            where, said = await answered("request/alerts", "")
            assert [alert["name"] for alert in said["alerts"]] == ["no_data.arm"]
            assert (await answered("request/ping", ""))[1]["ok"]
            before = len(said_after(folder, 0)), len(read_diary(folder))
            for topic, payload in (
                ("trigger/set", "not json"),
                ("trigger/set", '{"kind":"caffeine","colour":"blue"}'),
                ("trigger/set", '{"kind":["caffeine"]}'),
                ("trigger/set", "[" * 2000),
                ("trigger/set", json.dumps({"kind": "x" * 5000})),
                ("alert/no_data.arm/set", '{"action":"explode"}'),
                ("alert/no_data.arm/set", '{"action":"snooze","for":"a while"}'),
                ("alert/nothing/set", '{"action":"acknowledge"}'),
                ("request/explode", "{}"),
                ("request/ping", '{"more":1}'),
            ):
                _, said = await answered(topic, payload)
                assert said["ok"] is False, (topic, payload)
                assert said["error"], (topic, payload)
                assert said["remedy"], (topic, payload)
        assert (len(said_after(folder, 0)), len(read_diary(folder))) == before


async def test_home_assistants_birth_is_answered_with_all_it_needs(tmp_path) -> None:
    """Discovery, availability and states: retained, and again when it was born anew."""
    folder = tmp_path / "data"
    with Mosquitto(tmp_path / "broker") as broker, Ear(broker, "#") as ear:
        async with delivering(folder, broker) as desk:
            with Diary.open(folder) as diary:
                diary.keep_template("espresso", {"kind": "caffeine", "dose": "80mg"})
            desk.raise_alerts()
            desk.sink.show(12 * S, [SEEN])
            topics = (
                "homeassistant/device/fasciwatch_laptop/config",
                "homeassistant/device/fasciwatch_laptop_arm/config",
            )
            await until(lambda: all(ear.last(topic) for topic in topics))
            await until(lambda: "no_data.arm" in ear.last(topics[0]))
            assert "espresso" in ear.last(topics[0])
            before = len(ear.heard)
            publish(broker, "homeassistant/status", "online")
            await until(
                lambda: {*topics, f"{HERE}/alert/no_data.arm"} <= {topic for _, topic, _, _ in ear.heard[before:]}
            )
