"""Who may ask what of the page: pure checks, and the one door that every request goes through.

Rules:

* The Host header must be a name of ours: another one is a foreign site that had its name point here.
* A write, and every WebSocket, must come from a page of ours, as its Origin says. A program that writes has none.
* Where a token is asked for, nothing but the way in is to be had without it: no asset, no document, no socket.
* What is guessed is slowed down: so many attempts a minute from an address, and so many in all.
* A body has an end. No path of a request reaches the file system: what could climb is refused before anyone looks.
* A browser is told to run no script but ours (a nonce in each page), and to talk to no other host.
* A session is a signed cookie; its key comes from the token: it outlives a restart, and ends with the token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import unquote

from starlette.exceptions import HTTPException

COOKIE: Final = "fasciwatch"
LOGIN: Final = "/login"
OPEN: Final = frozenset({LOGIN, "/healthz"})
"""To be had without a session: the way in, a sign of life, and `ASSETS`, which say nothing of anybody."""
ASSETS: Final = "/assets/"

_BODY_MAX = 1 << 20
_SOCKETS_MAX = 64
_SESSION_S = 30 * 86400
_CODE_S = 600.0
_ATTEMPTS_EACH, _ATTEMPTS_ALL, _ATTEMPT_S = 5, 30, 60.0
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_SOCKET_PATH = "/_nicegui_ws/"
_STRIPPED = (b"x-forwarded-", b"forwarded")
"""There is no proxy before us; NiceGUI would believe them."""

_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Access:
    """What is let in."""

    hosts: frozenset[str]
    """As the Host header has them, with the port, in small letters."""
    tls: bool
    token: str = ""
    """Empty: none is asked for, which is for this computer alone."""

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def origins(self) -> frozenset[str]:
        return frozenset(f"{self.scheme}://{host}" for host in self.hosts)


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request decides whether it is let in."""

    method: str
    path: str
    host: str
    origin: str | None = None
    fetch_site: str | None = None
    """A browser's word on who asks."""
    socket: bool = False
    session: str = ""
    bearer: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why not."""

    status: int
    reason: str


def hosts(names: Iterable[str], port: int, *, tls: bool) -> frozenset[str]:
    """Host headers that name us; the usual port may be left out."""
    bracketed = {f"[{name}]" if ":" in name else name.lower() for name in names}
    bare = bracketed if port == (443 if tls else 80) else set()
    return frozenset({f"{name}:{port}" for name in bracketed} | bare)


def refusal(asked: Asked, access: Access, now_s: float) -> Refused | None:
    """Why a request is not let in; `None`: it is."""
    if asked.host.lower() not in access.hosts:
        return Refused(421, "This is not the name of this page. Open it by the address that fasciwatch printed")
    if not _plain(asked.path):
        return Refused(404, "There is nothing of this name")
    if not _is_ours(asked, access):
        return Refused(403, "Another site asked for this. Nothing was done")
    is_open = asked.path in OPEN or asked.path.startswith(ASSETS)
    if access.token and not is_open and not _is_known(asked, access, now_s):
        return Refused(401, "Log in first, with the token or the one-time link")
    return None


def _plain(path: str) -> bool:
    """Whether a path goes nowhere but down. Decoded twice, for whoever decodes again."""
    decoded = unquote(unquote(path))
    return not ("\\" in decoded or "\0" in decoded or ".." in decoded.split("/") or "//" in decoded)


def _is_ours(asked: Asked, access: Access) -> bool:
    """Whether a write or a socket comes from a page of ours, or from a program."""
    if asked.method in _SAFE and not asked.socket:
        return True
    if asked.origin is not None:
        return asked.origin.lower() in access.origins
    return asked.fetch_site in (None, "same-origin", "none") and not asked.socket


def _is_known(asked: Asked, access: Access, now_s: float) -> bool:
    return same(asked.bearer, access.token) or is_session(asked.session, access.token, now_s)


def same(given: str, wanted: str) -> bool:
    """Whether two secrets are the same, in a time that tells nothing; nothing is no secret."""
    return bool(wanted) and hmac.compare_digest(given.encode(), wanted.encode())


def new_session(token: str, now_s: float) -> str:
    """A signed session."""
    body = f"{round(now_s + _SESSION_S)}.{secrets.token_urlsafe(12)}"
    return f"{body}.{_signature(body, token)}"


def is_session(text: str, token: str, now_s: float) -> bool:
    """Whether we signed it, and it has not ended."""
    body, _, signature = text.rpartition(".")
    ends, _, _ = body.partition(".")
    signed = hmac.compare_digest(signature.encode(), _signature(body, token).encode())
    return signed and ends.isascii() and ends.isdigit() and now_s < int(ends)


def _signature(body: str, token: str) -> str:
    key = hashlib.sha256(b"fasciwatch session\0" + token.encode()).digest()
    return hmac.new(key, body.encode(), hashlib.sha256).hexdigest()


@dataclass(slots=True)
class Attempts:
    """How often it was guessed in the last minute; bounded, however many addresses guess."""

    _made: deque[tuple[float, str]] = field(default_factory=deque)

    def allowed(self, address: str, now_s: float) -> bool:
        """Whether one more may be made."""
        while self._made and self._made[0][0] < now_s - _ATTEMPT_S:
            self._made.popleft()
        own = sum(made_by == address for _, made_by in self._made)
        return own < _ATTEMPTS_EACH and len(self._made) < _ATTEMPTS_ALL

    def failed(self, address: str, now_s: float) -> None:
        """One was made, and was wrong."""
        self._made.append((now_s, address))


@dataclass(slots=True)
class Codes:
    """One-time codes, for a link or a QR picture."""

    _open: dict[str, float] = field(default_factory=dict)

    def new(self, now_s: float) -> str:
        """One that is good for ten minutes and for once."""
        self._open = {code: ends_s for code, ends_s in self._open.items() if ends_s > now_s}
        code = secrets.token_urlsafe(24)
        self._open[code] = now_s + _CODE_S
        return code

    def used(self, code: str, now_s: float) -> bool:
        """Whether it was good; it is not any more."""
        return self._open.pop(code, 0.0) > now_s


class Guard:
    """The door: every request and socket goes through it.

    Args:
        app: what is behind it.
        access: what is let in.
        attempts: of the token; shared with the login.
    """

    def __init__(self, app: App, access: Access, attempts: Attempts) -> None:
        self._app = app
        self._access = access
        self._attempts = attempts
        self._sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        asked = _asked(scope)
        refused = self._refused(scope, asked)
        scope["headers"] = [each for each in scope["headers"] if not each[0].lower().startswith(_STRIPPED)]
        if refused is not None:
            await _refuse(scope, refused, send)
        elif asked.socket:
            await self._socket(scope, receive, send)
        else:
            await self._request(scope, receive, send)

    def _refused(self, scope: Scope, asked: Asked) -> Refused | None:
        now_s, address = time.time(), (scope.get("client") or ("",))[0]
        if asked.bearer and self._access.token and not self._attempts.allowed(address, now_s):
            return Refused(429, "Too many wrong tokens. Wait a minute")
        refused = refusal(asked, self._access, now_s)
        if refused and refused.status == 401 and asked.bearer:
            self._attempts.failed(address, now_s)
        if refused is None and asked.path.startswith(_SOCKET_PATH) and not asked.socket:
            return Refused(400, "Only as a WebSocket")  # no polling: one way in less
        announced = _header(scope, b"content-length") or "0"
        if refused is None and not (announced.isdigit() and int(announced) <= _BODY_MAX):
            return Refused(413, "Too long")
        return refused

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._sockets >= _SOCKETS_MAX:
            await _refuse(scope, Refused(503, "Too many pages are open"), send)
            return
        self._sockets += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._sockets -= 1

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = _Reply(send, scope["path"], tls=self._access.tls)
        try:
            await self._app(scope, _Bounded(receive), reply)
        except _TooLongError:
            if not reply.begun:
                await _refuse(scope, Refused(413, "Too long"), send)


class _TooLongError(HTTPException):
    """A body has no end in sight. FastAPI, which answers other errors of a body as a bad form, passes it on."""

    def __init__(self) -> None:
        super().__init__(413, "Too long")


class _Bounded:
    """A body that ends."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._seen = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > _BODY_MAX:
            raise _TooLongError
        return message


class _Reply:
    """An answer with our headers; a page gets the nonce that its scripts need."""

    def __init__(self, send: Send, path: str, *, tls: bool) -> None:
        self._send = send
        self._tls = tls
        self._fixed = path.startswith(("/_nicegui/", ASSETS))
        self._page: Message | None = None
        self._parts: list[bytes] = []
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = {name.lower(): value for name, value in message["headers"]}
            if headers.get(b"content-type", b"").startswith(b"text/html"):
                self._page = message
                return
            message["headers"] = [*message["headers"], *self._ours(policy("", page=False), headers)]
        elif self._page is not None and message["type"] == "http.response.body":
            self._parts.append(message.get("body", b""))
            if not message.get("more_body"):
                await self._send_page(self._page)
            return
        await self._send(message)

    async def _send_page(self, start: Message) -> None:
        nonce = secrets.token_urlsafe(16)
        body = b"".join(self._parts).replace(b"<script", f'<script nonce="{nonce}"'.encode())
        kept = [each for each in start["headers"] if each[0].lower() != b"content-length"]
        length = (b"content-length", str(len(body)).encode())
        start["headers"] = [*kept, length, *self._ours(policy(nonce, page=True), {})]
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})

    def _ours(self, content: str, there: MutableMapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        ours = {**_HEADERS, "content-security-policy": content}
        if not self._fixed:  # what a person's body does is in nobody's cache
            ours["cache-control"] = "no-store"
        if self._tls:
            ours["strict-transport-security"] = "max-age=31536000"
        return [(name.encode(), value.encode()) for name, value in ours.items() if name.encode() not in there]


def policy(nonce: str, *, page: bool) -> str:
    """The content security policy of an answer. Vue makes its components at run time, hence `unsafe-eval`; markup
    that got into a page would still find no script that it may run."""
    if not page:
        return "default-src 'none'; frame-ancestors 'none'"
    return (
        f"default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    )


def _asked(scope: Scope) -> Asked:
    authorization = _header(scope, b"authorization") or ""
    kind, _, bearer = authorization.partition(" ")
    raw_path = scope.get("raw_path") or scope["path"].encode()
    return Asked(
        method=scope.get("method", "GET"),
        path=raw_path.decode("latin-1").partition("?")[0],
        host=_header(scope, b"host") or "",
        origin=_header(scope, b"origin"),
        fetch_site=_header(scope, b"sec-fetch-site"),
        socket=scope["type"] == "websocket",
        session=_cookie(_header(scope, b"cookie") or ""),
        bearer=bearer.strip() if kind.lower() == "bearer" else "",
    )


def _header(scope: Scope, name: bytes) -> str | None:
    """The only one of its name; of several, none that would be let in."""
    found = [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]
    return None if not found else found[0] if len(found) == 1 else ", ".join(found)


def _cookie(text: str) -> str:
    try:
        morsel = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


async def _refuse(scope: Scope, refused: Refused, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    wants_page = "text/html" in (_header(scope, b"accept") or "") and scope.get("method") == "GET"
    if refused.status == 401 and wants_page:
        headers = [(b"location", LOGIN.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    headers += [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    body = f'{{"detail":"{refused.reason}"}}'
    await send({"type": "http.response.body", "body": body.encode()})
