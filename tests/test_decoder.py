"""Notifications of an emulated wearable become samples with a time, and gaps with a reason."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from firmware_interface.codecs.metamotion import MetaMotion
from firmware_interface.codecs.open_profile import CONTROL, DATA, OpenProfile
from firmware_interface.decoder import Decoder
from firmware_interface.emulated.wearable import Wearable, WearableSettings
from firmware_interface.samples import Gap, GapReason, Notification, Packet, SampleBlock, Status

SECOND = 1_000_000_000
START = OpenProfile.START[0].data
PLAIN = WearableSettings()
UTC_NS = 1_800_000_000 * SECOND


def pattern(index, width):
    """What the wearable measures at each `index`: no two neighbours alike, on no two channels the same."""
    return np.array([(index * 37 + channel * 101) % 8001 - 4000 for channel in range(width)], np.int16)


@dataclass(frozen=True)
class CountingSettings:
    rate_hz: float = 1000.0
    channels: tuple[str, ...] = ("FDI", "calf")
    acc_rate_hz: float = 100.0


class CountingBody:
    """Every value tells which sample it is, counted since the body was made."""

    def __init__(self, ratio=1.0):
        self.settings = CountingSettings(1000.0 * ratio, acc_rate_hz=100.0 * ratio)
        self._emg = self._acc = 0

    def emg_uv(self, samples):
        self._emg += samples
        return pattern(np.arange(self._emg - samples, self._emg), 2) * PLAIN.scale_uv

    def acc_g(self, samples):
        self._acc += samples
        return pattern(np.arange(self._acc - samples, self._acc), 3) * PLAIN.acc_scale_g


class Link:
    """A wearable and the decoder that hears it; keeps all that came out."""

    def __init__(self, settings=PLAIN, seed=1, *, asked_at_s=0):
        self.wearable = Wearable(settings, CountingBody(settings.true_rate_ratio), seed)
        self.decoder = Decoder(self.wearable.codec, UTC_NS)
        self.items = []
        self.heard_ns = 0
        self.run(asked_at_s)
        self.start()

    @property
    def now_ns(self):
        return self.heard_ns

    def start(self):
        self.feed(Notification(CONTROL, self.wearable.handle(START), self.heard_ns))

    def feed(self, notification):
        out = self.decoder.feed(notification)
        self.items += out
        return out

    def run(self, until_s):
        """Hear everything up to `until_s`."""
        for notification in self.notifications(until_s):
            self.feed(notification)

    def notifications(self, until_s):
        self.heard_ns = round(until_s * SECOND)
        return self.wearable.advance(self.heard_ns)

    def of(self, stream, kind):
        return [item for item in self.items if isinstance(item, kind) and item.stream.name == stream]

    def blocks(self, stream="emg"):
        return self.of(stream, SampleBlock)

    def gaps(self, stream="emg"):
        return self.of(stream, Gap)

    def reasons(self, stream="emg"):
        return [gap.reason for gap in self.gaps(stream)]


def times_ns(blocks):
    """Index and time of every sample."""
    index = [np.arange(b.first, b.first + b.length) for b in blocks]
    lines = [b.timebase for b in blocks]
    ns = [t.ns + np.rint((i - t.index) * t.period_ns).astype(np.int64) for i, t in zip(index, lines, strict=True)]
    assert [int(piece[0]) for piece in ns] == [b.start_ns for b in blocks]
    return np.concatenate(index), np.concatenate(ns)


def assert_whole(link, stream="emg", first=1):
    """From `first` on every index is in one block or one gap, in order, and has its value and its time."""
    position, end_ns = first, None
    for item in link.of(stream, SampleBlock | Gap):
        if end_ns is not None:
            assert item.start_ns > end_ns - round(0.51e9 / item.stream.rate_hz)
        end_ns = item.end_ns
        if isinstance(item, Gap):
            assert item.exact
            assert item.end_ns >= item.start_ns
            position += item.missing
        else:
            assert item.first == position
            index = np.arange(position, position + item.length)
            np.testing.assert_array_equal(item.counts, pattern(index, len(item.stream.channels)))
            position += item.length
    _, ns = times_ns(link.blocks(stream))
    assert (np.diff(ns) > 0).all()
    return position


def heard_and_missing(link):
    received = sum(block.length for s in ("emg", "acc") for block in link.blocks(s))
    return received, sum(gap.missing for s in ("emg", "acc") for gap in link.gaps(s))


# ── the account ──


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05])
def test_received_and_missing_are_what_was_sent(loss, delta):
    """Every sample sent is received with its own value, or in a gap, up to the last packet that came."""
    link = Link(WearableSettings(loss=loss, delta=delta), asked_at_s=3)
    link.run(30)
    unheard = 0
    for stream, first in (("emg", 3001), ("acc", 301)):
        stop = assert_whole(link, stream, first)
        unheard += link.wearable.sent[stream] - (stop - first)
    assert unheard < 200 * (1 + 3 * (loss > 0))  # lost or under way after the last that came
    received, missing = heard_and_missing(link)
    assert received + missing == sum(link.wearable.sent.values()) - unheard
    assert (missing > 0) == (loss > 0)
    reception = link.decoder.reception
    assert (reception.received, reception.missing, reception.late) == (received, missing, 0)
    assert reception.loss == missing / (received + missing)
    assert set(link.reasons()) <= {GapReason.LOST}


@pytest.mark.parametrize("lost", [0, 1, 5, 20])
def test_packets_lost_before_the_first_that_came_are_missing(lost):
    """The reply to START says where the count begins."""
    link = Link()
    notifications = [n for n in link.notifications(3) if n.characteristic == DATA]
    of_emg = [n for n in notifications if n.data[0] & 0x0F == 0]
    for notification in of_emg[lost:]:
        link.feed(notification)
    assert_whole(link)
    assert [gap.missing for gap in link.gaps()] == [58 * lost] * (lost > 0)
    if lost:
        gap, block = link.items[:2]
        assert gap.end_ns == block.start_ns
        assert gap.end_ns - gap.start_ns == 58_000_000 * lost


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x10", b"\x10\0\0\0", bytes(12), b"\x1f" + bytes(40), b"\x20" + bytes(40), b"\x10\x08" + bytes(17)],
)
def test_a_malformed_payload_is_counted_and_changes_nothing(payload):
    """Whatever comes in between gives nothing, and the account stays exact."""
    link = Link(WearableSettings(loss=0.05))
    notifications = link.notifications(10)
    for notification in notifications:
        link.feed(notification)
        assert link.feed(Notification(DATA, payload, notification.arrival_ns)) == []
    assert link.decoder.reception.malformed == len(notifications)
    assert_whole(link)
    assert_whole(link, "acc")


def test_a_packet_that_came_broken_is_a_gap():
    """What a malformed payload carried is missing at the next good packet."""
    link = Link(WearableSettings(jitter_s=0))
    for number, notification in enumerate(link.notifications(5)):
        cut = notification.data[:-1] if number == 40 else notification.data
        link.feed(replace(notification, data=cut))
    assert link.decoder.reception.malformed == 1
    gaps = link.gaps() + link.gaps("acc")
    assert [(gap.missing, gap.reason) for gap in gaps] in ([(58, GapReason.LOST)], [(38, GapReason.LOST)])
    assert_whole(link)


def test_repeated_packets_are_dropped_and_counted():
    """Every notification twice: the same samples once."""
    link = Link(WearableSettings(loss=0.05))
    packets = 0
    for notification in link.notifications(10):
        link.feed(notification)
        packets += notification.characteristic == DATA
        if notification.characteristic == DATA:
            assert link.feed(notification) == []
    reception = link.decoder.reception
    assert (reception.late, reception.packets) == (packets, 2 * packets)
    assert_whole(link)
    assert_whole(link, "acc")


def test_a_packet_that_was_overtaken_is_missing_dropped_and_counted():
    """Order is kept: what comes after its successor was already said to be missing."""
    link = Link(WearableSettings(jitter_s=0))
    data = [n for n in link.notifications(5) if n.characteristic == DATA and n.data[0] & 0x0F == 0]
    data[20], data[21] = replace(data[21]), replace(data[20], arrival_ns=data[21].arrival_ns)
    for notification in data:
        link.feed(notification)
    assert [(gap.missing, gap.reason) for gap in link.gaps()] == [(58, GapReason.LOST)]
    assert link.decoder.reception.late == 1
    assert_whole(link)


def test_status_passes_through():
    """What the device says of itself comes out as it was said, once a second."""
    link = Link()
    link.run(10)
    assert sum(isinstance(item, Status) for item in link.items) == 10


# ── time ──


@pytest.mark.parametrize("skew_ppm", [-200.0, 200.0])
@pytest.mark.parametrize("ratio", [0.99, 1.01])
def test_times_are_true_to_two_milliseconds(ratio, skew_ppm):
    """Rates 1 % off, a clock 200 ppm off, 30 ms of jitter, loss: 2 ms after 15 s; and never backwards."""
    link = Link(WearableSettings(true_rate_ratio=ratio, clock_skew_ppm=skew_ppm, loss=0.01))
    link.run(40)
    for stream in ("emg", "acc"):
        assert_whole(link, stream)
        index, ns = times_ns(link.blocks(stream))
        true_ns = np.array([link.wearable.time_ns(stream, i) for i in index.tolist()])
        error_ms = (ns - UTC_NS - true_ns) * 1e-6
        assert np.abs(error_ms).max() < 35
        assert np.abs(error_ms[true_ns > 15 * SECOND]).max() < 2


@pytest.mark.parametrize("ratio", [0.99, 1.01])
def test_the_true_period_is_learned(ratio):
    """A block's timebase runs at the true rate, not the nominal one, within 100 ppm."""
    link = Link(WearableSettings(true_rate_ratio=ratio, clock_skew_ppm=100))
    link.run(60)
    assert link.blocks()[-1].timebase.period_ns == pytest.approx(1e6 / ratio, rel=1e-4)


def test_a_gap_lasts_as_long_as_what_is_missing():
    """A gap ends where the next block begins, begins where the last ended, and is as long as its samples."""
    link = Link(WearableSettings(loss=0.1))
    link.run(40)
    items = link.of("emg", SampleBlock | Gap)
    settled = [
        i for i in range(1, len(items) - 1) if isinstance(items[i], Gap) and items[i].start_ns > UTC_NS + 15e9
    ]
    assert len(settled) >= 5
    for i in settled:
        gap = items[i]
        assert (gap.start_ns, gap.end_ns) == (items[i - 1].end_ns, items[i + 1].start_ns)
        assert (gap.end_ns - gap.start_ns) * 1e-6 == pytest.approx(gap.missing, abs=2)


# ── counters that wrap ──


def test_sequence_index_and_clock_wrap_without_a_seam():
    """16 bits of packets, 32 of samples, 32 of microseconds: none of their wraps shows, with loss around them."""
    wearable = Wearable(PLAIN, CountingBody(), 1)
    for first in ((0xFFFF - 20, 7, 9), (5, 0xFFFFFFFF - 1200, 9), (5, 7, (0xFFFFFFFF - 1_200_000))):
        sequence, index, device_us = first
        decoder = Decoder(wearable.codec)
        blocks, missing = [], 0
        for packet in (p for p in range(60) if p % 7 or p % 2):
            at = index + 58 * packet
            counts = pattern(np.arange(at, at + 58), 2)
            sent = Packet("emg", counts, sequence + packet, at, (device_us + 58_000 * packet) * 1000)
            for item in decoder.feed(Notification(*wearable.codec.encode(sent), 58_000_000 * (packet + 1))):
                if isinstance(item, Gap):
                    missing += item.missing
                    assert (item.reason, item.exact) == (GapReason.LOST, True)
                else:
                    blocks.append(item)
        assert blocks[0].first == index + 58
        positions, ns = times_ns(blocks)
        assert len(positions) + missing == 59 * 58
        np.testing.assert_array_equal(np.concatenate([b.counts for b in blocks], axis=1), pattern(positions, 2))
        np.testing.assert_allclose(np.diff(ns), np.diff(positions) * 1e6, atol=1000)


@pytest.mark.parametrize("away_s", [10, 4000, 4600, 20_000, 1_000_000])
@pytest.mark.parametrize("ratio", [0.9999, 1.0, 1.0001])
def test_a_long_silence_is_counted_to_the_sample(away_s, ratio):
    """A wearable that went on sampling, unheard for longer than its clock takes to wrap."""
    wearable = Wearable(PLAIN, CountingBody(), 1)
    decoder = Decoder(wearable.codec)
    out = []
    packets = [*range(100), *range(100 + away_s * 17, 300 + away_s * 17)]
    for sequence, packet in enumerate(packets):
        if packet == packets[100]:
            decoder.interrupt(GapReason.DISCONNECTED)
        at = 58 * packet
        sent = Packet("emg", pattern(np.arange(at, at + 58), 2), sequence, at, at * 1_000_000)
        out += decoder.feed(Notification(*wearable.codec.encode(sent), round((at + 58) * 1e6 * ratio)))
    (gap,) = (item for item in out if isinstance(item, Gap))
    assert (gap.missing, gap.reason, gap.exact) == (away_s * 17 * 58, GapReason.DISCONNECTED, True)
    assert out[-1].first == 58 * packets[-1]
    assert out[-1].end_ns == pytest.approx((out[-1].first + 58) * 1e6 * ratio, abs=2e6)


# ── reasons ──


def test_samples_lost_inside_the_device_are_an_overrun():
    """The packets are all there while the index jumps: the device lost them; both jump: the radio did."""
    wearable = Wearable(PLAIN, CountingBody(), 1)
    decoder = Decoder(wearable.codec)
    reasons = []
    for number, (sequence, at) in enumerate([(0, 0), (1, 58), (2, 200), (3, 258), (5, 374), (6, 500), (7, 558)]):
        sent = Packet("emg", pattern(np.arange(at, at + 58), 2), sequence, at, at * 1_000_000, overrun=at == 200)
        items = decoder.feed(Notification(*wearable.codec.encode(sent), (at + 58) * 1_000_000 + number))
        reasons += [(item.reason, item.missing) for item in items if isinstance(item, Gap)]
    assert reasons == [(GapReason.OVERRUN, 84), (GapReason.LOST, 58), (GapReason.OVERRUN, 68)]


@pytest.mark.parametrize("reason", [GapReason.DISCONNECTED, GapReason.STALLED, GapReason.OVERFLOW])
def test_an_interruption_gives_its_reason_to_what_is_missing(reason):
    """Once, to the gap it made; the first reason given is the one that stands; later losses are lost."""
    link = Link(WearableSettings(jitter_s=0))
    link.run(5)
    link.decoder.interrupt(reason)
    link.decoder.interrupt(GapReason.STOPPED)
    link.notifications(8)
    link.run(10)
    link.notifications(11)
    link.run(12)
    assert link.reasons() == [reason, GapReason.LOST]
    assert link.reasons("acc") == [reason, GapReason.LOST]
    assert_whole(link)
    assert_whole(link, "acc")


def test_an_interruption_without_loss_leaves_no_trace():
    """A link that came back before anything was missed makes no gap, and excuses no later one."""
    link = Link(WearableSettings(jitter_s=0))
    link.run(5)
    link.decoder.interrupt(GapReason.STALLED)
    link.run(6)
    assert link.gaps() == []
    link.notifications(7)
    link.run(8)
    assert link.reasons() == [GapReason.LOST]


@pytest.mark.parametrize(
    ("on_s", "away_s"),
    [(0.7, 0), (0.7, 0.3), (2, 0), (2, 1.8), (4.9, 1.4), (4.9, 4.4), (30, 0.5), (30, 29.5), (30, 50)],
)
def test_a_power_cycle_is_a_restart(on_s, away_s):
    """The wearable counts from zero again: our count goes on, with a gap whose length is an estimate of time.

    A count that has caught up with ours, of a wearable that was on for less than 5 s, cannot be told from loss.
    """
    link = Link(WearableSettings(jitter_s=0))
    link.run(on_s)
    link.wearable.power_cycle()
    link.run(on_s + away_s)
    link.start()
    link.run(on_s + away_s + 6)
    for stream, rate_hz in (("emg", 1000), ("acc", 100)):
        blocks = link.blocks(stream)
        assert sum(block.length for block in blocks) == pytest.approx((on_s + 6) * rate_hz, abs=150)
        index, ns = times_ns(blocks)
        assert (np.diff(ns) > 0).all()
        assert (np.diff(index) > 0).all()
        assert index[-1] == pytest.approx((on_s + away_s + 6) * rate_hz, abs=120)
        assert ns[-1] - UTC_NS == pytest.approx((on_s + away_s + 6) * SECOND, abs=SECOND / 2)
    restarts = [gap for gap in link.gaps() if gap.reason is GapReason.RESTARTED]
    assert [gap.exact for gap in restarts] == [False] * len(restarts)
    assert sum(gap.missing for gap in restarts) == pytest.approx(away_s * 1000, abs=120)


def test_a_restart_behind_a_lost_link_keeps_the_reason_of_the_link():
    """A person who switched the wearable off and on sees "disconnected", which came first."""
    link = Link(WearableSettings(jitter_s=0))
    link.run(30)
    link.decoder.interrupt(GapReason.DISCONNECTED)
    link.wearable.power_cycle()
    link.run(40)
    link.start()
    link.run(50)
    assert link.reasons() == [GapReason.DISCONNECTED]
    assert not link.gaps()[0].exact
    assert link.gaps()[0].missing == pytest.approx(10_000, abs=120)


def test_after_a_restart_the_new_count_is_exact():
    """Loss is counted to the sample again, and values are those of the new count."""
    link = Link(WearableSettings(loss=0.05))
    link.run(30)
    link.wearable.power_cycle()
    link.start()
    before = len(link.items)
    link.run(60)
    tail = [i for i in link.items[before:] if isinstance(i, SampleBlock | Gap) and i.stream.name == "emg"]
    restart, *rest = tail
    assert (restart.reason, restart.exact) == (GapReason.RESTARTED, False)
    position = rest[0].first
    for item in rest:
        position += item.missing if isinstance(item, Gap) else item.length
        assert isinstance(item, SampleBlock) or item.exact
    assert position - rest[0].first == pytest.approx(30_000, abs=500)
    offset = {(b.counts[0, 0].item() + 4000 - b.first * 37) % 8001 for b in rest if isinstance(b, SampleBlock)}
    assert len(offset) == 1


@pytest.mark.parametrize("reason", [GapReason.CLOCK])
@pytest.mark.parametrize("step_s", [3600, 0.6, -3600])
def test_a_new_anchor_is_a_gap_and_a_new_time(reason, step_s):
    """UTC was found to differ: samples go on without a loss, at the new time, behind a gap that says why."""
    link = Link(WearableSettings(jitter_s=0))
    link.run(20)
    link.decoder.anchor(UTC_NS + round(step_s * SECOND), reason)
    link.run(30)
    assert [(gap.reason, gap.missing) for gap in link.gaps()] == [(reason, 0)]
    gap = link.gaps()[0]
    assert gap.end_ns >= gap.start_ns
    assert gap.end_ns - gap.start_ns == pytest.approx(max(step_s, 0) * SECOND, abs=5e6)
    index, ns = times_ns(link.blocks())
    true_ns = np.array([link.wearable.time_ns("emg", i) for i in index.tolist()])
    shift_s = (ns - UTC_NS - true_ns) * 1e-9
    after = index >= link.of("emg", SampleBlock | Gap)[link.of("emg", SampleBlock | Gap).index(gap) + 1].first
    np.testing.assert_allclose(shift_s[~after], 0, atol=0.005)
    np.testing.assert_allclose(shift_s[after], step_s, atol=0.005)


def test_an_anchor_while_the_computer_slept_counts_what_was_missed():
    """The wearable went on: the samples of the sleep are missing for that reason, in both streams."""
    link = Link(WearableSettings(jitter_s=0))
    link.run(20)
    link.decoder.anchor(UTC_NS, GapReason.SUSPENDED)
    link.notifications(30)
    link.run(35)
    assert link.reasons() == link.reasons("acc") == [GapReason.SUSPENDED]
    assert link.gaps()[0].missing == pytest.approx(10_000, abs=120)
    assert_whole(link)
    assert_whole(link, "acc")


# ── the end ──


def test_close_accounts_for_an_open_interruption():
    """A link that never came back is a gap to the end of each stream, estimated, in the account."""
    link = Link(WearableSettings(jitter_s=0))
    link.run(20)
    before = link.decoder.reception.missing
    link.decoder.interrupt(GapReason.DISCONNECTED)
    gaps = link.decoder.close(50 * SECOND)
    assert [(gap.stream.name, gap.reason, gap.exact) for gap in gaps] == [
        ("emg", GapReason.DISCONNECTED, False),
        ("acc", GapReason.DISCONNECTED, False),
    ]
    for gap, rate_hz in zip(gaps, (1000, 100), strict=True):
        assert gap.end_ns == UTC_NS + 50 * SECOND
        assert gap.start_ns == link.blocks(gap.stream.name)[-1].end_ns
        assert gap.missing == pytest.approx(30 * rate_hz, abs=60)
    assert link.decoder.reception.missing - before == sum(gap.missing for gap in gaps)


def test_close_says_nothing_without_an_interruption():
    """Monitoring that ends while all is well, or before anything was heard, has missed nothing."""
    link = Link(WearableSettings(jitter_s=0))
    assert link.decoder.close(SECOND) == []
    link.decoder.interrupt(GapReason.DISCONNECTED)
    assert link.decoder.close(SECOND) == []
    link.run(20)
    assert link.decoder.close(50 * SECOND) == []


def test_after_a_reconnect_the_same_decoder_goes_on():
    """A codec made anew from Info takes over the count."""
    link = Link(WearableSettings(jitter_s=0))
    link.run(5)
    link.decoder.interrupt(GapReason.DISCONNECTED)
    link.wearable.stop()
    link.run(8)
    link.decoder.resume(OpenProfile(link.wearable.info))
    link.start()
    link.run(12)
    assert link.reasons() == [GapReason.DISCONNECTED]
    assert_whole(link)


# A device that numbers nothing.


def uncounted(decoder, numbers, begin_s):
    """Packets of three samples at 100 Hz from `begin_s` on; what came of them."""
    codec = MetaMotion("", "", "")
    items = []
    for n in numbers:
        counts = np.array([[3 * n, 3 * n + 1, 3 * n + 2]] * 3, np.int16)
        at_ns = round((begin_s + 0.03 * n) * SECOND)
        items += decoder.feed(Notification(*codec.encode(Packet("acc", counts)), at_ns))
    return items


def test_what_nothing_numbers_is_held_for_a_while_and_then_delivered():
    """Every sample once, in order; what is missing is said to be an estimate."""
    decoder = Decoder(MetaMotion("", "", ""), UTC_NS)
    items = uncounted(decoder, [*range(40), *range(44, 120)], 1)
    gaps = [item for item in items if isinstance(item, Gap)]
    heard = np.concatenate([item.counts[0] for item in items if isinstance(item, SampleBlock)])
    assert [(gap.missing, gap.exact, gap.reason) for gap in gaps] == [(12, False, GapReason.LOST)]
    assert heard.tolist() == [n for n in range(heard[-1] + 1) if not 120 <= n < 132]
    assert 3 * 119 - heard[-1] < 100
    assert decoder.reception.estimated == 12
    assert decoder.reception.late == 0


def test_what_was_held_when_the_link_was_lost_is_delivered_with_what_follows():
    """And the gap between has the reason of the link."""
    decoder = Decoder(MetaMotion("", "", ""), UTC_NS)
    before = uncounted(decoder, range(50), 1)
    decoder.interrupt(GapReason.DISCONNECTED)
    decoder.resume(MetaMotion("", "", ""))
    after = uncounted(decoder, range(50), 12.5)
    blocks = [item for item in (*before, *after) if isinstance(item, SampleBlock)]
    (gap,) = [item for item in (*before, *after) if isinstance(item, Gap)]
    assert sum(block.length for block in blocks) > 150 + 60
    assert gap.reason is GapReason.DISCONNECTED
    assert gap.missing == pytest.approx(1000, abs=10)
    assert (gap.end_ns - gap.start_ns) * 1e-9 == pytest.approx(10, abs=0.1)


def test_close_accounts_for_what_is_held_as_missing():
    decoder = Decoder(MetaMotion("", "", ""), UTC_NS)
    items = uncounted(decoder, range(50), 1)
    decoder.interrupt(GapReason.STALLED)
    (gap,) = decoder.close(10 * SECOND)
    assert gap.reason is GapReason.STALLED
    assert gap.start_ns == items[-1].end_ns
