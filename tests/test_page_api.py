"""The HTTP interface: what it says, that what is repeated is done once, and that nothing breaks it."""

import csv
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.month import lived
from tests.served import served


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    lived(folder, 10, 3)
    with served(folder) as running:
        yield running


def test_what_comes_twice_is_logged_once(page):
    """By its key; what was understood is said, what cannot be is refused with a remedy."""
    coffee = {"kind": "caffeine", "dose": "80mg", "key": "cup 1", "reactive": "no", "note": "=HYPERLINK()"}
    first, again = (json.loads(page.ask("POST", "/api/v1/triggers", coffee)[2]) for _ in range(2))
    assert (first["repeated"], again["repeated"]) == (False, True)
    assert first["entries"] == again["entries"]
    assert first["entries"][0]["dose"] == 80
    number = first["entries"][0]["id"]
    assert (
        json.loads(page.ask("PATCH", f"/api/v1/triggers/{number}", {"dose": "90mg"})[2])["entries"][0]["dose"]
        == 90
    )
    listed = page.json("/api/v1/triggers")
    assert [entry["dose"] for entry in listed if entry["id"] == number] == [90]
    status, _, body = page.ask("POST", "/api/v1/triggers", {"kind": "cafeine"})
    assert status == 409
    assert "Did you mean caffeine" in json.loads(body)["detail"]
    assert page.ask("POST", "/api/v1/triggers", {"kind": "caffeine", "typo": 1})[0] == 422
    row = next(
        csv.DictReader(
            io.StringIO(page.ask("GET", "/api/v1/export/triggers?since=2026-11-01T00:00:00Z")[2].decode())
        )
    )
    assert row["note"] == "'=HYPERLINK()"
    assert page.ask("DELETE", f"/api/v1/triggers/{number}")[0] == 200
    assert json.loads(page.ask("POST", "/api/v1/undo")[2])["undone"] == [number]


def test_what_is_stored_is_told(page):
    """Twitches with their labels, minutes at any length, exports line by line."""
    span = "since=2026-01-01T00:00:00Z&until=2026-01-09T00:00:00Z"
    twitches = page.json(f"/api/v1/twitches?{span}&limit=5000")
    minutes = page.json(f"/api/v1/minutes?{span}")
    coarse = page.json(f"/api/v1/minutes?{span}&stretch_s=3600")
    assert minutes["stretch_s"] == 180  # of eight days, 5000 at most
    counted = [sum(each["twitches"] for each in found["stretches"]) for found in (minutes, coarse)]
    assert counted == [len(twitches)] * 2
    one = twitches[0]
    said = {key: one[key] for key in ("device_id", "channel", "onset_ns")} | {"label": "real"}
    assert page.ask("PUT", "/api/v1/labels", said)[0] == 204
    assert page.json(f"/api/v1/twitches?{span}&limit=5000")[0]["label"] == "real"
    assert page.ask("PUT", "/api/v1/labels", said | {"onset_ns": "1"})[0] == 409
    lines = page.ask("GET", f"/api/v1/export/twitches?{span}")[2].decode().splitlines()
    assert len(lines) == len(twitches)
    assert json.loads(lines[0])["waveform"]


def test_a_status_without_a_collector(page):
    """Nothing runs; that is an answer."""
    assert page.json("/api/v1/status")["running"] is False
    assert b"fasciwatch_up 0\n" in page.ask("GET", "/metrics")[2]
    first = time.time_ns() // 10**7 - 500
    signal = page.json(f"/api/v1/signal?first={first}&count=500")
    assert (signal["streams"], signal["raw_kept"]) == ([], True)


@pytest.mark.long
@pytest.mark.timeout(660)
def test_schemathesis_finds_nothing(page, tmp_path):
    """Every operation, with what its document allows and what it forbids."""
    pytest.importorskip("schemathesis")
    program = Path(sys.executable).with_name("st")
    command = [program, "run", f"{page.url}/api/v1/openapi.json", "--max-examples", "30", "--no-color",
               "--exclude-path", "/findings"]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
