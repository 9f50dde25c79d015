"""The web server of the page: what is served where, and to whom.

    uvicorn ─► gzip ─► Guard ─► /api/v1 (FastAPI), /assets, /report, /login, and the screens (NiceGUI)

Rules:

* On this computer alone, unless it is told otherwise; to others only with a token and TLS (`Reach.checked`).
* All that a browser loads comes from here.
* What it prints is what a person needs: the address, and the way in.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
import time
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

from firmware_interface.errors import Fault
from monitor.config import Settings
from monitor.page.security import COOKIE, LOGIN, Access, Attempts, Codes, Guard, hosts, is_loopback, new_session, same

_CONNECTIONS_MAX = 256
_MESSAGE_MAX = 1 << 20
_SESSION_S = 30 * 86400


class PageError(Fault):
    """The page cannot be served like this; the person's to mend."""

    exit_code: ClassVar[int] = 2


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

    @property
    def all_names(self) -> list[str]:
        """What a Host header may say."""
        own = ["localhost", "127.0.0.1", "::1"]
        if not is_loopback(self.address):
            host = socket.gethostname()
            own += [host, f"{host.split('.')[0]}.local", *local_addresses()]
            own += [] if self.address in ("0.0.0.0", "::") else [self.address]  # noqa: S104 - compared, not bound
        return list(dict.fromkeys([*own, *self.names]))

    @property
    def url(self) -> str:
        """To be opened, by whoever can reach it."""
        anywhere = self.address in ("0.0.0.0", "::")  # noqa: S104
        host = next(iter(local_addresses()), "localhost") if anywhere else self.address
        named = f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls else 'http'}://{named}:{self.port}/"


def local_addresses() -> list[str]:
    """Of this computer on its network; nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # TEST-NET-1, which is nowhere
        return [probe.getsockname()[0]]
    return []


def free_port(address: str, first: int) -> int:
    """`first`, or the next one that nobody listens on.

    Raises:
        PageError: none of ten is free.
    """
    for port in range(first, first + 10):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as trial, suppress(OSError):
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((address, port))
            return port
    raise PageError(f"the ports {first} to {first + 9} are all in use", "Name another one with --port")


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
    """
    import uvicorn  # noqa: PLC0415 - a second to import, and only here

    os.umask(0o077)
    _allow_files()
    codes = Codes()
    app = application(folder, settings, config_file, reach, codes)
    config = uvicorn.Config(
        app,
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


def _Server(config: Any, begun: Callable[[], None]) -> Any:  # noqa: ANN401, N802 - a class that is made late
    import uvicorn  # noqa: PLC0415

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            try:
                await super().startup(sockets)
            except SystemExit:
                raise PageError(
                    f"the page cannot listen on {config.host} port {config.port}",
                    "Another program does; name another --port",
                ) from None
            if self.started:
                begun()

    return Server(config)


def _begun(reach: Reach, codes: Codes, *, opened: bool, say: Callable[[str], None]) -> None:
    link = reach.url
    if reach.token:
        link = f"{reach.url}login#{codes.new(time.time())}"
        say(f"one-time link, good for ten minutes: {link}")
        say(qr(link))
    say(f"the page: {reach.url}")
    if opened and has_desktop():
        Thread(target=webbrowser.open, args=(link,), name="browser", daemon=True).start()


def has_desktop() -> bool:
    """Whether there is anything that a browser could open on."""
    if sys.platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in os.environ
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def qr(link: str) -> str:
    """The link as a picture for a terminal."""
    import io  # noqa: PLC0415

    import segno  # noqa: PLC0415

    drawn = io.StringIO()
    segno.make(link, error="m").terminal(drawn, compact=True)
    return drawn.getvalue()


def _leave_with_parent(server: Any) -> None:  # noqa: ANN401
    sys.stdin.read()
    server.should_exit = True


def _allow_files() -> None:
    """As many open connections as the system lets us have, so that idle ones keep nobody out."""
    with suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))


def application(folder: Path, settings: Settings, config_file: Path | None, reach: Reach, codes: Codes) -> Any:  # noqa: ANN401
    """All of it, behind its door."""
    os.environ.setdefault("NICEGUI_STORAGE_PATH", str(folder / "page"))  # nothing is kept there
    from contextlib import asynccontextmanager  # noqa: PLC0415

    from fastapi import FastAPI, HTTPException, Request, Response  # noqa: PLC0415
    from nicegui import app as nicegui_app  # noqa: PLC0415
    from nicegui import ui  # noqa: PLC0415
    from starlette.middleware.gzip import GZipMiddleware  # noqa: PLC0415

    from monitor.page import alerts, answers, history, log, now, setup, work  # noqa: PLC0415
    from monitor.page.api import add_signs, api  # noqa: PLC0415
    from monitor.page.frame import ASSETS, asset  # noqa: PLC0415
    from monitor.page.reader import Reader  # noqa: PLC0415
    from monitor.page.way_in import PAGE  # noqa: PLC0415

    reader = Reader(folder, settings, config_file)
    attempts = Attempts()

    @asynccontextmanager
    async def life(_: FastAPI) -> Any:  # noqa: ANN401
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
        given = str((await request.json()).get("token", ""))
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
    return GZipMiddleware(Guard(app, access, attempts), minimum_size=1000, compresslevel=3)  # type: ignore[arg-type]


async def ended(process: asyncio.subprocess.Process) -> int:
    """Its exit code."""
    return await process.wait()
