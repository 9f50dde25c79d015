"""The small ways out: a webhook, a heartbeat, the desktop."""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from monitor.alerts.engine import Alert, Change
from monitor.alerts.rules import Kind, Severity
from monitor.outbox import DeniedError, Letter, RefusedError, UnreachableError
from monitor.sinks import desktop
from monitor.sinks.desktop import Desktop, command
from monitor.sinks.web import Heartbeat, Webhook
from tests.test_store import TWITCH

LONG_AGO = 10**18
ALERT = replace(
    Alert("no_data.arm", Kind.NO_DATA, LONG_AGO, Change.RAISED),
    raised=True,
    since_ns=LONG_AGO,
    why="gone",
    announce=True,
)
LETTER = Letter(1, "ab" * 16, "laptop", "", 0, ALERT)


@contextmanager
def serving(status=204):
    took = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            took.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer()

        def do_GET(self):
            took.append(self.path)
            self.answer()

        def answer(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", took
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_webhook_gets_alerts_and_nothing_else() -> None:
    with serving() as (url, took):
        sink = Webhook(f"{url}/hook?key=secret")
        await sink.deliver([LETTER, replace(LETTER, contents=TWITCH)])
        assert "secret" not in sink.name
    (said,) = took
    assert (said["name"], said["id"], said["node"], said["raised"]) == ("no_data.arm", "ab" * 16, "laptop", True)


@pytest.mark.parametrize(("status", "error"), [(400, RefusedError), (403, DeniedError), (503, UnreachableError)])
async def test_what_a_webhook_answers_is_understood(status, error) -> None:
    with serving(status) as (url, _), pytest.raises(error, match=str(status)):
        await Webhook(url).deliver([LETTER])
    with pytest.raises(UnreachableError, match="cannot be reached"):
        await Webhook(url).deliver([LETTER])


def test_a_heart_beats_once_a_minute_and_a_server_that_is_away_disturbs_nobody() -> None:
    now = [0.0]
    with serving() as (url, took):
        heart = Heartbeat(f"{url}/ping", lambda: now[0])
        for second in range(130):
            now[0] = float(second)
            heart.beat()
            heart._beating.join(5)
    assert took == ["/ping"] * 3
    now[0] += 60
    heart.beat()
    heart._beating.join(5)


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_every_desktop_is_told_why_and_how_to_silence_it(system) -> None:
    nasty = replace(ALERT, why='-x "quoted" $(id) `id`', severity=Severity.URGENT)
    arguments, told = command(nasty, system)
    said = "\n".join([*arguments, *told.values()])
    assert "quoted" in said
    assert "fasciwatch alerts ack no_data.arm" in said
    if system == "linux":
        assert arguments.index("--") < len(arguments) - 2  # what follows is no option


@pytest.mark.skipif(sys.platform != "linux", reason="notify-send is Linux's")
async def test_the_desktop_shows_what_is_announced_while_it_is_news(tmp_path, monkeypatch) -> None:
    program, log = tmp_path / "notify-send", tmp_path / "log"
    program.write_text(f'#!/bin/sh\necho "$@" >>{log}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    now_ns = time.time_ns()
    shown = replace(LETTER, contents=replace(ALERT, at_ns=now_ns))
    held = replace(LETTER, contents=replace(ALERT, at_ns=now_ns, announce=False))
    await Desktop().deliver([shown, held, LETTER, replace(LETTER, contents=TWITCH)])
    assert len(log.read_text().splitlines()) == 2  # one, of two lines
    monkeypatch.setattr(desktop, "_PROGRAMS", {"linux": "no-such-program"})
    with pytest.raises(DeniedError, match="no-such-program is not here"):
        await Desktop().deliver([shown])
