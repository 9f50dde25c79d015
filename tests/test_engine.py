"""Alerts, second by second: what people who depend on alarms have had to complain of elsewhere, as tests."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alerts.engine import Alert, Change, Engine, Now, Reading, Said, Verb
from monitor.alerts.rules import DEFAULTS, Kind, Rule, Severity
from monitor.alerts.watching import Seen, SeenChannel, Watching

S = 10**9
UTC_NS = 1_800_000_000 * S
MINUTE, HOUR, LONG = 60, 3600, 1200
RATE = dataclasses.replace(DEFAULTS[Kind.RATE], on=True, above=30, clear_below=20, urgent_above=90, for_s=30)


class Laptop:
    """A computer that watches devices, a tick a second; the clocks are ours."""

    def __init__(self, *devices, rules=(), quiet=(0, 0)):
        self.rules, self.quiet = rules, quiet
        self.running_s, self.utc_offset_ns = 5000.0, UTC_NS
        self.devices = {name: Wearable(name) for name in devices}
        self.engine, self.changes, self.said, self.troubles = None, [], [], {}
        self.restart()

    def restart(self):
        """As after kill -9: what was stored is all there is."""
        known = self.engine.alerts() if self.engine else []
        self.engine = Engine(known, self.quiet)
        self.watching = Watching(self.rules, ["influx"])

    @property
    def utc_ns(self):
        return round(self.running_s * S) + self.utc_offset_ns

    def tick(self, seconds=1):
        """The changes of that time."""
        before = len(self.changes)
        for _ in range(seconds):
            self.running_s += 1
            for device in self.devices.values():
                device.second(self.running_s)
            now = Now(round(self.running_s * S), self.utc_ns, self.utc_ns // S % 86400)
            readings = self.watching.readings(now, [d.seen() for d in self.devices.values()], self.troubles)
            said, self.said = self.said, []
            self.changes += self.engine.tick(now, readings, said)
        return self.changes[before:]

    def say(self, name, verb, lasting_s=None):
        until_ns = None if lasting_s is None else self.utc_ns + lasting_s * S
        self.said.append(Said(len(self.changes) + 1, self.utc_ns, name, verb, until_ns))
        return self.tick()

    def alert(self, name):
        return next(alert for alert in self.engine.alerts() if alert.name == name)

    def told(self, name, since=0):
        """What a person was told of it."""
        return [alert.change for alert in self.changes[since:] if alert.name == name and alert.announce]


class Wearable:
    """What the collector sees of a device."""

    def __init__(self, name):
        self.name, self.there, self.rate = name, True, 0.0
        self.heard_s, self.twitches, self.analysable_s = None, 0.0, 0.0
        self.battery, self.loss, self.contact = 80, 0.0, True

    def second(self, running_s):
        if self.there:
            self.heard_s = running_s
            self.twitches += self.rate / 60
            self.analysable_s += 1

    def seen(self):
        heard_ns = None if self.heard_s is None else round(self.heard_s * S)
        channel = SeenChannel("FDI", self.contact, int(self.twitches), self.analysable_s)
        return Seen(self.name, self.name, heard_ns, self.battery, self.loss, (channel,))


# ---- The alert that matters most ----


def test_no_data_from_the_start():
    """It needs no data to say that there is none, and says so in good time."""
    laptop = Laptop("arm")
    laptop.devices["arm"].there = False
    assert not laptop.tick(119)[10:]
    laptop.tick(4)
    assert laptop.told("no_data.arm") == [Change.RAISED]
    alert = laptop.alert("no_data.arm")
    assert "nor any since monitoring began" in alert.why
    assert "alerts snooze no_data.arm" in alert.silence


def test_no_data_while_another_device_streams():
    laptop = Laptop("arm", "leg")
    laptop.tick(300)
    laptop.devices["leg"].there = False
    laptop.tick(125)
    assert laptop.told("no_data.leg") == [Change.RAISED]
    assert laptop.told("no_data.arm") == []
    laptop.devices["leg"].there = True
    laptop.tick(2)
    assert laptop.told("no_data.leg") == [Change.RAISED, Change.CLEARED]


def test_no_data_is_announced_again_until_it_is_acknowledged_and_is_urgent_in_the_end():
    laptop = Laptop("arm")
    laptop.devices["arm"].there = False
    laptop.tick(20 * MINUTE)
    assert laptop.told("no_data.arm") == [Change.RAISED, Change.REPEATED]
    laptop.say("no_data.arm", Verb.ACKNOWLEDGE)
    before = len(laptop.changes)
    laptop.tick(9 * MINUTE)
    assert laptop.told("no_data.arm", before) == []
    laptop.tick(2 * MINUTE)
    assert laptop.told("no_data.arm", before) == [Change.WORSE]
    assert laptop.alert("no_data.arm").severity is Severity.URGENT


def test_a_stale_alarm_after_the_laptop_wakes_is_held_until_data_had_its_chance():
    """It slept for hours, and nothing came meanwhile: that is no news. What does not come now is."""
    laptop = Laptop("arm")
    laptop.tick(300)
    laptop.running_s += 8 * HOUR
    laptop.devices["arm"].there = False
    laptop.tick(100)
    laptop.devices["arm"].there = True
    laptop.tick(100)
    assert laptop.told("no_data.arm") == []
    laptop.running_s += 8 * HOUR
    laptop.devices["arm"].there = False
    laptop.tick(125)
    assert laptop.told("no_data.arm") == [Change.RAISED]


def test_an_alarm_that_was_raised_before_sleep_is_not_over_by_sleeping():
    laptop = Laptop("arm")
    laptop.devices["arm"].there = False
    laptop.tick(200)
    laptop.running_s += HOUR
    laptop.tick(100)
    assert laptop.alert("no_data.arm").raised
    laptop.restart()
    laptop.tick(100)
    assert laptop.alert("no_data.arm").raised


# ---- Snoozes ----


def raised_rate():
    laptop = Laptop("arm", rules=[RATE])
    laptop.devices["arm"].rate = 60
    laptop.tick(300)
    assert laptop.told("rate.arm.FDI") == [Change.RAISED]
    return laptop, laptop.devices["arm"]


def test_a_snoozed_alert_that_does_not_re_raise_without_data():
    """The snooze ends while nothing is heard: nobody knows whether the rate is still high."""
    laptop, arm = raised_rate()
    laptop.say("rate.arm.FDI", Verb.SNOOZE, 600)
    arm.there = False
    before = len(laptop.changes)
    laptop.tick(LONG)
    assert laptop.told("rate.arm.FDI", before) == []
    assert laptop.alert("rate.arm.FDI").raised
    arm.there = True
    laptop.tick(100)  # until enough is analysed
    assert laptop.told("rate.arm.FDI", before) == [Change.REPEATED]


def test_a_snooze_that_survives_a_dip_below_the_threshold():
    laptop, arm = raised_rate()
    laptop.say("rate.arm.FDI", Verb.SNOOZE, HOUR)
    before = len(laptop.changes)
    arm.rate = 0
    laptop.tick(LONG)
    assert not laptop.alert("rate.arm.FDI").raised
    arm.rate = 60
    laptop.tick(LONG)
    assert laptop.alert("rate.arm.FDI").raised
    assert laptop.told("rate.arm.FDI", before) == []
    laptop.tick(LONG + 60)
    assert laptop.told("rate.arm.FDI", before) == [Change.REPEATED]


def test_a_snooze_that_survives_a_restart():
    laptop, _ = raised_rate()
    laptop.say("rate.arm.FDI", Verb.SNOOZE, 2 * HOUR)
    laptop.restart()
    before = len(laptop.changes)
    laptop.tick(LONG)
    assert laptop.told("rate.arm.FDI", before) == []


def test_a_snooze_that_breaks_through_on_a_worse_level():
    laptop, arm = raised_rate()
    laptop.say("rate.arm.FDI", Verb.SNOOZE, 10 * HOUR)
    before = len(laptop.changes)
    arm.rate = 200
    laptop.tick(30 * MINUTE)
    assert laptop.told("rate.arm.FDI", before)[0] is Change.WORSE
    assert laptop.alert("rate.arm.FDI").snoozed_until_ns is None


def test_a_snooze_that_is_listed_and_can_be_cancelled():
    """Also one that was set in advance, while all was well."""
    laptop = Laptop("arm", rules=[RATE])
    laptop.tick(10)
    until_ns = laptop.utc_ns + HOUR * S
    laptop.say("rate.arm.FDI", Verb.SNOOZE, HOUR)
    assert laptop.alert("rate.arm.FDI").snoozed_until_ns == until_ns
    laptop.devices["arm"].rate = 60
    laptop.tick(300)
    assert laptop.alert("rate.arm.FDI").raised
    assert laptop.told("rate.arm.FDI") == []
    laptop.say("rate.arm.FDI", Verb.CANCEL)
    laptop.tick(2)
    assert laptop.told("rate.arm.FDI") == [Change.REPEATED]
    assert laptop.alert("rate.arm.FDI").snoozed_until_ns is None


def test_an_acknowledgement_is_not_for_what_is_raised_later():
    laptop, arm = raised_rate()
    arm.rate = 0
    laptop.tick(LONG)
    laptop.said.append(Said(99, laptop.utc_ns - S, "rate.arm.FDI", Verb.ACKNOWLEDGE))
    laptop.tick()
    arm.rate = 60
    before = len(laptop.changes)
    laptop.tick(10 * MINUTE)
    assert laptop.told("rate.arm.FDI", before) == [Change.RAISED]
    assert not laptop.alert("rate.arm.FDI").acknowledged


# ---- Time ----


def test_a_for_that_is_not_met_by_a_gap():
    """Seconds in which nothing was heard are no seconds in which it was so."""
    rule = dataclasses.replace(DEFAULTS[Kind.CONTACT], for_s=60)
    laptop = Laptop("arm", rules=[rule])
    laptop.tick(10)
    arm = laptop.devices["arm"]
    arm.contact = False
    laptop.tick(40)
    arm.there = False
    laptop.tick(90)
    assert laptop.told("contact.arm") == []
    arm.there = True
    laptop.tick(5)
    assert laptop.told("contact.arm") == []
    laptop.tick(20)
    assert laptop.told("contact.arm") == [Change.RAISED]


def test_flapping_that_is_held_by_hysteresis():
    """Around a threshold it is raised once; and what dips for moments is not over."""
    laptop = Laptop("arm")
    arm = laptop.devices["arm"]
    for n in range(900):
        arm.loss = 0.12 if n % 2 else 0.08
        laptop.tick()
    assert laptop.told("loss.arm") == []  # never 2 min without a break
    arm.loss = 0.12
    laptop.tick(200)
    for n in range(900):
        arm.loss = 0.12 if n % 50 else 0.04
        laptop.tick()
    assert laptop.told("loss.arm") == [Change.RAISED]
    arm.loss = 0.0
    laptop.tick(100)
    assert laptop.told("loss.arm") == [Change.RAISED, Change.CLEARED]


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_is_moved_back_and_forward_an_hour(hours):
    """A snooze of half an hour is that, nothing is raised for it but that the clock was set, and only once."""
    laptop, _ = raised_rate()
    laptop.say("rate.arm.FDI", Verb.SNOOZE, 30 * MINUTE)
    laptop.tick(60)
    laptop.utc_offset_ns += hours * HOUR * S
    before = len(laptop.changes)
    laptop.tick(28 * MINUTE)
    assert laptop.told("rate.arm.FDI", before) == []
    assert laptop.told("no_data.arm", before) == []
    assert laptop.told("clock", before) == [Change.RAISED, Change.CLEARED]
    assert abs(laptop.alert("rate.arm.FDI").since_ns - laptop.utc_ns) < 3 * HOUR * S
    laptop.tick(2 * MINUTE)
    assert laptop.told("rate.arm.FDI", before) == [Change.REPEATED]


def test_quiet_hours_hold_what_is_not_urgent_until_they_end():
    second = UTC_NS // S % 86400 + 5000
    laptop = Laptop("arm", rules=[RATE], quiet=(second % 86400, (second + HOUR) % 86400))
    laptop.devices["arm"].rate = 60
    laptop.tick(5 * MINUTE)
    assert laptop.alert("rate.arm.FDI").raised
    assert laptop.told("rate.arm.FDI") == []
    laptop.devices["arm"].there = False
    laptop.tick(32 * MINUTE)
    assert laptop.told("no_data.arm") == [Change.WORSE]
    laptop.devices["arm"].there = True
    laptop.tick(25 * MINUTE)
    assert laptop.told("rate.arm.FDI") == [Change.REPEATED]


# ---- What is watched ----


def test_what_only_data_can_tell_is_not_told_without():
    """A device that is away has no low battery, no loss and no bad contact, but that it is away."""
    laptop = Laptop("arm")
    laptop.tick(10)
    arm = laptop.devices["arm"]
    arm.there = False
    laptop.tick(15)
    arm.battery, arm.loss, arm.contact = 3, 0.9, False
    laptop.tick(LONG)
    assert {alert.kind for alert in laptop.changes if alert.raised} == {Kind.NO_DATA}


def test_nothing_is_said_of_the_person_by_default():
    """Medical calm: rates and bursts are for those who ask for them."""
    laptop = Laptop("arm")
    laptop.devices["arm"].rate = 1000
    laptop.tick(LONG)
    assert laptop.told("rate.arm.FDI") == []
    assert {a.kind for a in laptop.engine.alerts()}.isdisjoint({Kind.RATE, Kind.BURST, Kind.TRIGGER_REMINDER})


def test_a_rate_is_compared_with_what_is_usual_at_this_hour():
    rule = dataclasses.replace(RATE, above=2, clear_below=1.5, urgent_above=None, of_baseline=True)
    laptop = Laptop("arm", rules=[rule])
    arm = laptop.devices["arm"]
    arm.rate = 20
    laptop.tick(300)
    assert not laptop.alert("rate.arm.FDI").raised  # nothing is usual yet
    laptop.watching.usual = {("arm", "FDI"): 9.0}
    laptop.tick(60)
    alert = laptop.alert("rate.arm.FDI")
    assert alert.raised
    assert "times what is usual for you at this hour" in alert.why


def test_a_rate_of_too_little_is_not_known():
    laptop = Laptop("arm", rules=[RATE])
    laptop.devices["arm"].rate = 600
    laptop.tick(29)
    assert not laptop.alert("rate.arm.FDI").raised


def test_a_burst_is_counted_in_its_window():
    laptop = Laptop("arm", rules=[dataclasses.replace(DEFAULTS[Kind.BURST], on=True)])
    arm = laptop.devices["arm"]
    for _ in range(10):
        laptop.tick(30)
        arm.twitches += 9
    assert laptop.told("burst.arm.FDI") == []
    arm.twitches += 20
    laptop.tick(2)
    assert laptop.told("burst.arm.FDI") == [Change.RAISED]


def test_a_rule_of_a_site_goes_before_that_of_all():
    off = dataclasses.replace(DEFAULTS[Kind.BURST], site="FDI", on=False)
    laptop = Laptop("arm", rules=[dataclasses.replace(DEFAULTS[Kind.BURST], on=True), off])
    laptop.tick(3)
    assert not [alert for alert in laptop.engine.alerts() if alert.kind is Kind.BURST]


def test_trouble_of_the_store_and_of_a_server_are_alerts():
    laptop = Laptop("arm")
    laptop.tick(3)
    for n in range(700):
        laptop.troubles = {"store": float(n), "influx": float(n)}
        laptop.tick()
    assert laptop.told("storage.store") == [Change.RAISED, Change.WORSE]
    assert laptop.told("silence.influx") == [Change.RAISED]
    laptop.troubles = {}
    laptop.tick(20)
    assert not laptop.alert("storage.store").raised
    assert not laptop.alert("silence.influx").raised


def test_a_reminder_to_log_comes_once_a_day():
    laptop = Laptop("arm", rules=[dataclasses.replace(DEFAULTS[Kind.TRIGGER_REMINDER], on=True)])
    laptop.tick(5)
    laptop.watching.logged_ns = laptop.utc_ns - 25 * HOUR * S
    laptop.tick(LONG)
    assert laptop.told("trigger_reminder") == [Change.RAISED]
    laptop.watching.logged_ns = laptop.utc_ns
    laptop.tick(5)
    assert laptop.told("trigger_reminder") == [Change.RAISED, Change.CLEARED]


def test_what_is_not_watched_any_more_is_over():
    laptop, _ = raised_rate()
    laptop.rules = ()
    laptop.restart()
    laptop.tick()
    assert not laptop.watching.is_watched("rate.arm.FDI")
    assert laptop.watching.is_watched("no_data.arm")
    now = Now(round(laptop.running_s * S), laptop.utc_ns, 0)
    (gone,) = laptop.engine.forget(["rate.arm.FDI"], now)
    assert (gone.change, gone.raised) == (Change.FORGOTTEN, False)


def test_two_names_that_differ_only_in_what_topics_forbid_are_two_alerts():
    laptop = Laptop("left arm", "left/arm")
    laptop.tick(2)
    names = [alert.name for alert in laptop.engine.alerts() if alert.kind is Kind.NO_DATA]
    assert len(names) == len(set(names)) == 2
    assert not set("/+# ") & set("".join(names))


# ---- The engine itself ----

RULE = Rule(Kind.RATE, above=10, clear_below=5, urgent_above=100, for_s=3, keep_for_s=3, repeat_min=1)
VALUES = st.lists(st.sampled_from([None, 0.0, 7.0, 20.0, 200.0]), max_size=120)
SAYINGS = st.dictionaries(
    st.integers(0, 119), st.sampled_from([v for v in Verb if v is not Verb.TEST]), max_size=6
)


def run(values, sayings, cuts=()):
    engine, out = Engine(), []
    for n, value in enumerate(values):
        if n in cuts:
            engine = Engine(engine.alerts())
        now = Now(n * S, UTC_NS + n * S, 0)
        said = [Said(n + 1, now.utc_ns, "x", sayings[n], now.utc_ns + 20 * S)] if n in sayings else []
        out += [(n, alert) for alert in engine.tick(now, [Reading(RULE, "x", value, "because")], said)]
    return engine, out


@settings(max_examples=200)
@given(VALUES, SAYINGS)
def test_what_an_alert_is_its_newest_change_says_in_full(values, sayings):
    engine, out = run(values, sayings)
    for alert in engine.alerts():
        assert alert == next(change for _, change in reversed(out) if change.name == alert.name)
    for _, alert in out:
        assert alert.raised == (alert.since_ns is not None)
        assert alert.raised or not alert.acknowledged
        assert alert.announced_ns is None or alert.raised
        if alert.announce and alert.raised:
            assert alert.severity is Severity.URGENT or not (alert.snoozed_until_ns or 0) > alert.at_ns


@settings(max_examples=100)
@given(VALUES, SAYINGS, st.sets(st.integers(1, 119), max_size=4))
def test_a_restart_raises_nothing_that_would_not_have_been_and_ends_nothing(values, sayings, cuts):
    """It may raise and clear later, because `for_s` begins anew; it never forgets what stands."""
    _, out = run(values, sayings, cuts)
    raised = False
    for _, alert in out:
        assert alert.change is not Change.RAISED or not raised
        raised = alert.raised


def test_a_test_is_announced_and_ends_by_itself():
    laptop = Laptop("arm")
    laptop.tick(2)
    laptop.say("test", Verb.TEST)
    assert laptop.told("test") == [Change.RAISED]
    laptop.tick(65)
    assert laptop.told("test") == [Change.RAISED, Change.CLEARED]
    laptop.said = [Said(500, laptop.utc_ns - HOUR * S, "test", Verb.TEST)]
    assert not [alert for alert in laptop.tick() if alert.name == "test"]


def test_every_alert_says_why_since_when_and_how_to_silence_it():
    laptop, arm = raised_rate()
    arm.battery = 3
    laptop.tick(5)
    raised = [alert for alert in laptop.engine.alerts() if alert.raised]
    assert len(raised) == 2
    for alert in raised:
        assert alert.why
        assert alert.since_ns
        assert alert.name in alert.silence


def test_defaults_are_sensible():
    for kind, rule in DEFAULTS.items():
        assert rule.kind is kind
        assert rule.clear_below <= rule.above or kind is Kind.TEST
        assert rule.urgent_above is None or rule.urgent_above > rule.above
    assert next(iter(DEFAULTS)) is Kind.NO_DATA
    assert DEFAULTS[Kind.NO_DATA].on
    assert isinstance(Alert("x", Kind.TEST, 0, Change.WATCHED).silence, str)
