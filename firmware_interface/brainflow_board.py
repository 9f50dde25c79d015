"""A board that BrainFlow drives. No other file uses it.

Rules:

* The address is `brainflow:` and the number or name of a board, as in `brainflow:synthetic` or
  `brainflow:cyton?serial_port=/dev/ttyUSB0`; what follows the question mark are BrainFlow's own input parameters.
* Its channels for EMG are taken, in microvolts as BrainFlow gives them; a board with others only has none.
* BrainFlow's times are arrivals. What its own link loses for less than half a second it counts in a way that
  differs from board to board, and is not seen here.
"""

from __future__ import annotations

import time
from urllib.parse import parse_qsl

from brainflow.board_shim import BoardIds, BoardShim, BrainFlowInputParams
from brainflow.exit_codes import BrainFlowError

from firmware_interface.codecs import Device
from firmware_interface.errors import RadioError
from firmware_interface.relay import Chunk, SourceError
from firmware_interface.samples import Sensor, Stream, Unit

_WAIT_S = 0.05


class BrainFlowBoard:
    """One board.

    Args:
        where: its address, without `brainflow:`.

    Raises:
        RadioError: there is no such board or parameter.
    """

    def __init__(self, where: str) -> None:
        board, _, query = where.partition("?")
        self._where = where
        self._id = _board_id(board)
        self._parameters = BrainFlowInputParams()
        for key, value in parse_qsl(query):
            known = vars(self._parameters)
            if key not in known:
                raise RadioError(f"BrainFlow has no parameter {key!r}", f"It has {', '.join(known)}")
            setattr(self._parameters, key, type(known[key])(value))
        self._board: BoardShim | None = None

    def open(self) -> Device:
        """Connect, and have it send."""
        BoardShim.disable_board_logger()
        try:
            described = BoardShim.get_board_descr(self._id)
            self._rows = described.get("emg_channels", [])
            self._time = described["timestamp_channel"]
            if not self._rows:
                raise SourceError(f"BrainFlow's board {self._where!r} has no channel for EMG")
            self._board = BoardShim(self._id, self._parameters)
            self._board.prepare_session()
            self._board.start_stream()
        except BrainFlowError as error:
            raise SourceError(f"BrainFlow's board {self._where!r} cannot be opened: {error}") from error
        labels = tuple(f"channel {n + 1}" for n in range(len(self._rows)))
        stream = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 1.0, float(described["sampling_rate"]), labels)
        return Device(f"BrainFlow {described['name']}", self._parameters.serial_number, "", (stream,))

    def read(self) -> Chunk | None:
        """What waits, or comes within a moment."""
        assert self._board is not None  # noqa: S101 - opened before
        time.sleep(_WAIT_S)
        try:
            data = self._board.get_board_data()
        except BrainFlowError as error:
            raise SourceError(f"BrainFlow's board {self._where!r} fails: {error}") from error
        if not data.shape[1]:
            return None
        times = data[self._time]
        return Chunk(data[self._rows], float(times[0]), float(times[-1]), time.time() - float(times[-1]))

    def close(self) -> None:
        """Have it stop."""
        board, self._board = self._board, None
        if board is not None and board.is_prepared():
            board.release_session()


def _board_id(board: str) -> int:
    known = {each.name.removesuffix("_BOARD").lower(): each.value for each in BoardIds}
    name = board.lower().removesuffix("_board")
    if name in known:
        return int(known[name])
    try:
        return int(BoardIds(int(board)).value)
    except ValueError as error:
        raise RadioError(f"BrainFlow has no board {board!r}", f"It has {', '.join(sorted(known))}") from error
