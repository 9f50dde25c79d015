"""The web server of the page: what is served where, and to whom.

    uvicorn ─► gzip ─► Guard ─► /api/v1 (FastAPI), /assets, /report, /login, and the screens (NiceGUI)

Rules:

* On this computer alone, unless it is told otherwise; to others only with a token and TLS (`Reach.checked`).
* All that a browser loads comes from here.
* What it prints is what a person needs: the address, and the way in.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from nicegui import app as nicegui_app
from nicegui import ui
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

from firmware_interface.errors import Fault
from monitor.config import Settings
from monitor.page import alerts, answers, history, log, now, qr, setup, work
from monitor.page.api import add_signs, api, told
from monitor.page.frame import ASSETS, asset, notice_page
from monitor.page.place import EVERYWHERE, PageError, is_loopback, local_addresses, url
from monitor.page.reader import Reader
from monitor.page.security import COOKIE, LOGIN, Access, Attempts, Codes, Guard, hosts, new_session, same
from monitor.page.way_in import PAGE

_CONNECTIONS_MAX = 256
_MESSAGE_MAX = 1 << 20
_SESSION_S = 30 * 86400


@dataclass(frozen=True, slots=True)
class Reach:
    """Where the page is served, and what secures it."""

    address: str
    port: int
    token: str = ""
    certificate: Path | None = None
    key: Path | None = None
    names: tuple[str, ...] = ()
    """By which it is called, beside the address and this computer's own."""
    plain_http: bool = False
    """Allowed on a network, by name."""

    @property
    def tls(self) -> bool:
        return self.certificate is not None

    def checked(self) -> Reach:
        """Itself.

        Raises:
            PageError: others could reach it without a token, or read along.
        """
        if is_loopback(self.address):
            return self
        if not self.token:
            raise PageError(
                f"on {self.address} others can reach the page: it needs a token",
                "Start it with --phone, which makes one, or set page.token_file",
            )
        if not self.tls and not self.plain_http:
            raise PageError(
                f"on {self.address} others could read along: the page needs TLS",
                "Start it with --phone, which makes a certificate, or set page.certificate and page.key; where "
                "something else encrypts, page.plain_http = true",
            )
        return self

    def moved(self, port: int) -> Reach:
        """The same on another port."""
        return replace(self, port=port)

    @property
    def all_names(self) -> list[str]:
        """What a Host header may say."""
        own = ["localhost", "127.0.0.1", "::1"]
        if not is_loopback(self.address):
            host = socket.gethostname()
            own += [host, f"{host.split('.')[0]}.local", *local_addresses()]
            own += [] if self.address in EVERYWHERE else [self.address]
        return list(dict.fromkeys([*own, *self.names]))

    @property
    def url(self) -> str:
        """To be opened, by whoever can reach it."""
        return url(self.address, self.port, tls=self.tls)


def serve(
    folder: Path,
    settings: Settings,
    config_file: Path | None,
    reach: Reach,
    *,
    opened: bool,
    until_left: bool,
    say: Callable[[str], None],
) -> None:
    """Serve until a signal.

    Args:
        folder: the data folder.
        settings: the configuration.
        config_file: where it came from.
        reach: checked.
        opened: in a browser, where there is a desktop.
        until_left: end when standard input does: with whoever started us.
        say: tells a person.

    Raises:
        PageError: another program listens there.
    """
    os.umask(0o077)
    _allow_files()
    codes = Codes()
    config = uvicorn.Config(
        application(folder, settings, config_file, reach, codes),
        host=reach.address,
        port=reach.port,
        ssl_certfile=reach.certificate,
        ssl_keyfile=reach.key,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS_MAX,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
        ws_max_size=_MESSAGE_MAX,
    )
    server = _Server(config, lambda: _begun(reach, codes, opened=opened, say=say))
    if until_left:
        Thread(target=_leave_with_parent, args=(server,), name="parent", daemon=True).start()
    server.run()


class _Server(uvicorn.Server):
    """Says when it has begun, and why it cannot.

    Args:
        config: uvicorn's.
        begun: called once it listens.
    """

    def __init__(self, config: uvicorn.Config, begun: Callable[[], None]) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        try:
            await super().startup(sockets)
        except SystemExit:
            where = f"{self.config.host} port {self.config.port}"
            raise PageError(
                f"the page cannot listen on {where}", "Another program does; name another --port"
            ) from None
        if self.started:
            self._begun()


def _begun(reach: Reach, codes: Codes, *, opened: bool, say: Callable[[str], None]) -> None:
    link = reach.url
    if reach.token:
        link = f"{reach.url}login#{codes.new(time.time())}"
        say(f"to log in once, within ten minutes: {link}")
        say(qr.blocks(link))
    say(f"the page: {reach.url}")
    if opened and has_desktop():
        Thread(target=webbrowser.open, args=(link,), name="browser", daemon=True).start()


def has_desktop() -> bool:
    """Whether there is anything that a browser could open on."""
    if sys.platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in os.environ
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _token(body: bytes) -> str:
    """What a form sends; whatever else comes is none."""
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    token = said.get("token") if isinstance(said, dict) else None
    return token if isinstance(token, str) else ""


async def _failed(request: Request, fault: Exception) -> Response:
    """A fault, as who asks can read it."""
    answer = await told(request, fault)
    return _page_for(request, "Not now", json.loads(bytes(answer.body))["detail"], answer)


async def _nothing_there(request: Request, _: Exception) -> Response:
    said = "There is nothing of this name."
    return _page_for(request, "Not found", said, JSONResponse({"detail": said.rstrip(".")}, 404))


def _page_for(request: Request, title: str, said: str, answer: Response) -> Response:
    """A page to a browser; what a program is answered to others."""
    if "text/html" not in request.headers.get("accept", ""):
        return answer
    return HTMLResponse(notice_page(title, said), answer.status_code)


def _leave_with_parent(server: uvicorn.Server) -> None:
    sys.stdin.read()
    server.should_exit = True


def _allow_files() -> None:
    """As many open connections as the system lets us have, so that idle ones keep nobody out."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not there on Windows

    with suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))


def application(folder: Path, settings: Settings, config_file: Path | None, reach: Reach, codes: Codes) -> ASGIApp:
    """All of it, behind its door."""
    reader = Reader(folder, settings, config_file)
    attempts = Attempts()

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        history.warm(reader)
        yield
        reader.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    add_signs(app, reader)
    app.mount("/api/v1", api(reader))

    @app.get("/assets/{name}")
    async def assets(name: str) -> Response:
        if name not in ASSETS:
            raise HTTPException(404)
        return Response(asset(name), media_type=ASSETS[name], headers={"cache-control": "no-cache"})

    @app.get(LOGIN)
    async def way_in() -> Response:
        return Response(PAGE, media_type="text/html")

    @app.post(LOGIN)
    async def enter(request: Request) -> Response:
        given = _token(await request.body())
        address, at_s = request.client.host if request.client else "", time.time()
        if not attempts.allowed(address, at_s):
            raise HTTPException(429, "Too many wrong tokens. Wait a minute")
        if not (same(given, reach.token) or (given and codes.used(given, at_s))):
            attempts.failed(address, at_s)
            raise HTTPException(401, "This is not the token, or the link was used")
        answer = Response(status_code=204)
        answer.set_cookie(
            COOKIE, new_session(reach.token, at_s), max_age=_SESSION_S, httponly=True, samesite="strict",
            secure=reach.tls,
        )  # fmt: skip
        return answer

    app.add_exception_handler(Fault, _failed)
    app.add_exception_handler(404, _nothing_there)
    nicegui_app.add_exception_handler(404, _nothing_there)

    @app.get("/report")
    async def report() -> Response:
        return Response(await work.report(reader), media_type="text/html")

    def new_link() -> str:
        return f"{reach.url}login#{codes.new(time.time())}" if reach.token else ""

    ui.page("/")(lambda: now.build(reader))
    ui.page("/log")(lambda: log.build(reader))
    ui.page("/history")(history.screen_of(reader))
    ui.page("/answers")(lambda: answers.build(reader))
    ui.page("/alerts")(lambda: alerts.build(reader))
    ui.page("/setup")(lambda: setup.build(reader, new_link))
    nicegui_app.config.socket_io_js_transports = ["websocket"]
    ui.run_with(
        app,
        title="fasciwatch",
        dark=None,
        language="en-GB",
        tailwind=False,
        gzip_middleware_factory=None,
        show_welcome_message=False,
        reconnect_timeout=10.0,
        binding_refresh_interval=None,
    )
    access = Access(hosts(reach.all_names, reach.port, tls=reach.tls), reach.tls, reach.token)
    return GZipMiddleware(Guard(app, access, attempts), minimum_size=1000, compresslevel=3)
