"""Real servers from Debian, started on loopback for a test, and a proxy that makes trouble between them and us."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

_READY_S = 20


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class Server:
    """One program, which can be killed and started again with its data and port."""

    program = ""
    package = ""
    path = "/"

    def __init__(self, folder: Path) -> None:
        if shutil.which(self.program) is None:
            pytest.skip(f"{self.program} is not here: apt install {self.package}")
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        self.process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _READY_S
        while True:
            try:
                urllib.request.urlopen(f"{self.url}{self.path}", timeout=1).close()
                return
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < deadline
                assert self.process.poll() is None
                time.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Influxd(Server):
    """InfluxDB 1.6.7: a point sent twice is one; a bad line is 400."""

    program, package, path = "influxd", "influxdb", "/ping"

    def command(self):
        config = self.folder / "influxd.conf"
        if not config.exists():
            text = subprocess.run(["influxd", "config"], capture_output=True, text=True, check=True).stdout
            text = re.sub(r'dir = "[^"]*/(\w+)"', lambda m: f'dir = "{self.folder}/{m[1]}"', text)
            text = text.replace('bind-address = ":8086"', f'bind-address = "127.0.0.1:{self.port}"')
            text = text.replace('bind-address = "127.0.0.1:8088"', f'bind-address = "127.0.0.1:{free_port()}"')
            text = text.replace("reporting-disabled = false", "reporting-disabled = true")
            config.write_text(text)
        return ["influxd", "-config", str(config)]

    def ask(self, query: str, database: str = "fasciwatch"):
        """Rows of the only series as dicts; [] where there is none."""
        parameters = urllib.parse.urlencode({"db": database, "q": query, "epoch": "ns"})
        with urllib.request.urlopen(f"{self.url}/query?{parameters}", timeout=60) as answer:
            (result,) = json.load(answer)["results"]
        assert "error" not in result, result
        series = result.get("series", [])
        return [dict(zip(each["columns"], row, strict=True)) for each in series for row in each["values"]]


class Victoria(Server):
    """victoria-metrics: takes what influxdb-client writes, but cuts to ms and keeps repeats."""

    program, package, path = "victoria-metrics", "victoria-metrics", "/health"

    def command(self):
        data = f"-storageDataPath={self.folder / 'data'}"
        return ["victoria-metrics", data, f"-httpListenAddr=127.0.0.1:{self.port}", "-retentionPeriod=1200"]

    def kill(self) -> None:
        """It answers before it writes: SIGKILL would lose what it took in its last seconds."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def samples(self, metric: str) -> int:
        """Distinct times of a metric."""
        urllib.request.urlopen(f"{self.url}/internal/force_flush", timeout=10).close()
        parameters = urllib.parse.urlencode({"match[]": metric, "start": "0"})
        with urllib.request.urlopen(f"{self.url}/api/v1/export?{parameters}", timeout=60) as answer:
            series = [json.loads(row) for row in answer.read().splitlines()]
        return sum(len(set(each["timestamps"])) for each in series)


class Mosquitto(Server):
    """A broker of MQTT. `settings` are lines of its configuration; with `users` (name -> password) nobody else may
    connect, and with `access` only what its lines allow may pass; with `certificate` (file, key) it speaks TLS."""

    program, package = "mosquitto", "mosquitto mosquitto-clients"

    def __init__(self, folder, *settings, users=None, access=None, certificate=None):
        super().__init__(folder)
        self._settings, self._users = settings, users
        self.certificate = certificate
        if access is not None:
            self.allow(access)

    def allow(self, access):
        """Also while it runs."""
        file = self.folder / "access"
        file.write_text("\n".join(access) + "\n")
        file.chmod(0o644)
        if self.process:
            self.process.send_signal(signal.SIGHUP)

    def command(self):
        lines = [f"listener {self.port} 127.0.0.1", "log_type none", *self._settings]
        if sys.platform != "win32" and os.geteuid() == 0:
            lines += ["user root"]  # else it becomes one that may not read our files
        if self._users:
            passwords = self.folder / "passwords"
            passwords.touch()
            for name, password in self._users.items():
                run = ["mosquitto_passwd", "-b", passwords, name, password]
                subprocess.run(run, check=True, capture_output=True)
            passwords.chmod(0o644)
            lines += [f"password_file {passwords}"]
        else:
            lines += ["allow_anonymous true"]
        if (self.folder / "access").exists():
            lines += [f"acl_file {self.folder / 'access'}"]
        if self.certificate:
            file, key = self.certificate
            lines += [f"certfile {file}", f"keyfile {key}"]
        config = self.folder / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        return ["mosquitto", "-c", str(config)]

    def start(self) -> None:
        self.process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _READY_S
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.02)


class Ear:
    """mosquitto_sub, with a session that the broker keeps; what it heard: (when, topic, retained, payload)."""

    def __init__(self, broker, topic, *options, name="ear"):
        self.heard = []
        where = ["-h", "localhost", "-p", str(broker.port), "-t", topic, "-q", "1", "-c", "-i", name]
        command = ["mosquitto_sub", *where, "-F", "%t\t%r\t%p", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        with self.process.stdout as out:
            for line in iter(out.readline, ""):
                topic, retained, payload = line.rstrip("\n").split("\t", 2)
                self.heard.append((time.monotonic(), topic, retained == "1", payload))

    def last(self, topic):
        """What it heard last there."""
        return next((payload for _, at, _, payload in reversed(self.heard) if at == topic), None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def certificates(folder, days=2):
    """(authority's file, (file, key) of localhost), the latter valid for so many days from now."""
    authority, key, request = folder / "ca.pem", folder / "server.key", folder / "server.csr"
    names = folder / "names"
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    made = [
        "-CA",
        authority,
        "-CAkey",
        folder / "ca.key",
        "-CAcreateserial",
        "-days",
        str(days),
        "-extfile",
        names,
    ]
    for command in (
        ["req", "-x509", *curve, "-keyout", folder / "ca.key", "-out", authority, "-subj", "/CN=ca", "-days", "2"],
        ["req", *curve, "-keyout", key, "-out", request, "-subj", "/CN=localhost"],
        ["x509", "-req", "-in", request, *made, "-out", folder / "server.pem"],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    key.chmod(0o644)
    return authority, (folder / "server.pem", key)


class Cable:
    """TCP through here; pulled out, nothing passes and nobody is told."""

    def __init__(self, port):
        self._port, self._plugged = port, asyncio.Event()
        self._plugged.set()
        self._serving = set()
        self.port = 0

    def pull(self):
        self._plugged.clear()

    def plug(self):
        self._plugged.set()

    @asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await server.wait_closed()

    async def _serve(self, reader, writer):
        self._serving.add(asyncio.current_task())
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pass(reader, far_writer))
                    group.create_task(self._pass(far_reader, writer))
            finally:
                writer.close()
                far_writer.close()

    async def _pass(self, reader, writer):
        with suppress(OSError):
            while data := await reader.read(4096):
                await self._plugged.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


class Proxy:
    """HTTP through here, one request a connection. `fault` says what befalls the next ones: None, "slow", "cut"
    (the request arrives, the answer does not), or an answer of its own: (status, headers)."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.fault: object = None
        self.requests = 0
        self.slow_s = 5.0
        self.url = ""
        self._serving = set()

    @asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await server.wait_closed()

    async def _serve(self, reader, writer):
        fault, self.requests = self.fault, self.requests + 1
        self._serving.add(asyncio.current_task())
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                found = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(found[1])) if found else b""
                writer.write(await self._answer(fault, head, body))
                await writer.drain()
        finally:
            self._serving.discard(asyncio.current_task())
            writer.close()

    async def _answer(self, fault, head, body):
        if isinstance(fault, tuple):
            status, headers = fault
            said = '{"code":"x","message":"by the proxy"}'
            lines = {**headers, "Content-Length": len(said), "Connection": "close"}
            extra = "".join(f"{key}: {value}\r\n" for key, value in lines.items())
            return f"HTTP/1.1 {status} X\r\n{extra}\r\n{said}".encode()
        if fault == "slow":
            await asyncio.sleep(self.slow_s)
        answer = await self._forward(head, body)
        return answer[: len(answer) // 2] if fault == "cut" else answer

    async def _forward(self, head, body):
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        try:
            writer.write(head + body)
            return await reader.read(-1)
        finally:
            writer.close()
