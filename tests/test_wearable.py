"""The emulated wearable tells the truth about what it sampled, sent and lost."""

from dataclasses import dataclass

import numpy as np
import pytest

from firmware_interface.codecs.open_profile import CONTROL, DATA, STATUS, Opcode, OpenProfile
from firmware_interface.emulated.arm import Arm, ArmSettings
from firmware_interface.emulated.wearable import Wearable, WearableSettings
from firmware_interface.errors import PacketError
from firmware_interface.samples import Notification, Packet, Started, Status

SECOND = 1_000_000_000
START = OpenProfile.START[0].data
STOP = OpenProfile.STOP[0].data
EMG_SCALE, ACC_SCALE = WearableSettings().scale_uv, WearableSettings().acc_scale_g


def pattern(first, length, width):
    """The counts that a `CountingBody` gives from the sample `first` on: no two neighbours alike."""
    index = np.arange(first, first + length)
    return np.array([(index * 37 + channel * 101) % 8001 - 4000 for channel in range(width)], np.int16)


@dataclass(frozen=True)
class CountingSettings:
    rate_hz: float = 1000.0
    channels: tuple[str, ...] = ("FDI", "calf")
    acc_rate_hz: float = 100.0


class CountingBody:
    """Every value tells which sample it is."""

    def __init__(self, settings=CountingSettings()):
        self.settings = settings
        self._emg = self._acc = 0

    def emg_uv(self, samples):
        self._emg += samples
        return pattern(self._emg - samples, samples, len(self.settings.channels)) * EMG_SCALE

    def acc_g(self, samples):
        self._acc += samples
        return pattern(self._acc - samples, samples, 3) * ACC_SCALE


def started(settings=None, body=None, start_ns=0):
    wearable = Wearable(settings or WearableSettings(), body or CountingBody(), 1, start_ns)
    wearable.advance(start_ns)
    wearable.handle(START)
    return wearable


def packets(wearable, notifications, stream="emg"):
    decoded = [item for each in notifications for item in wearable.codec.decode(each)]
    return [item for item in decoded if isinstance(item, Packet) and item.stream == stream]


def statuses(wearable, notifications):
    decoded = [item for each in notifications for item in wearable.codec.decode(each)]
    return [item for item in decoded if isinstance(item, Status)]


def assert_pattern(packet):
    width, length = packet.counts.shape
    np.testing.assert_array_equal(packet.counts, pattern(packet.index, length, width))


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize("stream", ["emg", "acc"])
def test_every_sample_arrives_once_in_order_and_right(delta, stream):
    wearable = started(WearableSettings(delta=delta))
    received = packets(wearable, wearable.advance(20 * SECOND), stream)
    position = received[0].index
    for sequence, packet in enumerate(received):
        assert (packet.sequence, packet.index) == (sequence, position)
        assert_pattern(packet)
        position += packet.counts.shape[1]
    rate = {"emg": 1000, "acc": 100}[stream]
    assert 19 * rate < position <= 20 * rate + 1


@pytest.mark.parametrize("delta", [False, True])
def test_packets_fill_the_mtu_and_never_exceed_it(delta):
    smooth = CountingBody()
    smooth.emg_uv = lambda samples: np.zeros((2, samples))
    for body in (CountingBody(), smooth):
        wearable = started(WearableSettings(delta=delta), body)
        sizes = [len(each.data) for each in wearable.advance(10 * SECOND) if each.characteristic == DATA]
        assert max(sizes) <= 244
    plain = [len(each.data) for each in started().advance(SECOND) if each.characteristic == DATA]
    assert set(plain) == {12 + 58 * 4, 12 + 38 * 6}


def test_differences_take_fewer_packets():
    body = CountingBody()
    body.emg_uv = lambda samples: np.random.default_rng(1).normal(0, 2, (2, samples))
    few = started(WearableSettings(delta=True), body)
    many = started(WearableSettings(), body)
    until = 10 * SECOND
    assert len(packets(few, few.advance(until))) < 0.6 * len(packets(many, many.advance(until)))


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize("step_ns", [1_000_003, 10_000_000, 333_333_333])
def test_what_is_sent_does_not_depend_on_how_time_passes(delta, step_ns):
    settings = WearableSettings(loss=0.05, delta=delta)
    whole = started(settings).advance(5 * SECOND)
    wearable = started(settings)
    pieces = [each for t in range(0, 5 * SECOND, step_ns) for each in wearable.advance(t)]
    assert pieces + wearable.advance(5 * SECOND) == whole


def test_arrivals_are_late_by_at_most_the_jitter_and_keep_their_order():
    wearable = started(WearableSettings(jitter_s=0.030), start_ns=7 * SECOND)
    notifications = wearable.advance(37 * SECOND)
    arrivals = [each.arrival_ns for each in notifications]
    assert arrivals == sorted(arrivals)
    delays = [
        each.arrival_ns - wearable.time_ns(packet.stream, packet.index + packet.counts.shape[1] - 1)
        for each in notifications
        for packet in wearable.codec.decode(each)
        if isinstance(packet, Packet)
    ]
    assert 0 <= min(delays) < 3e6
    assert 27e6 < max(delays) <= 30e6


def test_without_jitter_a_packet_arrives_with_its_last_sample():
    wearable = started(WearableSettings(jitter_s=0))
    first = packets(wearable, wearable.advance(SECOND))[0]
    due = wearable.time_ns("emg", first.index + 57)
    again = started(WearableSettings(jitter_s=0))
    assert not packets(again, again.advance(due - 1))
    assert packets(again, again.advance(due))


def test_loss_has_its_mean_share_comes_in_bursts_and_is_counted():
    wearable = started(WearableSettings(loss=0.2, loss_burst=4, jitter_s=0))
    notifications = wearable.advance(300 * SECOND)
    received = missing = lost = packets_received = 0
    for stream in ("emg", "acc"):
        got = packets(wearable, notifications, stream)
        position = 1
        for packet in got:
            missing += packet.index - position
            received += packet.counts.shape[1]
            position = packet.index + packet.counts.shape[1]
        received += wearable.sent[stream] - (position - 1)  # lost after the last that came
        packets_received += len(got)
        lost += got[-1].sequence + 1 - len(got)
    assert received + missing == sum(wearable.sent.values())
    assert lost / (packets_received + lost) == pytest.approx(0.2, rel=0.25)  # standard error 6 %
    assert statuses(wearable, notifications)[-1].drops == pytest.approx(lost, abs=30)


def test_losses_come_in_bursts_of_the_mean_length():
    wearable = started(WearableSettings(loss=0.2, loss_burst=4))
    got = packets(wearable, wearable.advance(300 * SECOND))
    steps = np.diff([packet.sequence for packet in got])
    assert np.mean(steps[steps > 1] - 1) == pytest.approx(4, rel=0.25)


def test_clipped_samples_are_limited_and_flagged():
    body = CountingBody()
    body.emg_uv = lambda samples: np.where(np.arange(samples) == 30, 1e6, -1.0) * np.ones((2, 1))
    wearable = started(body=body)
    received = packets(wearable, wearable.advance(SECOND))
    assert [packet.clipped for packet in received] == [bool((p.counts == 32767).any()) for p in received]
    assert any(packet.clipped for packet in received)
    assert not all(packet.clipped for packet in received)


def test_true_rate_and_device_clock_are_off_as_asked():
    settings = WearableSettings(true_rate_ratio=1.01, clock_skew_ppm=100)
    wearable = started(settings, CountingBody(CountingSettings(1010.0, ("FDI",), 101.0)))
    assert wearable.device.streams[0].rate_hz == 1000
    assert wearable.time_ns("emg", 1010) == SECOND
    last = packets(wearable, wearable.advance(100 * SECOND))[-1]
    true_ns = wearable.time_ns("emg", last.index)
    assert last.device_ns - true_ns == pytest.approx(100e-6 * true_ns, abs=2000)


def test_a_body_at_another_rate_is_refused():
    with pytest.raises(ValueError, match="1000"):
        Wearable(WearableSettings(rate_hz=500), CountingBody(), 1)


def test_status_comes_each_second_and_the_battery_drains():
    wearable = started(WearableSettings(battery_percent=50, battery_drain_per_h=1200))
    notifications = wearable.advance(120 * SECOND)
    heard = statuses(wearable, notifications)
    assert len(heard) == 120
    assert (heard[0].battery_percent, heard[-1].battery_percent) == (50, 10)
    assert heard[0].lead_off == (False, False)


def test_nothing_is_sent_before_start_and_after_stop():
    wearable = Wearable(WearableSettings(jitter_s=0), CountingBody(), 1)
    assert wearable.advance(10 * SECOND) == []
    wearable.handle(START)
    assert wearable.advance(11 * SECOND)
    wearable.handle(STOP)
    assert wearable.advance(20 * SECOND) == []


def test_start_names_the_first_index_of_each_stream():
    wearable = Wearable(WearableSettings(), CountingBody(), 1)
    wearable.advance(10 * SECOND)
    reply = wearable.handle(START)
    assert reply[:3] == bytes((Opcode.START | 0x80, START[1], 0))
    from_reply = {0: int.from_bytes(reply[4:8], "little"), 1: int.from_bytes(reply[9:13], "little")}
    assert from_reply == {0: 10_001, 1: 1_001}
    assert wearable.time_ns("emg", 10_001) > 10 * SECOND >= wearable.time_ns("emg", 10_000)
    first = packets(wearable, wearable.advance(11 * SECOND))[0]
    assert first.index == 10_001
    assert_pattern(first)


def test_the_host_reads_the_reply_to_start():
    wearable = Wearable(WearableSettings(), CountingBody(), 1)
    wearable.advance(10 * SECOND)
    reply = Notification(CONTROL, wearable.handle(START), 0)
    assert wearable.codec.decode(reply) == (Started("emg", 10_001), Started("acc", 1_001))


@pytest.mark.parametrize(
    ("request_", "result"),
    [
        (bytes((Opcode.START, 9, 0b01)), 0),
        (bytes((Opcode.START, 9)), 2),
        (bytes((Opcode.START, 9, 0)), 2),
        (bytes((Opcode.START, 9, 0b100)), 2),
        (bytes((Opcode.STOP, 9)), 0),
        (bytes((Opcode.TEST_SIGNAL, 9, 1)), 0),
        (bytes((Opcode.TEST_SIGNAL, 9, 2)), 2),
        (bytes((Opcode.TEST_SIGNAL, 9)), 2),
        (bytes((0x44, 9)), 1),
    ],
)
def test_control_answers_with_its_error_codes(request_, result):
    wearable = Wearable(WearableSettings(), CountingBody(), 1)
    assert wearable.handle(request_)[:3] == bytes((request_[0] | 0x80, 9, result))


def test_a_request_too_short_to_answer_is_malformed():
    with pytest.raises(PacketError):
        Wearable(WearableSettings(), CountingBody(), 1).handle(b"\1")


def test_one_stream_can_be_asked_for_alone():
    wearable = Wearable(WearableSettings(), CountingBody(), 1)
    wearable.handle(bytes((Opcode.START, 1, 0b10)))
    notifications = wearable.advance(5 * SECOND)
    assert packets(wearable, notifications, "acc")
    assert not packets(wearable, notifications, "emg")


def test_the_index_runs_on_while_nothing_is_sent():
    wearable = started(WearableSettings(jitter_s=0))
    before = packets(wearable, wearable.advance(2 * SECOND))[-1]
    wearable.stop()
    wearable.advance(10 * SECOND)
    wearable.handle(START)
    after = packets(wearable, wearable.advance(11 * SECOND))[0]
    assert after.index == 10_001
    assert after.sequence == before.sequence + 1
    assert_pattern(after)


def test_a_long_time_may_pass_unsent():
    wearable = Wearable(WearableSettings(), CountingBody(), 1)
    wearable.advance(900 * SECOND)
    wearable.handle(START)
    first = packets(wearable, wearable.advance(901 * SECOND))[0]
    assert first.index == 900_001
    assert_pattern(first)


def test_a_power_cycle_counts_from_zero():
    wearable = started()
    wearable.advance(5 * SECOND + 300)
    wearable.power_cycle()
    assert wearable.advance(6 * SECOND) == []
    assert wearable.time_ns("emg", 0) == 5 * SECOND + 300
    wearable.handle(START)
    first = packets(wearable, wearable.advance(7 * SECOND))[0]
    assert (first.sequence, first.index) == (0, 1000)
    np.testing.assert_array_equal(first.counts, pattern(5001 + first.index, 58, 2))


def test_the_test_signal_is_a_square_wave_of_one_hertz():
    wearable = Wearable(WearableSettings(jitter_s=0), CountingBody(), 1)
    wearable.handle(bytes((Opcode.TEST_SIGNAL, 1, 1)))
    wearable.handle(START)
    wave = np.concatenate([p.counts[0] for p in packets(wearable, wearable.advance(4 * SECOND))])
    assert set(np.unique(wave)) == {-1000, 1000}
    assert set(np.diff(np.flatnonzero(np.diff(wave)))) == {500}


def test_it_can_be_worn_on_an_arm():
    channels = ("FDI", "calf")
    wearable = started(body=Arm(ArmSettings(channels=channels), seed=1))
    received = packets(wearable, wearable.advance(2 * SECOND))
    assert wearable.device.streams[0].channels == channels
    assert 0.5 < np.std([packet.counts for packet in received]) * EMG_SCALE < 500


def test_status_is_left_out_of_nothing_but_data():
    """A lost packet is a Data packet; Status tells of it."""
    wearable = started(WearableSettings(loss=0.5, loss_burst=2))
    notifications = wearable.advance(20 * SECOND)
    assert sum(each.characteristic == STATUS for each in notifications) == 20
