"""MQTT: what leaves, what comes back, and the proof that it does.

    Delivery ─► Mqtt ═(thread)═► _Link ─► broker ─► Home Assistant and others
                                   └─► Requests ◄─┘

Rules of this module:

* A new Client for each connection: one that was connected before sends what it had queued, late and in disorder.
* A thread with a selector loop of its own, on every system: aiomqtt needs one, bleak on Windows needs another
  kind, and what is tested here is then what runs there. Its tasks are made here.
* Nothing counts as delivered before what we publish was seen to come back, at every connection and hourly: a
  broker acknowledges what its access list then throws away.
* The client's name is fixed, so that a new connection ends the one that was left hanging, and its will comes
  before our `online`, never after. `online` is retained as `offline` is, and said again where we hear otherwise.
* What a broker took shortly before a connection ended may be lost with it: all of that time is sent again, with
  the same ids, and after a kill of ours too. What stands is said again, likewise, at each connection, on Home
  Assistant's birth, and every minute.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import threading
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import aiomqtt

from monitor.alerts.engine import Alert
from monitor.alerts.watching import Seen
from monitor.database import StoreError
from monitor.outbox import DeniedError, Letter, Outbox, SinkError, UnreachableError, pause_s, time_ns
from monitor.sinks.homeassistant import BIRTH, discovery
from monitor.sinks.requests import TOPICS, Requests
from monitor.sinks.topics import (
    OFFLINE,
    ONLINE,
    Message,
    Minutes,
    base,
    device_state,
    forgotten,
    level,
    message,
)
from monitor.tally import Minute

_TIMEOUT_S = 10.0
_ECHO_S = 5.0
_PROVE_EVERY_S = 3600.0
_PROVE_AGAIN_S = 30.0
"""Where nothing came back: a person may be putting it right."""
_REMIND_EVERY_S = 60.0
_SHOW_EVERY_S = 10.0
_PAUSE_MAX_S = 30.0
_AGAIN_S = 120.0
"""How long before the end of a connection the broker may have lost what it took."""
_OLD_NS = 86400 * 10**9
"""MQTT is for what is new: older than this only alerts are sent. InfluxDB has the past."""
_LEAVE_S = 3.0
_RECENT_MAX = 20_000
_LOOKS_LATE_S = 4
"""What the broker is told is shorter: mosquitto 2.0 looks every 5 s only, and its will is to come in time."""
_AT_ONCE = 100
_WAITING_MAX = 1000
_HEARD_NS = 10 * 10**9
_BAD_LOGIN = (134, 135)
"""Reason codes: bad user name or password; not authorized."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Broker:
    """Where it is, and who we are there."""

    host: str
    port: int
    tls: bool = True
    ca_file: Path | None = None
    username: str = ""
    password: str = ""
    version: str = "5"
    keepalive_s: int = 15
    discovery: str = "homeassistant"

    @property
    def name(self) -> str:
        """Names it, without what is secret."""
        return f"mqtt {self.host}:{self.port}"


class NotProvenError(DeniedError):
    """The broker does not take what we send, or who we are."""

    pause_s: ClassVar[float] = 5.0


class AwayError(UnreachableError):
    """The broker is not there; that it is again is seen at once."""

    pause_max_s: ClassVar[float] = 1.0


class Mqtt:
    """A broker, as a sink.

    Args:
        broker: where.
        node: this computer's name.
        outbox: says which alerts stand.
        requests: does what comes in.
    """

    def __init__(self, broker: Broker, node: str, outbox: Outbox, requests: Requests) -> None:
        self.name = f"{broker.name} {node}"
        self._link = _Link(broker, node, outbox, requests)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    async def deliver(self, letters: Sequence[Letter]) -> None:
        """Publish them; whoever gets one twice can tell by its id."""
        await self._there(self._link.deliver(letters))

    async def check(self) -> None:
        """Whether what we publish arrives."""
        await self._there(self._link.check())

    async def close(self) -> None:
        """Say `offline`, and leave."""
        if self._loop is not None:
            await self._there(self._link.end())
            await asyncio.to_thread(self._thread.join, 2 * _LEAVE_S)

    def show(self, running_ns: int, seen: Iterable[Seen]) -> None:
        """How the wearables are now; from any thread.

        Args:
            running_ns: now, by the clock of `Seen.heard_ns`.
            seen: each of them.
        """
        self._started().call_soon_threadsafe(self._link.show, running_ns, tuple(seen))

    async def _there(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """In the other thread."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._started()))

    def _started(self) -> asyncio.AbstractEventLoop:
        """The loop of the other thread, which lives from the first word on."""
        if self._loop is None:
            self._loop = asyncio.SelectorEventLoop()
            self._thread.start()
        return self._loop

    def _run(self) -> None:
        assert self._loop is not None  # noqa: S101 - made before the thread
        loop = self._loop
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._link.stay())


class _Link:
    """The connection, in its own loop: made, kept, made again."""

    def __init__(self, broker: Broker, node: str, outbox: Outbox, requests: Requests) -> None:
        self._broker = broker
        self._sink = f"{broker.name} {node}"
        self._base = base(node)
        self._node = node
        self._outbox = outbox
        self._requests = requests
        self._client: aiomqtt.Client | None = None
        """Once it is proven that what is published comes back."""
        self._trouble: SinkError = AwayError(f"{broker.name} is being connected to")
        self._leaving = False
        self._ended = asyncio.Event()
        self._stalled = asyncio.Event()
        self._news = asyncio.Event()
        self._echo: tuple[str, asyncio.Future[None]] | None = None
        self._turn = asyncio.Lock()
        """What stands must not overtake, or be overtaken by, what is new."""
        self._is_first = True
        self._recent: deque[tuple[float, Message]] = deque(maxlen=_RECENT_MAX)
        self._standing: dict[str, Letter] = {}
        self._minutes = Minutes()
        self._newest: dict[str, Message] = {}
        self._discovered: dict[str, Message] = {}
        self._seen: dict[str, tuple[Seen, bool]] = {}
        """Name of a wearable -> how it is, and whether it is heard."""
        self._shown: dict[str, tuple[float, str]] = {}

    # ---- Asked from the other thread ----

    async def deliver(self, letters: Sequence[Letter]) -> None:
        """Publish, in order."""
        async with self._turn:
            await self.check()
            await self._publish([each for letter in letters for each in self._messages(letter)])

    async def check(self) -> None:
        """Raise what is in the way."""
        if self._client is None:
            raise self._trouble.with_traceback(None)  # it may be raised for months

    async def end(self) -> None:
        """A will is for those who do not say goodbye."""
        self._leaving = True
        if self._client is not None:
            with suppress(SinkError, TimeoutError):
                async with asyncio.timeout(_LEAVE_S):
                    await self._publish([Message(f"{self._base}/state", OFFLINE, retain=True)])
        self._ended.set()

    def show(self, running_ns: int, seen: Sequence[Seen]) -> None:
        """Remember how the wearables are."""
        self._seen = {
            each.name: (each, each.heard_ns is not None and running_ns - each.heard_ns < _HEARD_NS)
            for each in seen
            if each.channels  # else it has not introduced itself
        }
        self._news.set()

    # ---- The connection ----

    async def stay(self) -> None:
        """Until the end."""
        staying = asyncio.create_task(self._stay(), name="mqtt connection")
        ended = asyncio.create_task(self._ended.wait(), name="mqtt end")
        await asyncio.wait((staying, ended), return_when=asyncio.FIRST_COMPLETED)
        staying.cancel()
        ended.cancel()
        with suppress(asyncio.CancelledError):
            await staying

    async def _stay(self) -> None:
        failures, loop = 0, asyncio.get_running_loop()
        while True:
            begun_s = loop.time()
            try:
                await self._session()
            except* Exception as errors:  # noqa: BLE001 - alerts go on trying to leave; why not is told
                self._trouble = self._explained(errors.exceptions[0])
            finally:
                self._client = None
            failures = 1 if loop.time() - begun_s > _REMIND_EVERY_S else failures + 1
            await asyncio.sleep(min(pause_s(failures, None, secrets.randbelow(1000) / 1000), _PAUSE_MAX_S))

    async def _session(self) -> None:
        self._stalled.clear()
        async with self._new_client() as client:
            topics = [f"{self._base}/{topic}" for topic in (*TOPICS, "state", "alert/self-test")]
            if self._broker.discovery:
                topics.append(f"{self._broker.discovery}/{BIRTH}")
            await client.subscribe([(topic, 1) for topic in topics])
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(client), name="mqtt in")
                group.create_task(self._speak(client), name="mqtt out")

    def _new_client(self) -> aiomqtt.Client:
        broker = self._broker
        context = ssl.create_default_context(cafile=broker.ca_file) if broker.tls else None
        client = aiomqtt.Client(
            broker.host,
            broker.port,
            identifier=f"fasciwatch-{self._node}",
            username=broker.username or None,
            password=broker.password or None,
            protocol=aiomqtt.ProtocolVersion.V5 if broker.version == "5" else aiomqtt.ProtocolVersion.V311,
            will=aiomqtt.Will(f"{self._base}/state", OFFLINE, qos=1, retain=True),
            keepalive=broker.keepalive_s - _LOOKS_LATE_S,
            timeout=_TIMEOUT_S,
            tls_context=context,
            max_queued_incoming_messages=_WAITING_MAX,
        )
        client.pending_calls_threshold = 2 * _AT_ONCE  # beyond, it warns
        return client

    async def _speak(self, client: aiomqtt.Client) -> None:
        """Say who we are and what stands, and go on saying it."""
        loop = asyncio.get_running_loop()
        await self._send(client, [Message(f"{self._base}/state", ONLINE, retain=True)])
        prove_s = remind_s = loop.time()
        introduced: frozenset[str] = frozenset()
        while True:
            if loop.time() >= prove_s:
                prove_s = loop.time() + await self._prove(client)
            known = frozenset((*self._standing, *self._seen))
            if loop.time() >= remind_s or known != introduced:
                remind_s, introduced = loop.time() + _REMIND_EVERY_S, known
                await self._remind(client)
            await self._show(client)
            self._news.clear()
            waiting = {asyncio.ensure_future(event.wait()) for event in (self._news, self._stalled)}
            await asyncio.wait(waiting, timeout=_SHOW_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            for each in waiting:
                each.cancel()
            if self._stalled.is_set():
                raise aiomqtt.MqttError(f"no answer in {_TIMEOUT_S:g} s")

    async def _prove(self, client: aiomqtt.Client) -> float:
        """Publish where alerts are published, and see it come back; when to do it next."""
        proof = secrets.token_hex(8)
        self._echo = proof, asyncio.get_running_loop().create_future()
        said = json.dumps({"type": "self-test", "id": proof})
        await self._send(client, [Message(f"{self._base}/alert/self-test", said)])
        try:
            await asyncio.wait_for(self._echo[1], _ECHO_S)
        except TimeoutError:
            self._client = None
            self._trouble = NotProvenError(
                f"{self._broker.name} takes what we publish and throws it away",
                f"Let {self._broker.username or 'us'} read and write {self._base}/# in its access list",
            )
            return _PROVE_AGAIN_S
        if self._client is None:
            await self._again(client)
            self._client = client
        return _PROVE_EVERY_S

    async def _again(self, client: aiomqtt.Client) -> None:
        """What the broker may have lost, before anything new."""
        since_s = asyncio.get_running_loop().time() - _AGAIN_S
        recent = [each for at_s, each in self._recent if at_s >= since_s]
        self._discovered, self._shown = {}, {}
        async with self._turn:
            with suppress(StoreError):  # a disk that is full is no reason not to say so
                if self._is_first:
                    before_ns = time.time_ns() - round(_AGAIN_S * 1e9)
                    before = await asyncio.to_thread(self._outbox.sent, self._sink, before_ns)
                    recent = [each for letter in before for each in self._messages(letter)]
                    self._is_first = False
                for letter in await asyncio.to_thread(self._outbox.standing):
                    known = self._standing.get(_name(letter))
                    if known is None or time_ns(known.contents) <= time_ns(letter.contents):
                        self._standing[_name(letter)] = letter
            await self._send(client, recent)

    async def _remind(self, client: aiomqtt.Client) -> None:
        """All that stands."""
        if self._client is None:
            return
        introductions = await self._introductions()
        async with self._turn:
            standing = [said for letter in self._standing.values() if (said := message(letter))]
            await self._send(client, [*introductions, *standing, *self._newest.values()])
        self._shown = {}

    async def _introductions(self) -> list[Message]:
        """To Home Assistant, where they are not as they were said last."""
        if not self._broker.discovery:
            return []
        templates = await asyncio.to_thread(self._requests.templates)
        alerts = [letter.contents for letter in self._standing.values() if isinstance(letter.contents, Alert)]
        devices = list(self._seen)
        found = discovery(self._broker.discovery, self._node, devices, alerts, templates, self._discovered)
        new = [each for topic, each in found.items() if self._discovered.get(topic) != each]
        self._discovered |= found
        return new

    async def _show(self, client: aiomqtt.Client) -> None:
        """How the wearables are, where that has changed."""
        if self._client is None:
            return
        now_s, messages = asyncio.get_running_loop().time(), []
        for name, (seen, heard) in self._seen.items():
            here = f"{self._base}/{level(name)}"
            for topic, said, every_s in (
                (f"{here}/availability", ONLINE if heard else OFFLINE, 0.0),
                (f"{here}/state", device_state(seen), _SHOW_EVERY_S),
            ):
                shown_s, before = self._shown.get(topic, (0.0, ""))
                if said != before and now_s - shown_s >= every_s:
                    self._shown[topic] = now_s, said
                    messages.append(Message(topic, said, retain=True))
        await self._send(client, messages)

    # ---- In ----

    async def _read(self, client: aiomqtt.Client) -> None:
        async for came in client.messages:
            topic, payload = str(came.topic), came.payload
            said = payload if isinstance(payload, bytes) else b""
            if topic == f"{self._base}/state":
                if said == OFFLINE.encode() and not self._leaving:
                    await self._send(client, [Message(topic, ONLINE, retain=True)])
            elif topic == f"{self._base}/alert/self-test":
                self._heard(said)
            elif topic == f"{self._broker.discovery}/{BIRTH}":
                if said == ONLINE.encode():
                    self._discovered = {}
                    await self._remind(client)
                    self._news.set()
            else:
                below = topic.removeprefix(f"{self._base}/")
                answer = await asyncio.to_thread(
                    self._requests.answer, below, said, time.time_ns(), retained=came.retain
                )
                await self._send(client, [Message(f"{self._base}/{answer[0]}", answer[1])])

    def _heard(self, said: bytes) -> None:
        if self._echo and self._echo[0].encode() in said and not self._echo[1].done():
            self._echo[1].set_result(None)

    # ---- Out ----

    def _messages(self, letter: Letter) -> list[Message]:
        said = letter.contents
        if isinstance(said, Minute):
            return [self._remembered(letter)] if self._is_new(letter) else []
        one = message(letter)
        if one is None or not (isinstance(said, Alert) or self._is_new(letter)):
            return []
        if not isinstance(said, Alert):
            return [one]
        over = forgotten(letter)
        self._standing[said.name] = letter
        if over is not None:
            self._standing.pop(said.name)
        return [one, over] if over else [one]

    def _remembered(self, letter: Letter) -> Message:
        self._newest[letter.device] = self._minutes.add(letter)
        return self._newest[letter.device]

    @staticmethod
    def _is_new(letter: Letter) -> bool:
        return time.time_ns() - time_ns(letter.contents) < _OLD_NS

    async def _publish(self, messages: Sequence[Message]) -> None:
        """On the connection that is proven; remembered for the next one."""
        await self.check()
        assert self._client is not None  # noqa: S101 - checked
        now_s = asyncio.get_running_loop().time()
        self._recent.extend((now_s, each) for each in messages)
        while self._recent and self._recent[0][0] < now_s - _AGAIN_S:
            self._recent.popleft()
        try:
            await self._send(self._client, messages)
        except aiomqtt.MqttError as error:
            self._stalled.set()
            raise AwayError(f"{self._broker.name} did not confirm what it was sent ({error})") from error

    @staticmethod
    async def _send(client: aiomqtt.Client, messages: Sequence[Message]) -> None:
        """In order, some of them on their way together; all of them confirmed."""
        for first in range(0, len(messages), _AT_ONCE):
            together = messages[first : first + _AT_ONCE]
            sent = [client.publish(each.topic, each.payload, qos=1, retain=each.retain) for each in together]
            for done in await asyncio.gather(*sent, return_exceptions=True):
                if isinstance(done, BaseException):
                    raise done

    # ---- Faults ----

    def _explained(self, error: BaseException) -> SinkError:
        """What a broker or a connection can do to us."""
        name = self._broker.name
        if isinstance(error, BaseExceptionGroup):
            return self._explained(error.exceptions[0])
        if isinstance(error, SinkError):
            return error
        if isinstance(error, FileNotFoundError):
            return NotProvenError(f"{self._broker.ca_file} is not there", "Check mqtt.ca_file")
        if isinstance(error.__context__, ssl.SSLCertVerificationError) or isinstance(error, ssl.SSLError):
            why = getattr(error.__context__ or error, "verify_message", "") or str(error)
            return NotProvenError(f"the certificate of {name} is not to be trusted ({why})", "Check mqtt.ca_file")
        if isinstance(error, aiomqtt.MqttCodeError) and getattr(error.rc, "value", error.rc) in _BAD_LOGIN:
            return NotProvenError(f"{name} turns us away ({error})", "Check mqtt.username and the password")
        return AwayError(f"{name} cannot be reached ({' '.join(str(error).split()) or type(error).__name__})")


def _name(letter: Letter) -> str:
    return letter.contents.name if isinstance(letter.contents, Alert) else ""


async def tried(broker: Broker, node: str) -> None:
    """Publish a message, and see it come back.

    Raises:
        SinkError: it did not.
    """
    topic, proof = f"{base(node)}/alert/self-test", secrets.token_hex(8)
    link = _Link(broker, f"{node}-doctor", Outbox(Path(), node), Requests(Path()))
    try:
        async with link._new_client() as client:  # noqa: SLF001 - in the same module
            await client.subscribe(topic, 1)
            await client.publish(topic, proof, qos=1)
            async with asyncio.timeout(_ECHO_S):
                async for came in client.messages:
                    if came.payload == proof.encode():
                        return
    except TimeoutError:
        raise NotProvenError(
            f"{broker.name} takes what we publish and throws it away", f"Let us read and write {base(node)}/#"
        ) from None
    except (aiomqtt.MqttError, OSError) as error:
        raise link._explained(error) from error  # noqa: SLF001
