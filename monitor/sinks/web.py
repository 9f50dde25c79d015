"""Plain HTTP: a webhook that gets every alert, and a heartbeat whose absence is the alarm.

Rule: the standard library, in a thread. Certificates are verified.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from monitor import lines
from monitor.alerts.engine import Alert
from monitor.outbox import DeniedError, Letter, RefusedError, UnreachableError

_TIMEOUT_S = 10.0
_BEAT_EVERY_S: Final = 60.0
_DENIED = (401, 403, 404, 410)
_REFUSED = (400, 413, 415, 422)


class Webhook:
    """A server that gets each alert by POST, one JSON object a request.

    Args:
        url: where.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.name = (
            f"webhook {parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"  # no secrets
        )
        self._url = url

    async def deliver(self, letters: Sequence[Letter]) -> None:
        """Post those that are alerts."""
        for letter in letters:
            if isinstance(letter.contents, Alert):
                fields = lines.alert(letter.contents) | {"id": letter.id, "node": letter.node}
                await asyncio.to_thread(self._post, lines.as_json(fields).encode())

    async def check(self) -> None:
        """Nothing is kept open that could break."""

    async def close(self) -> None:
        """Nothing to do."""

    def _post(self, body: bytes) -> None:
        request = Request(self._url, body, {"Content-Type": "application/json"})  # noqa: S310 - http by configuration
        try:
            with urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310
                return
        except HTTPError as error:
            with error:
                reason = f"{self.name} answers {error.code}"
            if error.code in _REFUSED:
                raise RefusedError(reason, "") from error
            if error.code in _DENIED:
                raise DeniedError(reason, "Check notify.webhook_url") from error
            raise UnreachableError(reason) from error
        except (URLError, OSError) as error:
            raise UnreachableError(f"{self.name} cannot be reached ({error})") from error


class Heartbeat:
    """Asks for an address once a minute, as long as somebody says that all is well.

    Args:
        url: where.
        clock: seconds.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._due_s = 0.0
        self._beating: Thread | None = None

    def beat(self) -> None:
        """All is well; to be called every second."""
        if self._clock() >= self._due_s and not (self._beating and self._beating.is_alive()):
            self._due_s = self._clock() + _BEAT_EVERY_S
            self._beating = Thread(target=self._ask, name="heartbeat", daemon=True)  # the end waits for no server
            self._beating.start()

    def _ask(self) -> None:
        """Who misses it will say so; there is nobody here to tell."""
        with suppress(URLError, OSError, ValueError), urlopen(self._url, timeout=_TIMEOUT_S):  # noqa: S310
            pass
