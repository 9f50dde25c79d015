"""A wearable that does not exist: samples a body, packs what it measured and loses some of it on the way.

    body ─ µV, g ─► converter ─ counts ─► packets ─ codec ─► payloads ─ delay, loss ─► Notification

What it sends, a board with the open profile would send. What it knows beside that is the truth to test
against: when each sample was really taken, and how many were sent.

Rules:

* Pure: no clock, no asyncio. Time is the host's, in ns, and comes in with `advance`.
* The same seed and body give the same notifications, however `advance` is called: the body is always asked
  for the same pieces, and every draw belongs to a packet.
* It samples from the moment it is switched on, and sends between START and STOP. So an index always tells a
  time, and what was not sent can be counted.
* It counts truthfully.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_interface.codecs import Device
from firmware_interface.codecs.open_profile import Opcode, OpenProfile, Request, Result, describe
from firmware_interface.samples import Notification, Packet, Sensor, Status, Stream, Unit

_SECOND_NS = 1_000_000_000
_NEVER_NS = 1 << 63
_PAYLOAD = 244
"""Bytes of a notification at an MTU of 247."""
_HEADER = 12
_BLOCK_HEADER = 2
_DELTA_SAMPLES = 256
"""A first sample and one block of 255 differences."""
_OVERTAKING_NS = 300_000_000
"""No packet is held back for longer, and one that nothing follows by then keeps its place."""
_PIECE_S = 0.25
"""What the body is asked for at a time."""
_TEST_COUNTS = 1000
"""Amplitude of the test signal, a square wave of 1 Hz."""

Draw = Callable[[int], NDArray[np.float64]]


class BodySettings(Protocol):
    """How a body is to be sampled."""

    @property
    def rate_hz(self) -> float:
        """Samples of muscle a second, truly."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Where the electrodes are."""

    @property
    def acc_rate_hz(self) -> float:
        """Samples of acceleration a second, truly."""


class Body(Protocol):
    """What a wearable is worn on: `emulated.arm.Arm`, or a test's."""

    @property
    def settings(self) -> BodySettings: ...

    def emg_uv(self, samples: int) -> NDArray[np.float64]:
        """The next `samples`, shape (channels, samples)."""

    def acc_g(self, samples: int) -> NDArray[np.float64]:
        """The next `samples`, shape (3, samples)."""


class Flaws(Protocol):
    """How a device and its radio fall short."""

    @property
    def jitter_s(self) -> float:
        """The longest wait for a connection event."""

    @property
    def loss(self) -> float:
        """Mean share of packets lost."""

    @property
    def loss_burst(self) -> float:
        """Mean number of packets lost in a row."""

    @property
    def overtaken(self) -> float:
        """Share of packets that come after their successor."""


@dataclass(frozen=True, slots=True)
class WearableSettings:
    """What the device claims, and how it falls short."""

    name: str = "fasciwatch demo"
    serial: str = "EMULATED-1"
    rate_hz: float = 1000.0
    """As Info claims."""
    acc_rate_hz: float = 100.0
    true_rate_ratio: float = 1.0
    """True sampling rates over claimed ones; sensors' own oscillators are off by up to 1 %."""
    clock_skew_ppm: float = 0.0
    """How fast the device's clock runs; quartz is within 50."""
    jitter_s: float = 0.030
    """The longest wait for a connection event. Delays only; order is kept."""
    loss: float = 0.0
    """Mean share of packets lost."""
    loss_burst: float = 4.0
    """Mean number of packets lost in a row (Gilbert and Elliott)."""
    overtaken: float = 0.0
    """Share of packets that come after their successor; BLE keeps order, some stacks above it do not."""
    battery_percent: float = 100.0
    battery_drain_per_h: float = 4.0
    scale_uv: float = 0.1
    """Per count: 16 bits reach 3.3 mV."""
    acc_scale_g: float = 1 / 4096
    """Per count: 16 bits reach 8 g."""
    delta: bool = False
    """Send differences, in as few bits as they need."""

    @property
    def true_rate_hz(self) -> float:
        """The rate at which the body must give muscle."""
        return self.rate_hz * self.true_rate_ratio

    @property
    def true_acc_rate_hz(self) -> float:
        """The rate at which the body must give acceleration."""
        return self.acc_rate_hz * self.true_rate_ratio


class Wearable:
    """One emulated board.

    Args:
        settings: what it claims and how it falls short.
        body: what it is worn on.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.

    Raises:
        ValueError: the body's rates are not the true rates of `settings`.
    """

    def __init__(self, settings: WearableSettings, body: Body, seed: int, start_ns: int = 0) -> None:
        _require_rates(settings, body.settings)
        self._settings = settings
        self.info = describe(_device(settings, body.settings))
        self.codec = OpenProfile(self.info)
        self.device = self.codec.device
        self._made_ns = self._now_ns = start_ns
        self._channels = _channels(settings, body, start_ns)
        self._path = Path(settings, seed)
        self.sent = {channel.name: 0 for channel in self._channels}
        """Samples in packets, lost ones included, since it was made."""
        self._on_ns = start_ns
        self._drops = 0
        self.stop()

    def advance(self, until_ns: int) -> list[Notification]:
        """What arrives up to `until_ns`, since the last call. Nothing before START."""
        while (due_ns := min((self._status_ns, *(channel.due_ns for channel in self._active)))) <= until_ns:
            self._send(due_ns)
        for channel in self._channels:
            if channel not in self._active:
                channel.skip(until_ns)
        self._now_ns = until_ns
        return self._path.arrived(until_ns)

    def handle(self, request: bytes) -> bytes:
        """The reply to a write to Control, which takes effect at the time that `advance` has come to.

        Raises:
            PacketError: it is too short to be replied to.
        """
        asked = Request.read(request)
        match asked.opcode, asked.argument:
            case Opcode.START, bytes(mask) if len(mask) == 1 and mask[0] & (1 << len(self._channels)) - 1:
                return asked.reply(Result.DONE, self._start(mask[0]))
            case Opcode.STOP, _:
                self.stop()
            case Opcode.TEST_SIGNAL, b"\0" | b"\1":
                self._channels[0].testing = asked.argument == b"\1"
            case Opcode.START | Opcode.TEST_SIGNAL, _:
                return asked.reply(Result.BAD_ARGUMENT)
            case _:
                return asked.reply(Result.UNKNOWN_OPCODE)
        return asked.reply(Result.DONE)

    def stop(self) -> None:
        """Send no more; go on sampling. The end of a link does this too."""
        self._active: tuple[Channel, ...] = ()
        self._status_ns = _NEVER_NS

    def power_cycle(self) -> None:
        """Switch off and on again: every count begins at zero."""
        self.stop()
        self._on_ns = self._now_ns
        self._drops = 0
        self._path.break_off()
        for channel in self._channels:
            channel.switch_on(self._now_ns)

    def time_ns(self, stream: str, index: int) -> int:
        """The true host time at which a sample was taken, counted since it was last switched on."""
        return next(channel.time_ns(index) for channel in self._channels if channel.name == stream)

    def device_us(self, at_ns: int) -> int:
        """What the device's clock shows at a host time."""
        return round((at_ns - self._on_ns) * (1 + self._settings.clock_skew_ppm * 1e-6)) // 1000

    def _send(self, due_ns: int) -> None:
        if due_ns == self._status_ns:
            self._status_ns += _SECOND_NS
            self._path.send(*self.codec.encode(self._status(due_ns)), due_ns)
            return
        channel = next(channel for channel in self._active if channel.due_ns == due_ns)
        packet = channel.take(self.device_us)
        self.sent[channel.name] += packet.counts.shape[1]
        payload = self.codec.encode(packet, delta=self._settings.delta)
        if self._path.loses():
            self._drops += 1
        else:
            self._path.send(*payload, due_ns)

    def _status(self, at_ns: int) -> Status:
        hours = (at_ns - self._made_ns) / (3600 * _SECOND_NS)
        battery = self._settings.battery_percent - hours * self._settings.battery_drain_per_h
        lead_off = (False,) * len(self.device.streams[0].channels)
        return Status(battery_percent=max(round(battery), 0), lead_off=lead_off, drops=self._drops)

    def _start(self, mask: int) -> dict[int, int]:
        self._active = tuple(c for number, c in enumerate(self._channels) if mask >> number & 1)
        self._status_ns = self._now_ns
        for channel in self._active:
            channel.start(self._now_ns, delta=self._settings.delta)
        return {self._channels.index(channel): channel.first for channel in self._active}


class Channel:
    """The converter of one stream. An index is counted from when the device was switched on.

    Args:
        name: of the stream.
        width: its channels.
        rate_hz: samples a second, truly.
        scale: what is measured, per count.
        draw: what is measured, so many samples on.
        on_ns: host time at which the device is switched on.
        longest: samples in a packet; by default as many of 16 bits as fit.
        bits: what the converter resolves.
    """

    def __init__(
        self,
        name: str,
        width: int,
        rate_hz: float,
        scale: float,
        draw: Draw,
        on_ns: int,
        *,
        longest: int = 0,
        bits: int = 16,
    ) -> None:
        self.name = name
        self.testing = False
        self._rate_hz = rate_hz
        self._scale = scale
        self._draw = draw
        self._piece = max(round(_PIECE_S * rate_hz), 1)
        self._plain = longest or max((_PAYLOAD - _HEADER) // (2 * width), 1)
        self._limits = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        self._counts = np.empty((width, 0), np.int16 if bits <= 16 else np.int32)
        self._clipped = np.empty(0, bool)
        self._on_ns = on_ns
        self.first = self._sequence = 0

    def switch_on(self, at_ns: int) -> None:
        """Count from zero: the next sample is the first, and is taken at `at_ns`."""
        self.skip(at_ns)
        self._on_ns, self.first, self._sequence, self.testing = at_ns, 0, 0, False

    def start(self, at_ns: int, *, delta: bool) -> None:
        """Send the samples that will be taken after `at_ns`."""
        self._delta = delta
        self.skip(at_ns)
        self._prepare()

    def skip(self, until_ns: int) -> None:
        """Forget the samples taken up to `until_ns`."""
        self._forget(self._taken(until_ns) - self.first)

    def take(self, device_us: Callable[[int], int]) -> Packet:
        """The packet that is complete at `due_ns`; the next one is prepared."""
        packet = Packet(
            stream=self.name,
            counts=self._ready,
            sequence=self._sequence,
            index=self.first,
            device_ns=1000 * device_us(self.time_ns(self.first)),
            clipped=bool(self._clipped[: self._ready.shape[1]].any()),
        )
        self._sequence += 1
        self._forget(self._ready.shape[1])
        self._prepare()
        return packet

    def time_ns(self, index: int) -> int:
        return self._on_ns + round(index * _SECOND_NS / self._rate_hz)

    def _prepare(self) -> None:
        longest = _DELTA_SAMPLES if self._delta else self._plain
        self._fill(longest)
        counts = self._square(longest) if self.testing else self._counts[:, :longest]
        self._ready = counts[:, : _fitting(counts)] if self._delta else counts
        self.due_ns = self.time_ns(self.first + self._ready.shape[1] - 1)

    def _square(self, length: int) -> NDArray[Any]:
        half_periods = (self.first + np.arange(length)) * 2 // max(round(self._rate_hz), 1)
        wave = np.where(half_periods % 2, -_TEST_COUNTS, _TEST_COUNTS).astype(np.int16)
        return np.tile(wave, (len(self._counts), 1))

    def _taken(self, until_ns: int) -> int:
        """How many samples up to `until_ns`, that one included."""
        count = max(int((until_ns - self._on_ns) * self._rate_hz / _SECOND_NS) - 1, 0)
        while self.time_ns(count) <= until_ns:
            count += 1
        return count

    def _forget(self, length: int) -> None:
        self.first += length
        while (held := self._counts.shape[1]) < length:
            self._counts, self._clipped = self._counts[:, held:], self._clipped[held:]
            length -= held
            self._fill(1)
        self._counts, self._clipped = self._counts[:, length:], self._clipped[length:]

    def _fill(self, length: int) -> None:
        while self._counts.shape[1] < length:
            ideal = np.rint(self._draw(self._piece) / self._scale)
            low, high = self._limits
            clipped = (ideal < low) | (ideal > high)
            counts = np.clip(ideal, low, high).astype(self._counts.dtype)
            self._counts = np.concatenate((self._counts, counts), axis=1)
            self._clipped = np.concatenate((self._clipped, clipped.any(axis=0)))


class Path:
    """From the board's radio to the host's: late, in order, and with holes."""

    def __init__(self, flaws: Flaws, seed: int) -> None:
        children = np.random.SeedSequence(seed).spawn(3)
        self._delays, self._losses, self._overtakings = (np.random.default_rng(child) for child in children)
        self._jitter_ns = flaws.jitter_s * _SECOND_NS
        self._stay = 1 - 1 / flaws.loss_burst
        self._enter = flaws.loss / ((1 - flaws.loss) * flaws.loss_burst)
        self._overtaken = flaws.overtaken
        self._waiting: Notification | None = None
        self._bad = False
        self._last_ns = 0
        self._last_sent_ns = -1
        self._under_way: deque[Notification] = deque()

    def loses(self) -> bool:
        """Whether the next packet is lost."""
        self._bad = self._losses.random() < (self._stay if self._bad else self._enter)
        return self._bad

    def send(self, characteristic: str, payload: bytes, at_ns: int) -> None:
        """The payload waits for the next connection event, the same as others of that moment, and for those before
        it."""
        arrival_ns = at_ns + round(self._delays.random() * self._jitter_ns)
        if at_ns != self._last_sent_ns:
            self._last_ns = max(self._last_ns, arrival_ns)
        self._last_sent_ns = at_ns
        sent = Notification(characteristic, payload, self._last_ns)
        waiting, self._waiting = self._waiting, None
        if waiting is None and self._overtakings.random() < self._overtaken:
            self._waiting = sent
        elif waiting is not None and self._last_ns - waiting.arrival_ns < _OVERTAKING_NS:
            self._under_way += sent, replace(waiting, arrival_ns=self._last_ns)
        else:
            self._under_way += [sent] if waiting is None else [waiting, sent]

    def break_off(self) -> None:
        """What is under way never arrives."""
        self._under_way.clear()
        self._waiting = None

    def arrived(self, until_ns: int) -> list[Notification]:
        """What arrived since the last call."""
        arrived = []
        while self._under_way and self._under_way[0].arrival_ns <= until_ns:
            arrived.append(self._under_way.popleft())
        return arrived


def _fitting(counts: NDArray[np.int16]) -> int:
    """How many samples fit a payload as differences: all of a block are as wide as its widest."""
    width, length = counts.shape
    deltas = np.diff(counts, axis=1).astype(np.int32)  # wraps like the codec's
    widest = np.maximum.accumulate(np.maximum(deltas, ~deltas).max(axis=0, initial=0))
    bits = np.frexp(widest)[1] + 1  # frexp: the length of an integer in bits
    sizes = _HEADER + 2 * width + _BLOCK_HEADER + (bits * np.arange(1, length) * width + 7) // 8
    return 1 + int(np.searchsorted(sizes, _PAYLOAD, side="right"))


def _channels(settings: WearableSettings, body: Body, on_ns: int) -> tuple[Channel, ...]:
    width, rate_hz = len(body.settings.channels), settings.true_rate_hz
    emg = Channel("emg", width, rate_hz, settings.scale_uv, body.emg_uv, on_ns)
    acc = Channel("acc", 3, settings.true_acc_rate_hz, settings.acc_scale_g, body.acc_g, on_ns)
    return emg, acc


def _require_rates(settings: WearableSettings, body: BodySettings) -> None:
    given, needed = (body.rate_hz, body.acc_rate_hz), (settings.true_rate_hz, settings.true_acc_rate_hz)
    if not np.allclose(given, needed, rtol=1e-9, atol=0):
        raise ValueError(f"a body sampled at {given} Hz on a wearable that samples at {needed} Hz")


def _device(settings: WearableSettings, body: BodySettings) -> Device:
    axes = ("x", "y", "z")
    emg = Stream("emg", Sensor.EMG, Unit.MICROVOLT, settings.scale_uv, settings.rate_hz, body.channels)
    acc = Stream("acc", Sensor.ACC, Unit.G, settings.acc_scale_g, settings.acc_rate_hz, axes)
    return Device(settings.name, settings.serial, "emulated", (emg, acc))
