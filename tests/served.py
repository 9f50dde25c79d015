"""The page as a process of its own, and a browser to look at it with."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROGRAM = Path(sys.executable).with_name("fasciwatch")
LONG_S = 90


def where_it_is(hour: int) -> str:
    """The time zone of somebody whose clock shows this hour now: by night the page is calmer."""
    east_h = (hour - time.gmtime().tm_hour + 11) % 24 - 11
    return f"Etc/GMT{-east_h:+d}"  # POSIX counts to the west


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """`fasciwatch page` on a data folder."""

    def __init__(self, folder: Path, *options: str, port: int = 0, token: str = "") -> None:
        self.folder = folder
        self.port = port or free_port()
        self._options = options
        self._environment = os.environ | ({"FASCIWATCH_PAGE_TOKEN": token} if token else {})
        self.start()

    def start(self) -> None:
        command = [PROGRAM, "page", "--no-open", "--data", self.folder, "--port", str(self.port), *self._options]
        # No pipe: whoever inherits it would keep it open.
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(command, stdout=self._said, stderr=self._said, env=self._environment)
        ends = time.monotonic() + LONG_S
        while time.monotonic() < ends and self.process.poll() is None:
            with suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/healthz")[0] == 200:
                    return
            time.sleep(0.1)
        self._said.seek(0)
        raise AssertionError(f"the page did not come up: {self._said.read()}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in small letters, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG_S)
        sent = json.dumps(body).encode() if body is not None and not isinstance(body, bytes) else body
        given = {"Content-Type": "application/json"} | (headers or {})
        try:
            connection.request(method, path, sent, given)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()
        finally:
            connection.close()

    def json(self, path: str) -> object:
        status, _, body = self.ask("GET", path)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(LONG_S)
        self._said.close()

    def kill(self) -> None:
        """As a crash would end it."""
        self.process.kill()
        self.process.wait(LONG_S)
        self._said.close()


@contextmanager
def served(folder: Path, *options: str, token: str = "") -> Iterator[Served]:
    page = Served(folder, *options, token=token)
    try:
        yield page
    finally:
        page.stop()
