"""Tallies of what is stored: sites, donnings and artefacts."""

from firmware_interface.codecs import Device
from firmware_interface.samples import Sensor, Stream, Unit
from monitor.correlation.stored import BIN_NS, every_channel, sites_of, tallies_of
from monitor.detection.events import State
from monitor.store import KnownDevice, Spent, Stretch

NAMES = {1: "left", 2: "right", 3: "band", 4: "band"}
HOUR = 4
"""Stretches of 15 min."""


def stretch(number, device=1, channel="calf", analysable_s=800.0, observed_s=900.0):
    return Stretch(device, channel, number * BIN_NS, observed_s, analysable_s, 3)


def test_channels_of_two_devices_stay_apart():
    """Two arms with a channel of the same name are two sites; other names are as they were."""
    stretches = [stretch(0), stretch(0, 2), stretch(0, 2, "FDI"), stretch(0, 3, "EMG1"), stretch(0, 4, "EMG1")]
    assert sites_of([each.where for each in stretches], NAMES) == {
        (1, "calf"): "left calf",
        (2, "calf"): "right calf",
        (2, "FDI"): "FDI",
        (3, "EMG1"): "band EMG1 (3)",
        (4, "EMG1"): "band EMG1 (4)",
    }
    found = tallies_of(stretches, [], NAMES)
    assert [found.sites[number] for number in found.site] == [
        "left calf", "right calf", "FDI", "band EMG1 (3)", "band EMG1 (4)",
    ]  # fmt: skip


def test_a_twitch_on_an_axis_belongs_to_its_accelerometer():
    """Each device has its own; what there is no stretch of has no site."""
    acc = Stream("acc", Sensor.ACC, Unit.G, 0.001, 100.0, ("x", "y"))
    devices = [KnownDevice(n, Device(NAMES[n], "", "", (acc,)), "", 0, 0, {}) for n in (1, 2, 3)]
    sites = sites_of([(1, "acceleration"), (2, "acceleration"), (2, "calf")], NAMES)
    channels = every_channel(sites, devices)
    assert (channels[1, "x"], channels[2, "y"], channels[2, "calf"]) == (
        "left acceleration", "right acceleration", "calf",
    )  # fmt: skip
    assert (3, "x") not in channels


def test_a_long_absence_ends_a_donning():
    """Of its own device; time without contact is absence."""
    stretches = [
        stretch(0), stretch(0, 2), stretch(HOUR), stretch(2 * HOUR, analysable_s=0.0),
        stretch(3 * HOUR, analysable_s=0.0), stretch(5 * HOUR), stretch(5 * HOUR, 2),
    ]  # fmt: skip
    sessions = tallies_of(stretches, [], NAMES).session.tolist()
    assert sessions[0] == sessions[2]
    assert len({sessions[0], sessions[5], sessions[1], sessions[6]}) == 4


def test_artefacts_are_counted_where_they_began():
    spent = [
        Spent(1, "calf", State.ARTEFACT, 0, 4, 9.0),
        Spent(1, "calf", State.VOLUNTARY, 0, 7, 9.0),
        Spent(2, "calf", State.ARTEFACT, 0, 1, 1.0),
    ]
    found = tallies_of([stretch(0), stretch(1)], spent, NAMES)
    assert found.artefacts.tolist() == [4, 0]


def test_nothing_is_no_fault():
    assert len(tallies_of([], [], NAMES)) == 0
    assert len(tallies_of([stretch(0, observed_s=0.0)], [], NAMES)) == 0
