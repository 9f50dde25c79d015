"""What a reader in another process learns of the present."""

import time

from monitor import glance
from monitor.glance import Glances
from tests.test_live import heard


def test_a_glance_is_what_the_collector_sees(tmp_path):
    """Device, channels, link and since when; it is private, and gone with the collector."""
    seen = heard(tmp_path, 10)
    try:
        with Glances(tmp_path, seen.collector):
            found = None
            while found is None:
                time.sleep(0.1)
                found = glance.read(tmp_path, time.time_ns())
            assert (tmp_path / glance.FILE).stat().st_mode & 0o777 == 0o600
            (device,) = found.devices
            view = seen.collector.views()[0]
            assert (device.name, device.link, device.id) == (view.name, "streaming", view.id)
            assert [channel.label for channel in device.channels] == [channel.label for channel in view.channels]
            assert 0 <= found.at_ns - device.since_ns < 5 * 10**9
            assert glance.read(tmp_path, time.time_ns() + 60 * 10**9) is None
        assert glance.read(tmp_path, time.time_ns()) is None
    finally:
        seen.collector._executor.shutdown()
        seen.store.close(time.time_ns())


def test_a_torn_or_missing_file_is_no_glance(tmp_path):
    """Nothing is being watched, as far as can be told."""
    assert glance.read(tmp_path, 0) is None
    (tmp_path / glance.FILE).write_text('{"at_ns": 1')
    assert glance.read(tmp_path, 0) is None
