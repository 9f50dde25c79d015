"""The collector on the virtual radio, and what the store holds afterwards.

Every scenario ends in the same account (`Account`): what the radio handed over, counted by the test itself from
the notifications, is in the store as data, and all else as a gap.
"""

import asyncio
import itertools
import shutil
import sqlite3
import subprocess
import time
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import replace

import pytest

from firmware_interface import ble
from firmware_interface.ble import Connected, Lost, Radio
from firmware_interface.codecs.open_profile import DATA, Opcode, OpenProfile
from firmware_interface.emulated.peripheral import WornWearable
from firmware_interface.emulated.wearable import Wearable, WearableSettings
from firmware_interface.errors import PacketError
from firmware_interface.samples import Gap, GapReason, Notification, Packet, Started
from firmware_interface.virtual_radio import VirtualRadio
from monitor import database
from monitor.cli import _writing
from monitor.clock import HostClock, read_clocks
from monitor.collector import Collector, Subject
from monitor.database import StoreError
from monitor.detection.settings import DetectorSettings
from monitor.raw import Raw, RawArchive, Retention
from monitor.store import DATABASE, Archive, Observed, Store
from tests.test_wearable import CountingBody, CountingSettings

FIRST, SECOND = "C4:5A:00:00:00:01", "C4:5A:00:00:00:02"
RATE = {"emg": 1000, "acc": 100}
HOUR_NS = 3600 * 10**9
END_NS = 1 << 62


class Wearing(Wearable):
    """The emulated wearable, which remembers what it was asked."""

    def __init__(self, name="armband", seed=1, channels=("biceps", "FDI"), **settings):
        body = CountingBody(CountingSettings(channels=channels))
        described = WearableSettings(name=name, serial=name, **settings)
        super().__init__(described, body, seed, time.monotonic_ns())
        self.requests = []

    def handle(self, request):
        self.requests.append(Opcode(request[0]))
        return super().handle(request)


class Tapped(Radio):
    """The radio, with a note of all that it hands over."""

    def __init__(self, air):
        super().__init__([OpenProfile], air.backend)
        self.items = {}
        self._more = asyncio.Event()

    async def follow(self, address, handle):
        heard = self.items.setdefault(address, [])

        async def tapped(item):
            await handle(item)
            heard.append(item)
            self._more.set()

        await super().follow(address, tapped)

    def of(self, kind, address=FIRST):
        return [item for item in self.items.get(address, ()) if isinstance(item, kind)]

    async def hears(self, seconds, address=FIRST):
        """Until so much signal more has come."""
        wanted = len(self._data(address)) + seconds * RATE["emg"] / 50
        await self.until(lambda: len(self._data(address)) >= wanted)

    async def until(self, condition, seconds=20):
        async with asyncio.timeout(seconds):
            while not condition():
                self._more.clear()
                await self._more.wait()

    def _data(self, address):
        return [item for item in self.of(Notification, address) if item.characteristic == DATA]

    def samples(self, stream, address=FIRST):
        """(received, missing) as the device's own numbers tell, from START on; without a restart."""
        codec = self.of(Connected, address)[0].codec
        started, received, end = None, 0, 0
        for notification in self.of(Notification, address):
            try:
                items = codec.decode(notification)
            except PacketError:
                continue
            for item in items:
                if getattr(item, "stream", None) != stream:
                    continue
                if isinstance(item, Started) and started is None:
                    started = item.index
                elif isinstance(item, Packet):
                    received += item.counts.shape[1]
                    end = item.index + item.counts.shape[1]
        return received, end - started - received


class Clocks:
    """The computer's clocks, and what befalls them."""

    def __init__(self):
        self.asleep_ns = self.stepped_ns = 0

    def __call__(self):
        now = read_clocks()
        return replace(
            now,
            running_ns=now.running_ns + self.asleep_ns,
            utc_ns=now.utc_ns + self.asleep_ns + self.stepped_ns,
        )

    @property
    def utc_ns(self):
        return self().utc_ns


class Setting:
    """A folder, a radio and what is on it."""

    def __init__(self, folder, air):
        self.folder = folder
        self.air = air
        self.radio = Tapped(air)
        self.clocks = Clocks()
        self.told = []

    @asynccontextmanager
    async def collecting(self, *addresses):
        """A session while the block lasts."""
        clock = HostClock(self.clocks)
        with _writing(self.folder, clock) as store, closing(Raw(self.folder, Retention(free_bytes=0))) as raw:
            store.begin(now_ns=clock.utc_ns(), version="test", settings={})
            subjects = [Subject(address) for address in addresses or (FIRST,)]
            collector = Collector(self.radio, store, subjects, DetectorSettings(), clock, raw=raw)
            task = asyncio.create_task(collector.run(lambda *what: self.told.append(what)))
            await asyncio.sleep(0)
            try:
                yield collector
            finally:
                task.cancel()
                await asyncio.wait((task,))
            if not task.cancelled():
                task.result()

    def words(self):
        return [what for _, what in self.told if isinstance(what, str)]

    def account(self, name="armband"):
        return Account(self.folder, name)


class Account:
    """What the store knows of one device. What must always hold is asserted in the making."""

    def __init__(self, folder, name):
        with Archive.open(folder) as archive:
            (known,) = [known for known in archive.devices() if known.device.name == name]
            self.gaps = [gap for _, gap in archive.gaps(0, END_NS, known.id)]
            self.minutes = [minute for _, minute in archive.minutes(0, END_NS, known.id)]
            self.twitches = [twitch for _, twitch in archive.twitches(0, END_NS, known.id)]
            self.accounted_ns = known.accounted_ns
            self.id, self.raw = known.id, RawArchive(folder)
            self.begun_ns = archive.sessions()[0].begun_ns
        assert all(gap.end_ns >= gap.start_ns and gap.missing >= 0 for gap in self.gaps)
        assert all(0 <= m.analysable_s <= m.observed_s + 1e-9 <= 60 + 1e-6 for m in self.minutes)
        for stream in RATE:
            gaps = self.of(stream)
            assert all(a.end_ns <= b.start_ns for a, b in itertools.pairwise(gaps)), gaps

    def of(self, stream="emg", *reasons):
        return [g for g in self.gaps if g.stream.name == stream and (not reasons or g.reason in reasons)]

    def reasons(self, stream="emg"):
        return {gap.reason for gap in self.of(stream)}

    def observed(self, channel="FDI"):
        """Samples."""
        return round(sum(m.observed_s for m in self.minutes if m.channel == channel) * RATE["emg"])

    def missing(self, stream="emg"):
        return sum(gap.missing for gap in self.of(stream))

    def has_all(self, radio, address=FIRST, *, raw=True):
        received, missing = radio.samples("emg", address)
        assert (self.observed(), self.missing()) == (received, missing)
        assert self.missing("acc") == radio.samples("acc", address)[1]
        assert all(gap.exact for gap in self.gaps)
        for stream in RATE if raw else ():
            blocks, damaged = self.raw.window(self.id, stream, 0, END_NS)
            assert damaged == 0
            blocks.sort(key=lambda block: block.first)
            assert sum(block.length for block in blocks) == radio.samples(stream, address)[0]
            assert all(a.first + a.length <= b.first for a, b in itertools.pairwise(blocks))


@pytest.fixture
async def air():
    async with VirtualRadio() as air:
        yield air
    assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()


@pytest.fixture
def setting(tmp_path, air, monkeypatch):
    monkeypatch.setattr(ble, "_FIND_S", 0.3)
    monkeypatch.setattr(ble, "_STALL_S", 1.0)
    return Setting(tmp_path, air)


@pytest.fixture
async def worn(air):
    async with WornWearable(air, Wearing(), FIRST) as worn:
        yield worn


async def test_all_that_is_sent_is_stored_and_the_device_told_to_stop(setting, worn):
    async with setting.collecting():
        await setting.radio.hears(1.5)
    account = setting.account()
    account.has_all(setting.radio)
    assert worn._wearable.requests == [Opcode.START, Opcode.STOP]
    with Archive.open(setting.folder) as archive:
        (session,) = archive.sessions()
    assert session.ended_ns is not None


@pytest.mark.long
async def test_lost_packets_are_counted_exactly(setting, air):
    async with WornWearable(air, Wearing(loss=0.2), FIRST), setting.collecting():
        await setting.radio.hears(2)
    account = setting.account()
    account.has_all(setting.radio)
    assert account.missing() > 0
    assert account.reasons() == {GapReason.LOST}


async def test_a_bad_day(setting, air):
    """All at once, and every sample is accounted for."""
    async with WornWearable(air, Wearing(loss=0.1), FIRST) as worn, setting.collecting() as collector:
        await setting.radio.hears(0.7)
        await worn.vanish(0.3)
        await setting.radio.until(lambda: len(setting.radio.of(Connected)) == 2)
        await setting.radio.hears(0.5)
        await worn.send_garbage()
        worn.stall()
        await setting.radio.until(lambda: len(setting.radio.of(Connected)) == 3)
        await setting.radio.hears(2.0)  # acceleration, too: its packets hold 0.4 s, and one in ten is lost
        assert collector.views()[0].malformed == 1
    account = setting.account()
    account.has_all(setting.radio)
    assert account.reasons() == {GapReason.LOST, GapReason.DISCONNECTED, GapReason.STALLED}


@pytest.mark.long
async def test_a_device_that_vanishes_and_comes_back(setting, worn):
    async with setting.collecting() as collector:
        await setting.radio.hears(0.7)
        await worn.vanish(1.0)
        assert collector.views()[0].link == "disconnected, reconnecting"
        await setting.radio.until(lambda: len(setting.radio.of(Connected)) == 2)
        await setting.radio.hears(0.7)
        assert collector.views()[0].link == "streaming"
    account = setting.account()
    account.has_all(setting.radio)
    (gap,) = account.of("emg", GapReason.DISCONNECTED)
    assert gap.missing == pytest.approx((gap.end_ns - gap.start_ns) * 1e-6, rel=0.05)
    assert (gap.end_ns - gap.start_ns) * 1e-9 > 1.0


async def test_a_device_out_of_reach_is_told_of_once(setting):
    """And not at each of the thousands of attempts of a night."""
    async with setting.collecting():
        await setting.radio.until(lambda: len(setting.radio.of(Lost)) == 3)
    assert [what.detail for _, what in setting.told] == [f"{FIRST} is not in reach"]


async def test_a_device_that_restarts(setting, worn):
    async with setting.collecting():
        await setting.radio.hears(1.2)
        worn._wearable.power_cycle()
        worn._wearable.handle(OpenProfile.START[0].data)
        await setting.radio.hears(0.7)
    check_restart(setting.account(), setting.radio, GapReason.RESTARTED)


@pytest.mark.long
async def test_a_device_that_restarts_and_loses_the_link(setting, worn):
    """It was on for more than 5 s, else its count may have caught up with ours: that looks like loss."""
    async with setting.collecting():
        await setting.radio.hears(6)
        await worn.power_cycle()
        await setting.radio.until(lambda: len(setting.radio.of(Connected)) == 2)
        await setting.radio.hears(0.7)
    check_restart(setting.account(), setting.radio, GapReason.DISCONNECTED)


def check_restart(account, radio, reason):
    """What was received is there; how much is missing, nobody could count."""
    assert account.observed() == radio.samples("emg")[0]
    assert [gap.reason for gap in account.of("emg")] == [reason]
    (gap,) = account.of("emg")
    assert not gap.exact
    assert gap.missing == pytest.approx((gap.end_ns - gap.start_ns) * 1e-6, abs=60)


@pytest.mark.long
async def test_a_device_that_stalls(setting, worn):
    async with setting.collecting():
        await setting.radio.hears(0.7)
        worn.stall()
        await setting.radio.until(lambda: len(setting.radio.of(Connected)) == 2)
        await setting.radio.hears(0.7)
    account = setting.account()
    account.has_all(setting.radio)
    (gap,) = account.of("emg")
    assert gap.reason is GapReason.STALLED
    assert gap.end_ns - gap.start_ns > 1.0e9


async def test_garbage_is_counted_and_streaming_goes_on(setting, worn):
    async with setting.collecting() as collector:
        await setting.radio.hears(0.5)
        for _ in range(3):
            await worn.send_garbage()
        await setting.radio.hears(0.5)
        view = collector.views()[0]
    assert (view.malformed, view.link) == (3, "streaming")
    assert not setting.radio.of(Lost)
    account = setting.account()
    account.has_all(setting.radio)
    assert account.gaps == []


@asynccontextmanager
async def locked(folder):
    """Another program holds the database."""
    with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.long
async def test_a_slow_store_loses_nothing(setting, worn, monkeypatch):
    monkeypatch.setattr(database, "_BUSY_S", 0.3)
    async with setting.collecting():
        await setting.radio.hears(0.3)
        async with locked(setting.folder):
            await setting.radio.until(setting.words)
            await setting.radio.hears(1)
        await setting.radio.until(lambda: len(setting.words()) == 2)
    first, second = setting.words()
    assert first.startswith("not stored for now: another program keeps ")
    assert second == "storing again, nothing was lost"
    setting.account().has_all(setting.radio)


@pytest.mark.long
async def test_an_end_in_the_middle_of_a_commit_writes_nothing_twice(setting, worn):
    """Minutes are increments."""
    unlock = asyncio.Event()

    async def lock():
        async with locked(setting.folder):
            await unlock.wait()

    async with setting.collecting():
        await setting.radio.hears(2.5)
        locking = asyncio.create_task(lock())
        await setting.radio.hears(1.5)  # a commit is waiting now
        asyncio.get_running_loop().call_later(0.3, unlock.set)
    await locking
    setting.account().has_all(setting.radio)


class SmallDisk:
    """A disk of 2 MB that can be filled, if we may mount one."""

    def __init__(self, path, *options):
        path.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", ",".join(("size=2m", *options)), "tmpfs", str(path)]
        done = (
            subprocess.run(mount, capture_output=True, text=True, check=False) if shutil.which("mount") else None
        )
        if done is None or done.returncode:
            pytest.skip("needs root, to mount a small disk" + (f": {done.stderr.strip()}" if done else ""))
        self.path = path

    def fill(self):
        with suppress(OSError), (self.path / "filler").open("ab", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

    def free(self):
        (self.path / "filler").unlink()

    def close(self):
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path):
    with closing(SmallDisk(tmp_path / "disk")) as disk:
        yield disk


@pytest.mark.long
async def test_a_full_disk_is_told_once_and_what_waited_is_stored(disk, setting, worn):
    setting.folder = disk.path / "data"
    async with setting.collecting() as collector:
        await setting.radio.hears(0.5)
        disk.fill()
        await setting.radio.until(lambda: collector.troubles)
        await setting.radio.hears(2.5)
        disk.free()
        await setting.radio.until(lambda: not collector.troubles)
    told, again = (words for words in setting.words() if "raw" not in words)
    assert told.startswith("not stored for now: no room left on the disk")
    assert again == "storing again, nothing was lost"
    setting.account().has_all(setting.radio, raw=False)


@pytest.mark.long
async def test_an_end_on_a_full_disk_says_how_many_records_could_not_be_kept(disk, setting, worn):
    setting.folder = disk.path / "data"

    async def session():
        async with setting.collecting():
            await setting.radio.hears(0.5)
            disk.fill()
            await setting.radio.hears(2)

    with pytest.raises(StoreError, match=r"^\d+ records could not be kept: no room left on the disk of .*\. Free"):
        await session()


@pytest.mark.long
async def test_a_device_first_met_on_a_full_disk_waits_for_room(disk, setting, worn):
    setting.folder = disk.path / "data"
    async with setting.collecting() as collector:
        disk.fill()
        await asyncio.sleep(1.5)
        assert collector.troubles
        assert not setting.radio.of(Connected)
        disk.free()
        await setting.radio.hears(1)
    setting.account().has_all(setting.radio, raw=False)


async def test_a_computer_that_slept(setting, worn):
    async with setting.collecting():
        await setting.radio.hears(0.7)
        await worn.peripheral.vanish()
        setting.clocks.asleep_ns += HOUR_NS
        await worn.peripheral.appear()
        await setting.radio.until(lambda: len(setting.radio.of(Connected)) == 2)
        await setting.radio.hears(0.7)
    account = setting.account()
    assert account.observed() == setting.radio.samples("emg")[0]
    gaps = account.of("emg")  # two where the link was lost only after the first packet since
    assert gaps[0].reason is GapReason.SUSPENDED
    assert HOUR_NS < sum(gap.end_ns - gap.start_ns for gap in gaps) < HOUR_NS + 10e9
    assert abs(setting.clocks.utc_ns - account.accounted_ns["emg"]) < 1e9


@pytest.mark.parametrize("step_ns", [pytest.param(HOUR_NS, marks=pytest.mark.long), -HOUR_NS])
async def test_utc_that_is_set_with_two_devices(setting, air, step_ns):
    """The one that hears first must not keep it to itself."""
    left, right = Wearing("left"), Wearing("right", seed=2)
    async with WornWearable(air, left, FIRST), WornWearable(air, right, SECOND), setting.collecting(FIRST, SECOND):
        await setting.radio.hears(0.7)
        await setting.radio.hears(0.7, SECOND)
        before_ns = setting.clocks.utc_ns
        setting.clocks.stepped_ns += step_ns
        await setting.radio.hears(0.7)
        await setting.radio.hears(0.7, SECOND)
        now_ns = setting.clocks.utc_ns
    for name, address in (("left", FIRST), ("right", SECOND)):
        account = setting.account(name)
        account.has_all(setting.radio, address)
        (gap,) = account.of("emg")
        assert gap.reason is GapReason.CLOCK
        assert gap.end_ns == pytest.approx(before_ns + step_ns, abs=5e9)
        hours = {round((m.start_ns - before_ns) / HOUR_NS) for m in account.minutes}
        assert hours == {0, round(step_ns / HOUR_NS)}
        assert account.accounted_ns["emg"] == pytest.approx(max(now_ns, before_ns), abs=5e9)


async def test_utc_that_is_set_back_a_little_is_waited_out(setting, worn):
    """As NTP does it: no time is had twice, what came meanwhile is counted as missing, and the gap says why."""
    async with setting.collecting():
        await setting.radio.hears(0.7)
        setting.clocks.stepped_ns -= 10**9
        await setting.radio.hears(2)
    account = setting.account()
    received, missing = setting.radio.samples("emg")
    assert account.observed() + account.missing() == received + missing
    (gap,) = account.of("emg")
    assert gap.reason is GapReason.CLOCK
    assert gap.missing == pytest.approx(1000, abs=150)
    assert 0 <= gap.end_ns - gap.start_ns < 10**8
    observed_s = account.observed() / RATE["emg"]
    assert observed_s <= (account.accounted_ns["emg"] - account.begun_ns) * 1e-9


@pytest.mark.long
async def test_a_device_whose_streams_change_in_a_session(setting, air):
    """A new firmware, at the same address: nothing that was seen before is in a gap."""
    async with setting.collecting():
        async with WornWearable(air, Wearing(), FIRST):
            await setting.radio.hears(1)
        async with WornWearable(air, Wearing(channels=("biceps", "FDI", "EDC")), FIRST):
            await setting.radio.until(lambda: len(setting.radio.of(Connected)) == 2)
            await setting.radio.hears(1)
    account = setting.account()
    assert {m.channel for m in account.minutes} >= {"biceps", "FDI", "EDC"}
    assert account.reasons() == {GapReason.DISCONNECTED}
    assert account.observed() > account.observed("EDC") > 600
    before, after, *_ = account.of("emg")
    assert before.end_ns == after.start_ns


async def test_time_between_sessions_is_stopped_and_sessions_without_the_device_disconnected(setting, air):
    now_ns = time.time_ns()
    seen_ns, begun_ns, ended_ns = now_ns - HOUR_NS, now_ns - HOUR_NS // 2, now_ns - HOUR_NS // 4
    wearable = Wearing()
    with empty_session(setting.folder, seen_ns - 10**9, seen_ns + 10**9) as store:
        device_id = store.device(wearable.device, FIRST, seen_ns)
        store.write([(device_id, Observed(stream, seen_ns)) for stream in RATE], seen_ns)
    with empty_session(setting.folder, begun_ns, ended_ns):
        pass
    async with WornWearable(air, wearable, FIRST), setting.collecting():
        await setting.radio.hears(1)
    for stream, rate_hz in RATE.items():
        gaps = setting.account().of(stream)
        assert [gap.reason for gap in gaps] == [GapReason.STOPPED, GapReason.DISCONNECTED] * 2, gaps
        first, second, third, fourth = gaps
        assert (first.reason, first.start_ns, first.end_ns) == (GapReason.STOPPED, seen_ns, begun_ns)
        assert (second.reason, second.start_ns, second.end_ns) == (GapReason.DISCONNECTED, begun_ns, ended_ns)
        assert (third.reason, third.start_ns) == (GapReason.STOPPED, ended_ns)
        assert third.end_ns == fourth.start_ns == pytest.approx(now_ns, abs=2e9)
        assert fourth.reason is GapReason.DISCONNECTED
        assert 0 < fourth.end_ns - fourth.start_ns < 5e9
        assert first.missing == pytest.approx(HOUR_NS / 2 * 1e-9 * rate_hz, rel=1e-6)
        assert not first.exact
    told = [what for _, what in setting.told if isinstance(what, Gap)]
    assert {gap.stream.name for gap in told} == {"emg"}


@contextmanager
def empty_session(folder, begun_ns, ended_ns):
    """A session without a collector."""
    store = Store.open(folder)
    store.begin(now_ns=begun_ns, version="test", settings={})
    yield store
    store.close(ended_ns)
