"""The catalogue: complete, safe, and never an authority on what makes whom twitch."""

import re
from dataclasses import fields

import pytest

from monitor.correlation.catalogue import CATALOGUE, DRUG_NOTE, ENTRIES, SITES, Form, entry

NAMED_BY_THE_USER = [
    "stress",
    "caffeine",
    "caffeine_reduction",
    "sleep",
    "exercise",
    "dehydration",
    "fluids",
    "magnesium",
    "calcium",
    "vitamin_d",
    "diuretic",
    "corticosteroid",
    "estrogen",
    "benzodiazepine_reduction",
    "organophosphate",
    "cold",
    "alcohol",
    "illness",
    "diet",
    "supplement",
    "medication",
    "emg",
    "nerve_conduction",
    "biopsy",
    "blood_test",
    "reflex_test",
    "als",
    "motor_neuron_disease",
    "multiple_sclerosis",
    "cervical_spondylosis",
    "nerve_injury",
    "head_injury",
    "muscle_tightness",
]
DRUGS = [
    "diuretic",
    "corticosteroid",
    "estrogen",
    "benzodiazepine",
    "benzodiazepine_reduction",
    "medication",
    "supplement",
    "magnesium",
    "calcium",
    "vitamin_d",
]


@pytest.mark.parametrize("kind", NAMED_BY_THE_USER)
def test_all_that_was_named_is_there(kind):
    assert CATALOGUE[kind].id == kind


def test_ids_are_unique_and_plain():
    assert len(CATALOGUE) == len(ENTRIES)
    assert all(re.fullmatch(r"[a-z_]+", kind) for kind in CATALOGUE)


@pytest.mark.parametrize("kind", DRUGS)
def test_drugs_say_not_to_change_a_dose(kind):
    assert DRUG_NOTE in CATALOGUE[kind].safety


def test_whatever_can_be_asked_has_a_source():
    assert all(each.source for each in ENTRIES if each.testable)


def test_tests_history_and_emergencies_cannot_be_asked():
    assert not any(CATALOGUE[kind].testable for kind in ("emg", "als", "head_injury", "organophosphate"))
    assert "emergency number" in CATALOGUE["organophosphate"].safety


def test_nothing_is_said_to_cause_anything():
    for each in ENTRIES:
        words = " ".join(str(getattr(each, field.name)) for field in fields(each))
        assert not re.search(r"\bcaus(e|es|ed|ing)\b", words)


def test_a_kind_of_ones_own_has_a_plain_default():
    assert entry("sauna").form is Form.INSTANT
    assert entry("sauna", lasting=True).form is Form.INTERVAL


def test_a_reduction_knows_what_it_derives_from():
    derived = [each for each in ENTRIES if each.derived_from]
    assert {each.derived_from for each in derived} <= set(CATALOGUE)
    assert all(each.form is Form.REDUCTION for each in derived)


def test_every_site_has_a_place():
    assert {"eye", "face", "tongue", "arm", "thigh", "calf"} <= set(SITES)
