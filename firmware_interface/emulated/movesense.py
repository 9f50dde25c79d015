"""An emulated Movesense: HELLO, GET, subscriptions with their status, packets in one part or two.

Its quirks: 404 for a path that is not there, 409 for a reference in use; no answer to /Info, and 429 to everything
once such requests have eaten its slots; a time in whole milliseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from firmware_interface.codecs import uuid
from firmware_interface.codecs.movesense import (
    COMMAND,
    NOTIFICATION,
    SERVICE,
    Measurement,
    Movesense,
    Request,
    Response,
    write_answer,
    write_data,
)
from firmware_interface.emulated.device import EmulatedDevice, Imperfection, Service, require_rate
from firmware_interface.emulated.wearable import Body, Channel
from firmware_interface.samples import Packet

_G = 9.80665
_ACC_SCALE_G = 1 / 8192
"""Of its converter, before it becomes m/s²."""
_SAMPLES = {"acc": 8, "ecg": 16}
"""In a packet; 8 of acceleration alone are inferred."""
_IMU_SAMPLES = 4
_SLOTS = 2
_DONE, _NOT_FOUND, _CONFLICT, _BUSY = 200, 404, 409, 429


def _list(*rates: int) -> bytes:
    return bytes((len(rates),)) + struct.pack(f"<{len(rates)}H", *rates)


_RESOURCES = {
    "/System/Energy/Level": bytes((64,)),
    "/Meas/Acc/Info": _list(13, 26, 52, 104, 208, 416, 833, 1666) + bytes((4, 2, 4, 8, 16)),
    "/Meas/ECG/Info": _list(125, 128, 200, 250, 256, 500, 512) + struct.pack("<H", 16),
}


class EmulatedMovesense(EmulatedDevice):
    """One sensor.

    Args:
        body: what it is worn on. Its first channel of muscle is the ECG.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
        paths: what it can be subscribed to; the body is sampled accordingly.
        payload_max: bytes of a notification; what is longer leaves in two.
    """

    SERVICES: ClassVar[Sequence[Service]] = (
        Service(uuid(0x180D), {uuid(0x2A37): "notify"}, advertised=True),
        Service(SERVICE, {COMMAND: "write", NOTIFICATION: "notify"}),
    )

    def __init__(
        self,
        body: Body,
        flaws: Imperfection,
        seed: int,
        start_ns: int = 0,
        *,
        paths: Sequence[str] = ("/Meas/Acc/208", "/Meas/ECG/200/mV"),
        payload_max: int = 244,
    ) -> None:
        measurements = [Measurement.at(path) for path in paths]
        channels = []
        for each in measurements:
            first = each.streams[0]
            true_hz = flaws.true_hz(first.rate_hz)
            samples = _IMU_SAMPLES if len(each.streams) > 1 else _SAMPLES[first.name]
            require_rate(body.settings.acc_rate_hz if first.name == "acc" else body.settings.rate_hz, true_hz)
            if first.name == "acc":
                channels.append(Channel("acc", 3, true_hz, _ACC_SCALE_G, body.acc_g, start_ns, longest=samples))
            else:
                channels.append(_ecg(body, true_hz, first.scale, start_ns, samples))
        self._measurements = {each.streams[0].name: each for each in measurements}
        self._references: dict[int, str] = {}
        self._payload_max = payload_max
        self._slots = _SLOTS
        name = "Movesense 000000005A5A"
        super().__init__(name, Movesense(name, "000000005A5A", "", paths), channels, flaws, seed, start_ns)

    def read(self, characteristic: str) -> bytes:  # noqa: ARG002 - nothing can be read
        """Nothing."""
        return b""

    def write(self, characteristic: str, data: bytes) -> None:  # noqa: ARG002 - there is but one
        """A command."""
        if len(data) < 2:
            return
        code, reference, argument = data[0], data[1], data[2:].rstrip(b"\0").decode("utf-8", "replace")
        if argument == "/Info":
            self._slots -= 1
        elif not self._slots:
            self._reply(NOTIFICATION, write_answer(reference, _BUSY))
        elif code == Request.HELLO:
            words = "000000005A5A", "Movesense", "0C:8C:DC:5A:5A:5A", "gatt_sensordata_app", "1.0.0"
            self._reply(NOTIFICATION, bytes((Response.ANSWER, reference, 1)) + "\0".join(words).encode() + b"\0")
        else:
            self._reply(NOTIFICATION, write_answer(reference, *self._answer(code, reference, argument)))

    def stop(self) -> None:
        """The end of a link ends the subscriptions; it does not give back slots."""
        super().stop()
        self._references.clear()

    def _answer(self, code: int, reference: int, path: str) -> tuple[int, bytes]:
        match code:
            case Request.GET if path in _RESOURCES:
                return _DONE, _RESOURCES[path]
            case Request.SUBSCRIBE if reference in self._references:
                return _CONFLICT, b""
            case Request.SUBSCRIBE:
                return self._subscribe(reference, path), b""
            case Request.UNSUBSCRIBE if reference in self._references:
                self._active.discard(self._references.pop(reference))
                return _DONE, b""
        return _NOT_FOUND, b""

    def _subscribe(self, reference: int, path: str) -> int:
        for name, measurement in self._measurements.items():
            if measurement.path == path:
                self._references[reference] = name
                self._begin(name)
                return _DONE
        return _NOT_FOUND

    def _wire(self, packet: Packet) -> Iterator[tuple[str, bytes]]:
        measurement = self._measurements[packet.stream]
        reference = next(r for r, name in self._references.items() if name == packet.stream)
        counts = packet.counts * (_ACC_SCALE_G * _G) if packet.stream == "acc" else packet.counts
        data = write_data(reference, measurement, packet.device_ns or 0, (counts,))
        yield NOTIFICATION, data[: self._payload_max]
        if rest := data[self._payload_max :]:
            yield NOTIFICATION, bytes((Response.DATA_PART2, reference)) + rest


def _ecg(body: Body, true_hz: float, scale: float, on_ns: int, samples: int) -> Channel:
    def draw(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return body.emg_uv(count)[:1]

    return Channel("ecg", 1, true_hz, scale, draw, on_ns, longest=samples, bits=16 if scale == 1 else 32)
