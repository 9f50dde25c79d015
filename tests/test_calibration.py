"""A minute of rest and a contraction, and what they change."""

import json

import numpy as np
import pytest

from firmware_interface.samples import SampleBlock, Sensor, Stream, Timebase, Unit
from monitor.cli import app
from monitor.config import load
from monitor.detection.calibration import CalibrationError, calibrate
from monitor.detection.detector import Detector
from monitor.detection.events import Context, State
from monitor.detection.settings import DetectorSettings

RATE_HZ = 500.0
STREAM = Stream("emg", Sensor.EMG, Unit.MICROVOLT, 1.0, RATE_HZ, ("FDI", "biceps"))
SIGMA = np.array([[2.0], [5.0]])


def noise(seconds, sigma=SIGMA, seed=1):
    return np.random.default_rng(seed).normal(0, sigma, (2, round(seconds * RATE_HZ)))


def blocks(x, first=0):
    base = Timebase(0, 0, 1e9 / RATE_HZ)
    return [SampleBlock(STREAM, first + i, base, x[:, i : i + 250]) for i in range(0, x.shape[1], 250)]


def test_each_channel_has_its_own_levels():
    """Noise within a tenth, the smallest twitch above it, the contraction as large as it is."""
    found = calibrate(STREAM, blocks(noise(60)), blocks(noise(3, 40 * SIGMA)))
    assert [c.channel for c in found] == ["FDI", "biceps"]
    for one, sigma in zip(found, SIGMA[:, 0], strict=True):
        assert one.noise == pytest.approx(sigma, rel=0.1)
        assert 9 * sigma < one.smallest < 18 * sigma
        assert one.contraction == pytest.approx(40 * sigma, rel=0.1)


@pytest.mark.parametrize(("rest_s", "contraction_s", "factor"), [(5, 3, 40), (60, 0.2, 40), (60, 3, 2)])
def test_what_is_no_calibration_is_refused(rest_s, contraction_s, factor):
    with pytest.raises(CalibrationError):
        calibrate(STREAM, blocks(noise(rest_s)), blocks(noise(contraction_s, factor * SIGMA)))


def heard(x, settings):
    detector = Detector(STREAM, settings)
    events = [event for block in blocks(x) for event in detector.feed(block)] + detector.finish()
    return [event for event in events if isinstance(event, Context)]


def test_a_calibrated_channel_abstains_sooner():
    """Noise twice that of the calibration hides what the person has; by default it would not matter."""
    x = noise(60, 2 * SIGMA)
    calibrated = DetectorSettings(smallest_at={"FDI": 1.5 * 9 * 2.0})
    states = {(c.channel, c.state) for c in heard(x, calibrated) if c.duration_s > 5}
    assert states == {("FDI", State.BAD_CONTACT)}
    assert not [c for c in heard(x, DetectorSettings()) if c.duration_s > 5]


def test_a_share_of_the_contraction_is_a_contraction():
    """Two seconds of it, and little beside."""
    x = noise(30)
    x[0, 7500:8500] += noise(2, np.array([[60.0], [5.0]]), seed=2)[0]
    found = [c for c in heard(x, DetectorSettings(contraction_at={"FDI": 200.0})) if c.state is State.VOLUNTARY]
    assert {c.channel for c in found} == {"FDI"}
    assert sum(c.duration_s for c in found) == pytest.approx(2.7, abs=0.7)


def test_the_command_writes_what_the_configuration_reads(tmp_path, capfd):
    """Its output is a part of config.toml, and with --json the same in numbers."""
    x = np.concatenate((noise(60), noise(10, 40 * SIGMA)), axis=1)
    rows = "\n".join(",".join(f"{v:.2f}" for v in row) for row in x.T)
    path = tmp_path / "r.csv"
    path.write_text("# rate_hz: 500\nFDI [uV],biceps [uV]\n" + rows)
    command = ["calibrate", str(path), "--rest", "0-60", "--contraction", "62-68"]
    assert run(command) == 0
    out = capfd.readouterr().out
    config = tmp_path / "config.toml"
    config.write_text(out)
    settings = load(config).detection
    assert set(settings.smallest_at) == set(settings.contraction_at) == {"FDI", "biceps"}
    assert run([*command, "--json"]) == 0
    objects = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [o["channel"] for o in objects] == ["FDI", "biceps"]


def run(command):
    try:
        app(command, standalone_mode=False)
    except SystemExit as end:
        return end.code
    return 0
