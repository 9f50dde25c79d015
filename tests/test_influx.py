"""InfluxDB, as real servers answer and as bad networks do: every point arrives, once, or is said not to."""

from __future__ import annotations

import asyncio
import itertools
import os
import ssl
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from monitor import outbox
from monitor.outbox import Delivery, DeniedError, Outbox, RefusedError, UnreachableError
from monitor.sinks import influx
from monitor.sinks.influx import Influx1, Influx2, Place, tried
from monitor.store import Archive, Store
from tests.servers import Influxd, Proxy, Victoria
from tests.test_cli import objects, say
from tests.test_outbox import twitches
from tests.test_store import CONTEXT, NOW, opened

GOOD = b"minute,node=x twitches=1i 1"


@pytest.fixture(scope="module")
def influxd(tmp_path_factory):
    with Influxd(tmp_path_factory.mktemp("influxd")) as server:
        yield server


@pytest.fixture(scope="module")
def victoria(tmp_path_factory):
    with Victoria(tmp_path_factory.mktemp("victoria")) as server:
        yield server


@asynccontextmanager
async def writing(kind, url, bucket="fasciwatch", token=""):
    sink = kind(Place(url, bucket, "home", token))
    try:
        yield sink
    finally:
        await sink.close()


@asynccontextmanager
async def delivering(folder, sink):
    """Into a store that is open, in real time; (names of trouble and its end, in order)."""
    store, told = Store.open(folder), []
    delivery = Delivery(sink, Outbox(folder, "laptop"))

    def keep(device, records):
        store.write([(device, record) for record in records], NOW)

    def notice(name, trouble):
        if trouble or (told and told[-1]):
            told.append(trouble)

    task = asyncio.create_task(delivery.run(keep, notice))
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.wait((task,))
        store.close(NOW)
    if not task.cancelled():
        task.result()


async def until(condition, seconds=30):
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - another process decides
            await asyncio.sleep(0.1)


def position(folder, sink):
    return Outbox(folder, "laptop").position(sink.name)


def dead(folder, sink):
    with Archive.open(folder) as archive:
        return archive.dead_letters(sink.name, 100)


# ---- InfluxDB 1.6.7 ----


async def test_a_missing_database_is_made_and_a_repeated_point_is_one(influxd) -> None:
    async with writing(Influx1, influxd.url, "made") as sink:
        for _ in range(3):
            await sink.write(GOOD)
        assert await sink.read("SELECT twitches FROM minute") != []
    assert influxd.ask("SELECT count(twitches) FROM minute", "made") == [{"time": 0, "count": 1}]


async def test_one_bad_point_is_a_dead_letter_and_all_others_arrive(influxd, tmp_path) -> None:
    """A field that has another type there, as after somebody wrote to the bucket by hand."""
    bucket = "bad"
    with opened(tmp_path) as (store, device):
        twitches(store, device, range(NOW, NOW + 50))
        store.write([(device, CONTEXT)], NOW)
        twitches(store, device, range(NOW + 70, NOW + 100))
    async with writing(Influx1, influxd.url, bucket) as sink:
        await sink.write(b'context,node=x duration_s="text" %d' % NOW)  # InfluxDB keeps types by shard
    async with delivering(tmp_path, sink):
        await until(lambda: position(tmp_path, sink) == 81)
    (letter,) = dead(tmp_path, sink)
    assert letter.seq == 51
    assert "field type conflict" in letter.reason
    assert influxd.ask("SELECT count(peak) FROM twitch", bucket)[0]["count"] == 80


async def test_the_doctors_point_is_written_read_and_deleted(influxd) -> None:
    await tried(Influx1(Place(influxd.url, "trial")), "laptop")
    assert influxd.ask("SELECT * FROM doctor", "trial") == []


async def test_a_server_that_dies_and_comes_back_has_all_once(influxd, tmp_path) -> None:
    """It was killed with a request in its hands."""
    with opened(tmp_path) as (store, device):
        twitches(store, device, range(NOW, NOW + 7000))
    sink = Influx1(Place(influxd.url, "reborn"))
    async with delivering(tmp_path, sink) as told:
        await until(lambda: position(tmp_path, sink) >= 1000)
        influxd.kill()
        await asyncio.sleep(1.5)
        await asyncio.to_thread(influxd.start)
        await until(lambda: position(tmp_path, sink) == 7000)
    assert told == []
    assert influxd.ask("SELECT count(peak) FROM twitch", "reborn")[0]["count"] == 7000


@pytest.mark.parametrize("kind", [Influx1, Influx2])
async def test_a_bad_network(kind, influxd, victoria, tmp_path, monkeypatch) -> None:
    """Slow, cut in the middle of an answer, overloaded and out of order: everything arrives, and once."""
    server = influxd if kind is Influx1 else victoria
    monkeypatch.setattr(influx, "_TIMEOUT_S", 1.0)
    monkeypatch.setattr(outbox, "_PAUSE_S", 0.2)
    async with Proxy(server.port).running() as proxy:
        proxy.slow_s = 2.0
        sink = kind(Place(proxy.url, "network"))
        async with delivering(a_hundred(tmp_path), sink) as told:
            for fault in ("cut", (429, {"Retry-After": "1"}), (503, {}), "slow"):
                proxy.fault, asked = fault, proxy.requests
                await until(lambda asked=asked: proxy.requests > asked)
            proxy.fault = None
            await until(lambda: position(tmp_path, sink) == 100)
    assert told == []
    assert dead(tmp_path, sink) == []
    if kind is Influx1:
        assert influxd.ask("SELECT count(peak) FROM twitch", "network")[0]["count"] == 100
    else:
        assert victoria.samples("twitch_peak") == 100


def a_hundred(folder):
    """A hundred twitches, a millisecond apart."""
    with opened(folder) as (store, device):
        now_ns = time.time_ns() // 10**6 * 10**6  # victoria-metrics takes no point of the future, and cuts to ms
        twitches(store, device, range(now_ns - 100_000_000, now_ns, 1_000_000))
    return folder


# ---- What answers mean ----


@pytest.mark.parametrize("kind", [Influx1, Influx2])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((400, {}), RefusedError),
        ((413, {}), RefusedError),
        ((422, {}), RefusedError),
        ((401, {}), DeniedError),
        ((403, {}), DeniedError),
        ((404, {}), DeniedError),
        ((429, {"Retry-After": "9"}), UnreachableError),
        ((500, {}), UnreachableError),
        ((503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), UnreachableError),
    ],
)
async def test_what_an_answer_means(kind, answer, error) -> None:
    async with Proxy(1).running() as proxy, writing(kind, proxy.url) as sink:
        proxy.fault = answer
        with pytest.raises(error) as caught:
            await sink.write(GOOD)
    assert "by the proxy" in str(caught.value)
    assert str(caught.value).isprintable()
    if answer[0] == 429:
        assert caught.value.retry_after_s == 9


@pytest.mark.parametrize("kind", [Influx1, Influx2])
async def test_nobody_there(kind) -> None:
    async with writing(kind, "http://127.0.0.1:9") as sink:
        with pytest.raises(UnreachableError, match="cannot be reached"):
            await sink.write(GOOD)


async def test_what_is_sent_is_packed_and_carries_the_token() -> None:
    heads = []

    async def serve(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, writing(Influx2, url, "b", "s3cret") as two, writing(Influx1, url, "b", "me:pw") as one:
        await two.write(GOOD)
        await one.write(GOOD)
    assert heads[0].startswith("post /api/v2/write?org=home&bucket=b&precision=ns ")
    assert "authorization: token s3cret\r\n" in heads[0]
    assert heads[1].startswith("post /write?db=b&precision=ns ")
    assert "authorization: basic bwu6chc=\r\n" in heads[1]
    assert all("content-encoding: gzip\r\n" in head for head in heads)


def self_signed(folder):
    key, certificate = folder / "key", folder / "certificate"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    try:
        subprocess.run([*make.split(), *files], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not here: apt install openssl")
    return key, certificate


@pytest.mark.parametrize("kind", [Influx1, Influx2])
async def test_a_certificate_that_nobody_vouches_for(kind, tmp_path, monkeypatch) -> None:
    """Is refused; named in SSL_CERT_FILE it is trusted."""
    key, certificate = self_signed(tmp_path)

    async def serve(reader, writer):
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    async with server:
        async with writing(kind, url) as sink:
            with pytest.raises(DeniedError, match="not to be trusted"):
                await sink.write(GOOD)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with writing(kind, url) as sink:
            await sink.write(GOOD)


# ---- A month of trouble ----


def memory_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_long_queue_through_every_kind_of_trouble(influxd, tmp_path, monkeypatch) -> None:
    """20 000 points through slow answers, 401, 429, cuts and kills: all arrive, once; memory is flat."""
    monkeypatch.setattr(outbox, "_PAUSE_S", 0.2)
    monkeypatch.setattr(outbox, "_PAUSE_MAX_S", 1.0)
    monkeypatch.setattr(DeniedError, "pause_s", 2.0)
    with opened(tmp_path) as (store, device):
        for n in range(0, 20_000, 2000):
            twitches(store, device, range(NOW + n, NOW + n + 2000))
    faults = itertools.cycle(["slow", None, (401, {}), None, (429, {"Retry-After": "1"}), None, "cut", None])
    used = []
    async with Proxy(influxd.port).running() as proxy:
        proxy.slow_s = 2.0
        sink = Influx1(Place(proxy.url, "trouble"))
        await sink.write(GOOD)  # makes the database: two requests more, each with a fault of its own
        async with delivering(tmp_path, sink) as told:
            while position(tmp_path, sink) < 20_000:
                proxy.fault, asked = next(faults), proxy.requests
                with suppress(TimeoutError):
                    await until(lambda asked=asked: proxy.requests > asked, 8)
                used.append(memory_mb())
                if len(used) == 10:
                    influxd.kill()
                    await asyncio.sleep(2)
                    await asyncio.to_thread(influxd.start)
    assert any("turns our token away" in words for words in told if words)
    assert dead(tmp_path, sink) == []
    (counted,) = influxd.ask("SELECT count(peak) FROM twitch", "trouble")
    assert counted["count"] == 20_000
    print(f"memory {used[3]:.0f} MB after 4 faults, {used[-1]:.0f} MB after {len(used)}")  # noqa: T201
    assert used[-1] - used[3] < 30


def test_the_doctor_tries_every_server(influxd, tmp_path, capfd) -> None:
    (tmp_path / "config.toml").write_text(
        f'[[influxdb]]\nurl = "{influxd.url}"\nversion = 1\n[[influxdb]]\nurl = "http://127.0.0.1:9"\n'
    )
    _, out, _ = say(capfd, "doctor", "--json", "--config", tmp_path / "config.toml", "--data", tmp_path / "data")
    found = {check["name"]: check for check in objects(out)}
    good, bad = found[f"influxdb {influxd.url} fasciwatch"], found["influxdb http://127.0.0.1:9 fasciwatch"]
    assert (good["ok"], good["found"]) == (True, "what was sent there came back")
    assert not bad["ok"]
    assert "cannot be reached" in bad["found"]
