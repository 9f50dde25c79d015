"""The cards of the devices: what a person reads about the contact of the electrodes."""

import pytest

from monitor.glance import ChannelGlance, DeviceGlance
from monitor.page.now import _contact


def worn(*channels, off=()):
    """A device of (label, unit, state)."""
    heard = tuple(ChannelGlance(label, unit, 2.0, state, 0, 0, 0.0) for label, unit, state in channels)
    return DeviceGlance(1, "band", "streaming", 0, 90, -50, 0.0, 0.0, True, tuple(off), (), heard)


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (worn(("calf", "uV", None), ("x", "g", "bad_contact")), "good"),
        (worn(("calf", "uV", "bad_contact"), ("x", "g", "bad_contact")), "bad at calf"),
        (worn(("calf", "uV", None), off=["calf"]), "none at calf"),
        (worn(("x", "m/s^2", "bad_contact")), "has no electrodes"),
    ],
)
def test_an_accelerometer_that_settles_is_no_bad_contact(device, said):
    assert _contact(device) == said
