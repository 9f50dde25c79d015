"""What people say of alerts, from other programs, and what the collector makes of it."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from monitor import cli
from monitor.alerts.alarms import Alarms, usual_rates
from monitor.alerts.engine import Alert, Change, Said, Verb
from monitor.alerts.rules import DEFAULTS, Kind
from monitor.alerts.said import SAID, AlertError, said_after, said_of, say
from monitor.alerts.watching import Seen
from monitor.backup import backed_up, restored
from monitor.database import StoreError
from monitor.outbox import Outbox
from monitor.sinks.line_protocol import line
from monitor.store import Archive, Store
from monitor.tally import Minute
from tests.test_store import BOARD, HOUR, MINUTE, S, opened

SILENT = Seen("arm", "arm", None, None, 0.0, ())
EVER = (0, 1 << 62)
NOW = time.time_ns() - 20_000 * S
"""Sessions begin hours ago."""


class Session:
    """Alarms over a store, a second at a time, as the collector has them."""

    def __init__(self, folder, running_s=5000):
        self.folder, self.running_s = folder, running_s
        self.store = Store.open(folder)
        self.store.begin(now_ns=NOW, version="1", settings={})
        self.alarms = Alarms(folder, (), ["mqtt"], (0, 0))

    def tick(self, seconds=1, seen=(SILENT,), troubles=None):
        changes = []
        for _ in range(seconds):
            self.running_s += 1
            now_ns = NOW + self.running_s * S
            self.alarms.look(now_ns)
            changes += self.alarms.tick(self.running_s * S, now_ns, seen, troubles or {})
        self.store.write([(0, alert) for alert in changes], NOW + self.running_s * S)
        return changes

    def kill(self):
        """As the operating system would."""
        self.store._resources.close()


def ask(folder, *arguments):
    done = CliRunner().invoke(cli.app, ["alerts", *arguments, "--data", str(folder)])
    return done.exit_code, done.output, done.exception


def listed(folder, *options):
    done = CliRunner().invoke(cli.app, ["alerts", "list", "--data", str(folder), "--json", *options])
    return [json.loads(said) for said in done.stdout.splitlines()]


def test_an_alert_and_its_snooze_outlive_a_kill(tmp_path) -> None:
    """And it is listed, snoozed and cancelled from another program, while nothing runs as well."""
    session = Session(tmp_path)
    session.tick(130)
    (raised,) = listed(tmp_path)
    assert (raised["name"], raised["raised"]) == ("no_data.arm", True)
    say(tmp_path, Said(0, NOW, "no_data.arm", Verb.SNOOZE, NOW + 10_000 * S))
    assert [alert.change for alert in session.tick()] == [Change.SNOOZED]
    session.kill()
    again = Session(tmp_path, session.running_s)
    assert not [alert for alert in again.tick(600) if alert.announce]
    with Archive.open(tmp_path) as archive:
        (alert,) = [alert for alert in archive.alerts() if alert.raised]
    assert alert.snoozed_until_ns == NOW + 10_000 * S
    again.kill()
    assert ask(tmp_path, "snooze", "no_data.arm", "--cancel")[0] == 0
    last = Session(tmp_path, again.running_s)
    last.tick(2)
    with Archive.open(tmp_path) as archive:
        assert [alert.snoozed_until_ns for alert in archive.alerts() if alert.raised] == [None]
    last.kill()


def test_what_was_said_is_done_once(tmp_path) -> None:
    session = Session(tmp_path)
    session.tick(130)
    say(tmp_path, Said(0, NOW + session.running_s * S, "no_data.arm", Verb.ACKNOWLEDGE))
    assert [alert.change for alert in session.tick(3)] == [Change.ACKNOWLEDGED]
    session.kill()
    again = Session(tmp_path, session.running_s)
    assert again.tick(3) == []
    again.kill()


def test_what_is_said_after_its_file_was_lost_is_heard(tmp_path) -> None:
    """Ids are times, so they grow on: a restored backup does not hold the file."""
    session = Session(tmp_path)
    session.tick(2)
    say(tmp_path, Said(0, NOW + S, "no_data.arm", Verb.SNOOZE, NOW + 9000 * S))
    session.tick()
    (tmp_path / SAID).unlink()
    say(tmp_path, Said(0, NOW + 2 * S, "no_data.arm", Verb.CANCEL))
    assert [alert.change for alert in session.tick()] == [Change.CANCELLED]
    session.kill()


def test_ids_grow_also_where_the_clock_was_set_back(tmp_path) -> None:
    ids = [say(tmp_path, Said(0, at_ns, "x", Verb.CANCEL)) for at_ns in (NOW, NOW - HOUR, NOW, NOW + S)]
    assert ids == sorted(set(ids))
    assert [said.id for said in said_after(tmp_path, ids[1])] == ids[2:]


def test_a_damaged_file_of_what_was_said_is_told_and_stops_nothing(tmp_path) -> None:
    (tmp_path / SAID).write_bytes(b"no database" * 1000)
    session = Session(tmp_path)
    session.tick(130)
    assert session.alarms.trouble is not None
    assert "said.sqlite is damaged" in session.alarms.trouble
    assert [alert.name for alert in session.alarms.alerts() if alert.raised] == ["no_data.arm"]
    session.kill()


@pytest.mark.parametrize(
    ("name", "verb", "lasting"),
    [("x", "acknowledge", ""), ("no_data.arm", "explode", ""), ("no_data.arm", "snooze", "0 min"),
     ("no_data.arm", "snooze", "31d"), ("no_data.arm", "snooze", "a while")],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_a_remedy(name, verb, lasting) -> None:
    with pytest.raises(AlertError) as caught:
        said_of(name, verb, lasting, {"no_data.arm"}, NOW)
    assert caught.value.remedy


def test_a_device_that_is_not_configured_any_more_is_forgotten(tmp_path) -> None:
    session = Session(tmp_path)
    session.tick(130)
    session.kill()
    again = Session(tmp_path, session.running_s)
    changes = again.tick(1, seen=[replace(SILENT, key="leg", name="leg")])
    assert {a.name for a in changes if a.change is Change.FORGOTTEN} >= {"no_data.arm"}
    with Archive.open(tmp_path) as archive:
        assert not [alert for alert in archive.alerts() if alert.name.endswith(".arm")]
    again.kill()


def test_usual_rates_are_medians_of_the_same_hour(tmp_path) -> None:
    hour_ns = NOW // HOUR * HOUR
    with opened(tmp_path, NOW) as (store, device):
        for day in range(1, 8):
            for at_ns, twitches in ((hour_ns - day * 24 * HOUR, day), (hour_ns - day * 24 * HOUR + HOUR, 1000)):
                minutes = [Minute("FDI", at_ns + n * MINUTE, 60.0, 60.0, twitches) for n in range(10)]
                store.write([(device, minute) for minute in minutes], NOW)
        few = [Minute("calf left", hour_ns - 24 * HOUR + n * MINUTE, 60.0, 60.0, 5) for n in range(10)]
        store.write([(device, minute) for minute in few], NOW)
    assert usual_rates(tmp_path, NOW) == {(BOARD.name, "FDI"): 4.0}


def test_alerts_go_out_with_ids_of_their_own_and_to_influxdb(tmp_path) -> None:
    session = Session(tmp_path)
    session.tick(130, troubles={"mqtt": 5000 * S})
    session.kill()
    letters = [letter for letter in Outbox(tmp_path, "n").after(0) if isinstance(letter.contents, Alert)]
    assert len({letter.id for letter in letters}) == len(letters) > 5
    with Archive.open(tmp_path) as archive:
        assert [letter.contents for letter in letters] == archive.alert_history(*EVER)
    raised = [letter for letter in letters if letter.contents.change is Change.RAISED]
    said = line(raised[-1]).decode()
    assert said.startswith("alert,alert=no_data.arm,change=raised,device=arm,kind=no_data,node=n ")
    assert 'raised=true,severity="warning",acknowledged=false,announce=true' in said
    assert {letter.contents.name for letter in raised} == {"silence.mqtt", "no_data.arm"}


def test_the_commands_say_what_they_did(tmp_path) -> None:
    session = Session(tmp_path)
    session.tick(130)
    code, said, _ = ask(tmp_path, "list")
    assert code == 0
    assert "no data from arm" in said
    assert "alerts ack no_data.arm" in said
    assert "well" in ask(tmp_path, "list", "--all")[1]
    code, said, _ = ask(tmp_path, "ack", "no_data.arm")
    assert (code, "acknowledged" in said) == (0, True)
    code, said, _ = ask(tmp_path, "snooze", "no_data.arm", "--for", "2h", "--json")
    assert json.loads(said)["action"] == "snooze"
    assert isinstance(ask(tmp_path, "ack", "nothing")[2], AlertError)
    assert isinstance(ask(tmp_path, "snooze", "no_data.arm", "--for", "long")[2], AlertError)
    session.tick(2)
    history = [(each["name"], each["change"]) for each in listed(tmp_path, "--history", "all")]
    assert history[-3:] == [("no_data.arm", "raised"), ("no_data.arm", "acknowledged"), ("no_data.arm", "snoozed")]
    session.kill()
    assert isinstance(ask(tmp_path, "test")[2], AlertError)  # nothing would send it


def test_a_test_that_nobody_takes_up_is_said(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("monitor.cli_alerts._WAIT_S", 0.5)
    store = Store.open(tmp_path)
    store.begin(now_ns=time.time_ns(), version="1", settings={})
    _, _, error = ask(tmp_path, "test")
    assert isinstance(error, AlertError)
    assert "nobody took" in str(error)
    store.close(time.time_ns())


def test_alerts_are_in_a_backup(tmp_path) -> None:
    session = Session(tmp_path / "data")
    session.tick(130)
    session.kill()
    assert list(backed_up(tmp_path / "data", tmp_path / "copy"))
    list(restored(tmp_path / "copy", tmp_path / "back"))
    assert [each["name"] for each in listed(tmp_path / "back")] == ["no_data.arm"]


def test_said_cannot_be_kept_in_a_folder_that_is_not_there(tmp_path) -> None:
    with pytest.raises(StoreError):
        say(tmp_path / "nowhere", Said(0, NOW, "x", Verb.CANCEL))


def test_defaults_name_every_kind() -> None:
    assert set(DEFAULTS) == set(Kind)
