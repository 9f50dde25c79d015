"""An emulated Polar sensor: settings, START and its error codes, SDK mode, frames of either kind.

Its quirks: an H10 that is not bonded refuses with ATT error 05; settings differ in SDK mode, which cannot be
switched while something is sent; a second START of what is sent is refused; its clock starts in 2019. Its frames
are as long as they may be, so compressed ones differ in length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from firmware_interface.codecs import BATTERY, FIRMWARE, SERIAL, Device, uuid
from firmware_interface.codecs.polar import (
    CONTROL,
    DATA,
    RANGE_MIN_G,
    SERVICE,
    Measurement,
    Opcode,
    Polar,
    Result,
    Setting,
    Settings,
    read_settings,
    write_features,
    write_reply,
    write_settings,
)
from firmware_interface.emulated.device import AttError, EmulatedDevice, Imperfection, Service, require_rate
from firmware_interface.emulated.wearable import Body, Channel
from firmware_interface.errors import PacketError
from firmware_interface.samples import Packet

_INSUFFICIENT_AUTHENTICATION = 0x05
_CLOCK_2019_NS = 599_616_000 * 1_000_000_000
"""2019-01-01, since 2000: where the clock of a sensor starts that was never set."""
_ACC_SAMPLES, _ECG_SAMPLES = 36, 73
"""In a frame of 16 and of 24 bits."""


@dataclass(frozen=True, slots=True)
class Model:
    """What distinguishes one sensor from another."""

    name: str
    features: tuple[Measurement, ...]
    acc: Settings
    """What acceleration can be asked for."""
    acc_sdk: Settings
    """The same in SDK mode."""
    rate_hz: int
    """Of acceleration, as a host of ours asks for it."""
    compressed: bool
    scaled: bool
    """Whether 16 bits span the range, and START tells the factor to g; else they are mg."""

    @property
    def rates(self) -> tuple[tuple[Measurement, int], ...]:
        """What it measures, and how fast."""
        acc = (Measurement.ACC, self.rate_hz)
        return (acc, (Measurement.ECG, _ECG_RATE_HZ)) if Measurement.ECG in self.features else (acc,)

    @property
    def factor(self) -> float:
        """g a count, in the range that a host of ours asks for; as 32 bits hold it."""
        return float(np.float32(RANGE_MIN_G / (1 << 15))) if self.scaled else 1.0


def _settings(rates: tuple[int, ...], ranges: tuple[int, ...]) -> Settings:
    return {Setting.RATE: rates, Setting.RESOLUTION: (16,), Setting.RANGE: ranges, Setting.CHANNELS: (3,)}


_H10_ACC: Settings = {Setting.RATE: (25, 50, 100, 200), Setting.RESOLUTION: (16,), Setting.RANGE: (2, 4, 8)}
_SENSE_ACC = _settings((52,), (8,))
_SENSE_ACC_SDK = _settings((26, 52, 104, 208, 416), (2, 4, 8, 16))
_OH1_ACC = _settings((50,), (8,))
_ECG_RATE_HZ = 130
_ECG: Settings = {Setting.RATE: (_ECG_RATE_HZ,), Setting.RESOLUTION: (14,)}

H10 = Model("Polar H10 5A5A5A5A", (Measurement.ECG, Measurement.ACC), _H10_ACC, _H10_ACC, 200, False, False)
VERITY_SENSE = Model(
    "Polar Sense 5A5A5A5B", (Measurement.ACC, Measurement.SDK_MODE), _SENSE_ACC, _SENSE_ACC_SDK, 208, True, True
)
OH1 = Model("Polar OH1 5A5A5A5C", (Measurement.ACC,), _OH1_ACC, _OH1_ACC, 50, True, False)


class EmulatedPolar(EmulatedDevice):
    """One sensor.

    Args:
        model: which.
        body: what it is worn on. Its first channel of muscle is the ECG.
        flaws: how it falls short.
        seed: of delays and losses.
        start_ns: host time at which it is switched on.
        bonded: whether the host is one that it talks to.
    """

    SERVICES: ClassVar[Sequence[Service]] = (
        Service(uuid(0x180D), {uuid(0x2A37): "notify"}, advertised=True),
        Service(uuid(0x180A), {SERIAL: "read", FIRMWARE: "read"}),
        Service(uuid(0x180F), {BATTERY: "read notify"}),
        Service(SERVICE, {CONTROL: "read write indicate", DATA: "notify"}),
    )

    def __init__(
        self, model: Model, body: Body, flaws: Imperfection, seed: int, start_ns: int = 0, *, bonded: bool = True
    ) -> None:
        self._model = model
        self._bonded = bonded
        self._sdk_mode = False
        self._polar = Polar(
            Device(model.name, "", "", ()), {each: {Setting.RATE: (r,)} for each, r in model.rates}
        )
        self._polar.factors[Measurement.ACC] = model.factor
        super().__init__(model.name, self._polar, _channels(model, body, flaws, start_ns), flaws, seed, start_ns)

    def read(self, characteristic: str) -> bytes:
        """Features, and what any device tells."""
        values = {
            CONTROL: write_features(self._model.features),
            BATTERY: b"\x57",
            SERIAL: self._model.name[-8:].encode(),
            FIRMWARE: b"emulated",
        }
        return values[characteristic]

    def write(self, characteristic: str, data: bytes) -> None:  # noqa: ARG002 - there is but one
        """A request to Control."""
        if not self._bonded:
            raise AttError(_INSUFFICIENT_AUTHENTICATION)
        opcode, measurement = (*data, 0xFF, 0xFF)[:2]
        result, parameters = self._answer(opcode, measurement, data[2:])
        self._reply(CONTROL, write_reply(opcode, measurement, result, parameters))

    def stop(self) -> None:
        """The end of a link ends SDK mode, too."""
        super().stop()
        self._sdk_mode = False

    def _answer(self, opcode: int, measurement: int, asked: bytes) -> tuple[Result, bytes]:
        if measurement not in self._model.features:
            return Result.UNSUPPORTED, b""
        kind = Measurement(measurement)
        match opcode:
            case Opcode.GET_SETTINGS if kind is not Measurement.SDK_MODE:
                return Result.DONE, write_settings(self._offered(kind))
            case Opcode.START if kind is Measurement.SDK_MODE:
                return self._switch_sdk_mode(True), b""
            case Opcode.STOP if kind is Measurement.SDK_MODE:
                return self._switch_sdk_mode(False), b""
            case Opcode.START:
                return self._start(kind, asked)
            case Opcode.STOP:
                return self._end(kind), b""
        return Result.BAD_OPCODE, b""

    def _offered(self, kind: Measurement) -> Settings:
        if kind is Measurement.ECG:
            return _ECG
        return self._model.acc_sdk if self._sdk_mode else self._model.acc

    def _switch_sdk_mode(self, on: bool) -> Result:
        if self._active or on == self._sdk_mode:
            return Result.BAD_STATE if self._active else Result.ALREADY
        self._sdk_mode = on
        return Result.DONE

    def _start(self, kind: Measurement, asked: bytes) -> tuple[Result, bytes]:
        stream = kind.name.lower()
        if stream in self._active:
            return Result.ALREADY, b""
        try:
            settings = read_settings(asked)
        except PacketError:
            return Result.BAD_PARAMETER, b""
        for setting, values in self._offered(kind).items():
            if len(settings.get(setting, ())) != 1 or settings[setting][0] not in values:
                return _REFUSALS[setting], b""
        if settings[Setting.RATE] != (dict(self._model.rates)[kind],):  # offered, but no body is sampled so
            return Result.BAD_RATE, b""
        self._begin(stream, delta=self._model.compressed)
        factor = {Setting.FACTOR: (int.from_bytes(struct.pack("<f", self._model.factor), "little"),)}
        return Result.DONE, write_settings(factor) if self._model.scaled else b""

    def _end(self, kind: Measurement) -> Result:
        stream = kind.name.lower()
        if stream not in self._active:
            return Result.ALREADY
        self._active.discard(stream)
        return Result.DONE

    def _wire(self, packet: Packet) -> Iterable[tuple[str, bytes]]:
        last_ns = self.time_ns(packet.stream, (packet.index or 0) + packet.counts.shape[1] - 1)
        counts = packet.counts * (self._model.factor / 0.001) if self._model.scaled else packet.counts
        frame = replace(packet, counts=counts, device_ns=_CLOCK_2019_NS + self.device_ns(last_ns))
        return (self._polar.encode(frame, compressed=self._model.compressed),)


_REFUSALS = {
    Setting.RATE: Result.BAD_RATE,
    Setting.RESOLUTION: Result.BAD_RESOLUTION,
    Setting.RANGE: Result.BAD_RANGE,
    Setting.CHANNELS: Result.BAD_CHANNELS,
}


def _channels(model: Model, body: Body, flaws: Imperfection, on_ns: int) -> Iterable[Channel]:
    true_hz = {kind: flaws.true_hz(rate_hz) for kind, rate_hz in model.rates}
    scale = model.factor if model.scaled else 0.001
    require_rate(body.settings.acc_rate_hz, true_hz[Measurement.ACC])
    yield Channel("acc", 3, true_hz[Measurement.ACC], scale, body.acc_g, on_ns, longest=_ACC_SAMPLES)
    if Measurement.ECG in true_hz:
        require_rate(body.settings.rate_hz, true_hz[Measurement.ECG])

        def ecg_uv(samples: int) -> NDArray[np.float64]:
            return body.emg_uv(samples)[:1]

        yield Channel("ecg", 1, true_hz[Measurement.ECG], 1.0, ecg_uv, on_ns, longest=_ECG_SAMPLES, bits=24)
