"""Verdicts: defined as they are, with reasons in plain words, and never a number that means nothing."""

import json
import math
import re
from dataclasses import replace
from datetime import UTC

import numpy as np
import pytest

from monitor.correlation.analysis import Amount, Analysis, Checks, Estimate, Evidence
from monitor.correlation.bins import Tallies, binned
from monitor.correlation.catalogue import DRUG_NOTE, EMERGENCY
from monitor.correlation.findings import Judged, Verdict, correlate, finding, verdict
from monitor.correlation.triggers import Reactive, Trigger, questions
from monitor.simulate.lives import FIRST_S, History, Person, history

DAY = 86400.0
NOW = FIRST_S + 100 * DAY
PLENTY = Amount(60, 55, 600.0, 120.0, 120.0)
FINE = Checks(0.5, 0.01, crossover_agrees=True, artefact_p=None)
LIVED = history(Person(rate_ratios={"caffeine": 2.0}), 1)


def asked(tallies, triggers, kinds=None):
    return correlate(tallies, triggers, UTC, NOW, kinds)


def of(report, trigger, site="calf"):
    (found,) = [each for each in report.findings if (each.trigger, each.site) == (trigger, site)]
    return found


def judged(log_ratio=0.5, error=0.1, e=None, **options):
    estimate = Estimate(log_ratio, error, 50)
    (question,) = questions([Trigger("tea", 0.0)], "tea", NOW)
    found = Evidence(estimate, estimate.e if e is None else e, (log_ratio,))
    return Judged(question, "calf", PLENTY, found, checks=FINE, **options)


# What is said


def test_linked_passes_everything():
    assert verdict(judged(), among=True) is Verdict.LINKED


def test_a_failed_check_leaves_it_possible():
    assert verdict(judged(failed=("lead",)), among=True) is Verdict.POSSIBLE


def test_twenty_without_e_bh_is_possible():
    assert verdict(judged(e=20.0), among=False) is Verdict.POSSIBLE
    assert verdict(judged(e=19.9), among=False) is Verdict.CANNOT_TELL


def test_an_unmet_gate_says_nothing():
    assert verdict(judged(unmet=("9 episodes",)), among=True) is Verdict.CANNOT_TELL


def test_no_sign_leaves_no_room():
    assert verdict(judged(0.0, 0.05), among=False) is Verdict.NO_SIGN
    assert verdict(judged(0.0, 0.15), among=False) is Verdict.CANNOT_TELL


def test_no_sign_needs_every_kernel_to_agree():
    one = judged(0.0, 0.05)
    other = replace(one, evidence=replace(one.evidence, others=(0.5,)))
    assert verdict(other, among=False) is Verdict.CANNOT_TELL


def test_no_sign_is_not_said_of_reactive_logging():
    told = replace(judged(0.0, 0.05), checks=replace(FINE, lead_p=0.05))
    assert verdict(told, among=False) is Verdict.CANNOT_TELL


def test_reasons_say_how_much_more_is_needed():
    reasons = " ".join(finding(judged(0.1, 0.3), among=False).reasons)
    assert re.search(r"about \d+ more episodes, \d+ days at this pace", reasons)


# Of a life


def test_a_strong_link_is_found_with_all_its_numbers():
    report = asked(LIVED.tallies, LIVED.triggers)
    found = of(report, "caffeine")
    assert found.verdict is Verdict.LINKED
    assert found.interval95[0] < 2.0 < found.interval95[1]
    assert found.always_valid_interval[0] < found.interval95[0] < found.rate_ratio < found.interval95[1]
    assert found.p <= 0.05
    assert found.e > 40
    assert (found.lag, found.lead_p > 0.1) == ("0.5-3 h after", True)
    assert [point.from_h for point in found.lag_curve] == [0, 1, 3, 6]
    assert of(report, "sugar").verdict is not Verdict.LINKED
    assert "caffeine" in report.method.adjusted_for
    assert report.method.hypotheses == 4


def test_the_same_input_says_the_same():
    shuffled = [LIVED.triggers[n] for n in np.random.default_rng(1).permutation(len(LIVED.triggers))]
    one, other = asked(LIVED.tallies, LIVED.triggers), asked(LIVED.tallies, shuffled)
    assert one == other


def test_everything_is_json_without_nan_and_without_a_claim():
    report = asked(LIVED.tallies, [*LIVED.triggers, Trigger("medication", FIRST_S)])
    text = json.dumps([each.fields() for each in report.findings], allow_nan=False)
    assert not re.search(r"\bcaus(e|es|ed|ing)\b", text)
    assert {"trigger", "site", "verdict", "rate_ratio", "interval95", "always_valid_interval", "p", "e", "lag",
            "episodes", "days", "analysable_h", "lead_p", "min_detectable_rr", "reasons"} <= set(
        json.loads(text)[0]
    )  # fmt: skip


def test_fewer_questions_are_easier():
    one = asked(LIVED.tallies, LIVED.triggers, ["caffeine"])
    assert [each.trigger for each in one.findings] == ["caffeine"]
    assert one.method.hypotheses == 1
    assert "tea" in one.method.adjusted_for


def two_sites():
    """The same person at two sites; at the arm nothing ever happens after coffee."""
    other = history(Person(rate_ratios={}), 2)
    both = [LIVED.tallies, other.tallies]

    def joined(name):
        return np.concatenate([getattr(each, name) for each in both])

    sites = np.repeat([0, 1], [len(each) for each in both])
    names = ("start_s", "duration_s", "analysable_s", "twitches")
    rest = (joined("session"), joined("artefacts"), joined("activity"))
    return Tallies(*(joined(name) for name in names), sites, ("calf", "arm"), *rest)


def test_several_sites_are_told_together_and_apart():
    report = asked(two_sites(), LIVED.triggers, ["caffeine"])
    assert [each.site for each in report.findings] == ["all", "calf", "arm"]
    together, calf, arm = (each.rate_ratio for each in report.findings)
    assert arm < together < calf
    assert of(report, "caffeine").verdict is Verdict.LINKED
    assert of(report, "caffeine", "arm").verdict is not Verdict.LINKED
    assert "the site" in report.method.adjusted_for


def test_what_was_logged_for_the_twitching_is_not_compared():
    lived = history(Person(reactive=("random",)), 3)
    log = [
        replace(trigger, reactive=Reactive.YES) if trigger.kind == "random" and n % 2 else trigger
        for n, trigger in enumerate(lived.triggers)
    ]
    found = of(asked(lived.tallies, log), "random")
    assert any("logged for the twitching" in reason for reason in found.reasons)
    assert found.episodes < sum(trigger.kind == "random" for trigger in log)


def test_artefacts_that_change_too_are_a_matter_of_measurement():
    """The same counts as artefacts: whatever is linked is linked with them."""
    tallies = replace(LIVED.tallies, artefacts=LIVED.tallies.twitches)
    found = of(asked(tallies, LIVED.triggers), "caffeine")
    assert found.verdict is Verdict.POSSIBLE
    assert any("artefacts" in reason for reason in found.reasons)


# What cannot be told


def test_nothing_counted():
    empty = LIVED.tallies.chosen(LIVED.tallies.start_s < 0)
    found = of(asked(empty, LIVED.triggers), "caffeine", "all")
    assert (found.verdict, found.rate_ratio, found.p) == (Verdict.CANNOT_TELL, None, None)
    assert "no time could be analysed" in found.reasons


def test_not_a_twitch():
    still = replace(LIVED.tallies, twitches=np.zeros(len(LIVED.tallies)))
    assert "not a twitch was counted" in of(asked(still, LIVED.triggers), "caffeine").reasons


def test_nothing_logged():
    assert asked(LIVED.tallies, []).findings == ()
    found = of(asked(LIVED.tallies, [], ["caffeine"]), "caffeine")
    assert (found.verdict, found.episodes, found.e) == (Verdict.CANNOT_TELL, 0, None)


@pytest.mark.parametrize("days", [1, 3, 6])
def test_a_few_days_give_no_number(days):
    lived = LIVED.until(days)
    for found in asked(lived.tallies, lived.triggers).findings:
        assert found.verdict is Verdict.CANNOT_TELL
        assert found.rate_ratio is None
        assert any("days could be analysed" in reason for reason in found.reasons)


def test_the_same_minute_every_day_cannot_be_told_from_the_clock():
    log = [Trigger("pill", FIRST_S + day * DAY + 8 * 3600) for day in range(60)]
    found = of(asked(LIVED.tallies, [*LIVED.triggers, *log]), "pill")
    assert (found.verdict, found.rate_ratio) == (Verdict.CANNOT_TELL, None)


def test_every_day_at_another_hour_can_be_told():
    rng = np.random.default_rng(1)
    log = [Trigger("pill", FIRST_S + day * DAY + rng.uniform(4, 16) * 3600) for day in range(60)]
    assert of(asked(LIVED.tallies, [*LIVED.triggers, *log]), "pill").rate_ratio is not None


def test_triggers_that_go_together_are_refused_as_a_pair():
    log = [Trigger("biscuit", t.start_s + 60) for t in LIVED.triggers if t.kind == "caffeine"]
    report = asked(LIVED.tallies, [*LIVED.triggers, *log])
    for one, other in (("biscuit", "caffeine"), ("caffeine", "biscuit")):
        found = of(report, one)
        assert (found.verdict, found.rate_ratio) == (Verdict.CANNOT_TELL, None)
        assert any(f"goes with {other}" in reason for reason in found.reasons)


def test_always_exposed_and_never_worn_give_no_number():
    log = [Trigger("noise", FIRST_S - DAY, FIRST_S + 99 * DAY), Trigger("far", FIRST_S - 9 * DAY)]
    for found in asked(LIVED.tallies, [*LIVED.triggers, *log], ["noise", "far"]).findings:
        assert (found.verdict, found.rate_ratio) == (Verdict.CANNOT_TELL, None)


def test_refused_entries_are_in_the_method():
    twice = [replace(LIVED.triggers[0], place=7), replace(LIVED.triggers[0], place=8)]
    report = asked(LIVED.tallies, [*twice, Trigger("tea", NOW + 1, place=9)])
    assert [refusal.place for refusal in report.method.refused] == [8, 9]


def test_an_emergency_is_answered_and_not_computed():
    report = asked(LIVED.tallies, [*LIVED.triggers, Trigger("organophosphate", FIRST_S + DAY)])
    found = of(report, "organophosphate", "all")
    assert found.reasons == (EMERGENCY,)
    assert (found.rate_ratio, found.p, found.e) == (None, None, None)
    assert "organophosphate" not in report.method.adjusted_for


def test_history_and_tests_are_no_triggers():
    log = [*LIVED.triggers, Trigger("als", FIRST_S), Trigger("emg", FIRST_S)]
    assert {each.trigger for each in asked(LIVED.tallies, log).findings} == {"caffeine", "tea", "sugar", "random"}
    (found,) = asked(LIVED.tallies, log, ["als"]).findings
    assert "not a trigger" in found.reasons[0]


@pytest.mark.parametrize("seed", range(24))
def test_whatever_comes_in_an_answer_comes_out(seed):
    """Few days, few lines, extreme counts, gaps, any log: verdicts, JSON without nan, no warning."""
    rng = np.random.default_rng(seed)
    days, kept = int(rng.integers(1, 40)), float(rng.choice([0.01, 0.1, 1.0]))
    tallies = LIVED.until(days).tallies
    tallies = tallies.chosen(rng.random(len(tallies)) < kept)
    tallies = replace(
        tallies,
        twitches=tallies.twitches * rng.choice([0, 1, 1, 1000], len(tallies)),
        session=rng.integers(0, 3, len(tallies)),
        activity=np.where(rng.random(len(tallies)) < 0.5, rng.normal(size=len(tallies)), np.nan),
        artefacts=rng.poisson(0.1, len(tallies)).astype(float),
    )
    kinds = ["tea", "stress", "medication", "caffeine", "caffeine_reduction", "sleep_loss", "organophosphate"]
    log = []
    for place in range(int(rng.integers(0, 120))):
        start_s = FIRST_S + rng.uniform(-2, days + 2) * DAY
        end_s = start_s + rng.exponential(DAY / 2) if rng.random() < 0.4 else None
        dose = float(rng.choice([0, 50, 1e6])) if rng.random() < 0.5 else None
        log.append(Trigger(str(rng.choice(kinds)), start_s, end_s, dose, rng.choice(list(Reactive)), place=place))
    report = correlate(tallies, log, UTC, NOW, [*kinds, "never logged"])
    text = json.dumps([each.fields() for each in report.findings], allow_nan=False)
    assert {found["trigger"] for found in json.loads(text)} == {*kinds, "never logged"}
    assert all(each.reasons for each in report.findings)


# Slow triggers


def courses(*days):
    """From and to which day."""
    return [Trigger("medication", FIRST_S + first * DAY, FIRST_S + last * DAY) for first, last in days]


def test_under_six_switches_nothing_is_computed():
    found = of(asked(LIVED.tallies, [*LIVED.triggers, *courses((2, 12), (27, 37))]), "medication")
    assert (found.verdict, found.p, found.e, found.rate_ratio) == (Verdict.CANNOT_TELL, None, None, None)
    assert any("it went on or off 4 times" in reason for reason in found.reasons)
    assert DRUG_NOTE in found.reasons[-1]


def test_six_switches_are_compared_by_shifts():
    found = of(
        asked(LIVED.tallies, [*LIVED.triggers, *courses((2, 8), (15, 20), (25, 33), (38, 43), (52, 57))]),
        "medication",
    )
    assert found.verdict is Verdict.CANNOT_TELL
    assert 0 < found.p <= 1
    assert math.isfinite(found.rate_ratio)


def test_a_slow_link_is_seen():
    """Three times the twitches on the days of a course."""
    log = courses((3, 7), (9, 17), (21, 24), (31, 37), (40, 42), (47, 55))
    on = np.zeros(len(LIVED.tallies), bool)
    for course in log:
        on |= (LIVED.tallies.start_s >= course.start_s) & (LIVED.tallies.start_s < course.end_s)
    tallies = replace(LIVED.tallies, twitches=LIVED.tallies.twitches * np.where(on, 3, 1))
    found = of(asked(tallies, log), "medication")
    assert found.rate_ratio == pytest.approx(3, rel=0.4)
    assert found.p <= 0.05


# The analysis beneath


def test_clock_and_groups_leave_a_null_alone():
    lived = History(LIVED.tallies, [trigger for trigger in LIVED.triggers if trigger.kind != "sugar"])
    asked_of = [q for kind in ("caffeine", "tea", "random") for q in questions(lived.triggers, kind, NOW)]
    analysis = Analysis(binned(lived.tallies, UTC), asked_of)
    assert analysis.estimate(asked_of[0]).log_rate_ratio == pytest.approx(math.log(2), abs=0.25)
    assert abs(analysis.estimate(asked_of[1]).log_rate_ratio) < 0.35
    assert analysis.wild_p(asked_of[0]) <= 0.01
    assert analysis.checks(asked_of[0]).crossover_agrees
