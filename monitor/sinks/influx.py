"""InfluxDB: 2 and later through `InfluxDBClientAsync`, 1.x through its `/write`.

Rules of this module:

* Never influxdb-client's batching WriteApi: it queues without end in memory and drops what it cannot send for
  180 s. Batches, attempts and positions are the outbox's.
* What an answer means is said once, in `_meaning`: 400 refused, 401, 403 and 404 denied, all else later.
* A database that is missing is made, if we may; it is looked for only when the server says that it is missing.
* Certificates are verified, by the computer's own list or by the file in SSL_CERT_FILE. There is no switch.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.domain.post_bucket_request import PostBucketRequest
from influxdb_client.rest import ApiException
from influxdb_client.service.buckets_service import BucketsService
from influxdb_client.service.organizations_service import OrganizationsService

from monitor.outbox import DeniedError, Letter, RefusedError, SinkError, UnreachableError
from monitor.sinks.line_protocol import line, point

_TIMEOUT_S = 30.0
_TRIAL = "doctor"
_REASON_MAX = 300


@dataclass(frozen=True, slots=True)
class Place:
    """Where the points go."""

    url: str
    bucket: str
    """In InfluxDB 1.x, the database."""
    org: str = ""
    token: str = ""
    """In InfluxDB 1.x "user:password"."""

    @property
    def name(self) -> str:
        """Names it, without what is secret."""
        return f"influxdb {self.url} {self.bucket}"


class MissingError(DeniedError):
    """There is no such database or bucket, or the token may not know of it."""


class Influx2:
    """InfluxDB 2 and later.

    Args:
        place: where.
    """

    def __init__(self, place: Place) -> None:
        self.name = place.name
        self._place = place
        self._client: InfluxDBClientAsync | None = None

    async def deliver(self, letters: Sequence[Letter]) -> None:
        """Write them as points."""
        await self.write(await asyncio.to_thread(_body, letters))

    async def check(self) -> None:
        """Nothing is kept open that could break."""

    async def close(self) -> None:
        """Let the connection go."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def write(self, body: bytes) -> None:
        """Lines, into the bucket, which is made if it is missing.

        Raises:
            SinkError: not all were taken.
        """
        await _made_if_missing(lambda: self._write(body), self._make)

    async def read(self, query: str) -> list[Any]:
        """The answer to InfluxQL."""
        async with _session(self._place, f"Token {self._place.token}") as session:
            return await _asked(session, self._place, query)

    async def forget(self, measurement: str, node: str) -> None:
        """Delete what a node wrote into a measurement in the last day."""
        now = datetime.now(UTC)
        which = f'_measurement="{measurement}" AND node="{node}"'
        delete = self._opened().delete_api().delete
        until = now + timedelta(minutes=1)
        with _explained(self._place.url):
            await delete(now - timedelta(days=1), until, which, self._place.bucket, org=self._place.org)

    async def _write(self, body: bytes) -> None:
        with _explained(self._place.url):
            await self._opened().write_api().write(self._place.bucket, self._place.org, record=body)

    async def _make(self) -> None:
        with _explained(self._place.url):
            api = self._opened().api_client
            found = await OrganizationsService(api).get_orgs_async(org=self._place.org)
            if not found.orgs:
                raise DeniedError(f"there is no organization {self._place.org!r}", "Check org")
            request = PostBucketRequest(org_id=found.orgs[0].id, name=self._place.bucket, retention_rules=[])
            await BucketsService(api).post_buckets_async(post_bucket_request=request)

    def _opened(self) -> InfluxDBClientAsync:
        """Made in the event loop, as it must be."""
        if self._client is None:
            self._client = InfluxDBClientAsync(
                self._place.url,
                self._place.token,
                org=self._place.org,
                timeout=round(_TIMEOUT_S * 1000),
                enable_gzip=True,
            )
        return self._client


class Influx1:
    """InfluxDB 1.x.

    Args:
        place: where.
    """

    def __init__(self, place: Place) -> None:
        self.name = place.name
        self._place = place
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, letters: Sequence[Letter]) -> None:
        """Write them as points."""
        await self.write(await asyncio.to_thread(_body, letters))

    async def check(self) -> None:
        """Nothing is kept open that could break."""

    async def close(self) -> None:
        """Let the connection go."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def write(self, body: bytes) -> None:
        """Lines, into the database, which is made if it is missing.

        Raises:
            SinkError: not all were taken.
        """
        await _made_if_missing(lambda: self._write(body), self._make)

    async def read(self, query: str) -> list[Any]:
        """The answer to InfluxQL."""
        return await _asked(self._opened(), self._place, query)

    async def forget(self, measurement: str, node: str) -> None:
        """Delete what a node wrote into a measurement."""
        await self.read(f'DELETE FROM "{measurement}" WHERE "node" = \'{node}\'')  # noqa: S608

    async def _write(self, body: bytes) -> None:
        where = {"db": self._place.bucket, "precision": "ns"}
        packed, headers = await asyncio.to_thread(gzip.compress, body, 6), {"Content-Encoding": "gzip"}
        request = self._opened().post(f"{self._place.url}/write", params=where, data=packed, headers=headers)
        with _explained(self._place.url):
            async with request as answer:
                said = await answer.text(errors="replace")
                if not answer.ok:
                    raise _meaning(answer.status, said, answer.headers.get("Retry-After"))

    async def _make(self) -> None:
        await self.read(f'CREATE DATABASE "{self._place.bucket}"')

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = _session(self._place, f"Basic {b64encode(self._place.token.encode()).decode()}")
        return self._session


async def tried(sink: Influx1 | Influx2, node: str) -> None:
    """Write a point, read it back, delete it.

    Raises:
        SinkError: one of them failed.
    """
    at_ns = time.time_ns()
    try:
        await sink.write(point(_TRIAL, {"node": node}, {"value": 1}, at_ns))
        query = f"SELECT value FROM {_TRIAL} WHERE node = '{node}' AND time = {at_ns}"  # noqa: S608
        with suppress(DeniedError):  # a token that may only write is the best one
            if not await sink.read(query):
                raise UnreachableError("a point that was written is not there")
        await sink.forget(_TRIAL, node)
    finally:
        await sink.close()


def _body(letters: Sequence[Letter]) -> bytes:
    """In a thread: the event loop has a radio to attend to."""
    return b"\n".join(map(line, letters))


# ---- Answers ----


def _meaning(status: int, said: str, retry_after: str | None) -> SinkError:
    """What a server means by an answer other than yes."""
    reason = f"{status}: {_sentence(said)}"
    match status:
        case 400 | 413 | 422:
            return RefusedError(reason, "")
        case 401 | 403:
            return DeniedError(f"InfluxDB turns our token away ({reason})", "Give it a token that may write")
        case 404:
            return MissingError(f"InfluxDB knows no such place ({reason})", "Check url, org and bucket")
        case _:
            return UnreachableError(f"InfluxDB answers {reason}", _seconds(retry_after))


def _sentence(said: str) -> str:
    """What the server says, out of its JSON."""
    text = said
    with suppress(ValueError, AttributeError):
        answer = json.loads(said)
        text = str(answer.get("message") or answer.get("error") or said)
    return " ".join(text.split())[:_REASON_MAX]


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(float(retry_after or ""), 0.0)
    except ValueError:
        return None


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what a server or a connection can do to us into a SinkError."""
    try:
        yield
    except ApiException as error:
        headers: Mapping[str, str] = error.headers or {}
        raise _meaning(error.status or 0, str(error.body or error.reason), headers.get("Retry-After")) from error
    except aiohttp.ClientConnectorCertificateError as error:
        remedy = "Name the file of its authority in SSL_CERT_FILE"
        raise DeniedError(f"the certificate of {url} is not to be trusted", remedy) from error
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is one
        what = str(error) or type(error).__name__
        raise UnreachableError(f"{url} cannot be reached ({' '.join(what.split())})") from error


async def _made_if_missing(write: Callable[[], Awaitable[None]], make: Callable[[], Awaitable[object]]) -> None:
    """Write; where the place is missing, make it and write once more."""
    try:
        await write()
    except DeniedError as denied:
        if not isinstance(denied, MissingError):
            raise
        try:
            await make()
        except (RefusedError, DeniedError):
            raise denied from None
        await write()


async def _asked(session: aiohttp.ClientSession, place: Place, query: str) -> list[Any]:
    """The series that InfluxQL gives. POST, because in 1.x what changes something must be."""
    where = {"db": place.bucket, "q": query, "epoch": "ns"}
    with _explained(place.url):
        async with session.post(f"{place.url}/query", params=where) as answer:
            said = await answer.text(errors="replace")
            if not answer.ok:
                raise _meaning(answer.status, said, answer.headers.get("Retry-After"))
    try:
        (result,) = json.loads(said)["results"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreachableError(f"{place.url} answers what is no result of a query") from error
    if "error" in result:
        raise DeniedError(_sentence(str(result["error"])), "Give the token the right to do it")
    return list(result.get("series", []))


def _session(place: Place, authorization: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"Authorization": authorization} if place.token else {},
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
        connector=aiohttp.TCPConnector(ssl=ssl.create_default_context()),
    )
