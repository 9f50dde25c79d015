"""What comes in by MQTT, without a broker: any bytes are answered, and what is wrong changes nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.alerts.said import SAID, said_after
from monitor.diary import DIARY, Diary, read_diary
from monitor.sinks.requests import Requests
from tests.test_store import NOW, S, opened

GOOD = b'{"kind": "caffeine", "dose": "80 mg"}'


@pytest.fixture
def folder(tmp_path):
    with opened(tmp_path):
        pass
    return tmp_path


def answered(requests, topic, payload, now_ns=NOW, *, retained=False):
    where, said = requests.answer(topic, payload, now_ns, retained=retained)
    assert where.startswith("response/")
    return json.loads(said)


def test_what_was_retained_is_refused(folder) -> None:
    """It would be logged again at every connection."""
    said = answered(Requests(folder), "trigger/set", GOOD, retained=True)
    assert (said["ok"], said["remedy"]) == (False, "Do not retain it")
    assert read_diary(folder) == []


def test_a_flood_is_refused_and_others_are_heard_a_minute_later(folder) -> None:
    requests = Requests(folder)
    said = [answered(requests, "request/ping", b"", NOW + n)["ok"] for n in range(200)]
    assert said == [True] * 120 + [False] * 80
    assert answered(requests, "request/ping", b"", NOW + 61 * S)["ok"]


def test_a_template_is_logged_with_one_press(folder) -> None:
    with Diary.open(folder) as diary:
        diary.keep_template("espresso", {"kind": "caffeine", "dose": "80mg"})
    requests = Requests(folder)
    assert requests.templates() == ["espresso"]
    said = answered(requests, "trigger/set", b'{"kind": "espresso"}')
    assert (said["done"][0]["kind"], said["done"][0]["dose"]) == ("caffeine", 80.0)


def test_templates_are_none_where_nothing_was_logged_and_no_diary_is_made(folder) -> None:
    assert Requests(folder).templates() == []
    assert not (folder / DIARY).exists()


def test_logging_has_all_the_verbs_of_the_command(folder) -> None:
    requests = Requests(folder)
    for topic, payload in (
        ("request/start", {"kind": "stress", "dose": 7}),
        ("request/stop", {"kind": "stress"}),
        ("request/none", {"kind": "alcohol"}),
        ("request/felt", {"site": "left calf"}),
        ("request/undo", {}),
        ("trigger/set", {"verb": "edit", "id": 1, "note": "at work"}),
        ("request/delete", {"id": 1}),
    ):
        said = answered(requests, topic, json.dumps(payload).encode())
        assert said["ok"], (topic, said)
        assert said["done"], topic


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    topic=st.sampled_from(
        ["trigger/set", "alert/x/set", "alert/set", "request/test2", "request/", "request/edit"]
    ),
    payload=st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)
def test_any_bytes_are_answered_and_nothing_is_changed(folder, topic, payload) -> None:
    said = answered(Requests(folder), topic, payload)
    assert said["ok"] is False
    assert said["error"]
    assert read_diary(folder) == []
    assert said_after(folder, 0) == [] or not (folder / SAID).exists()
