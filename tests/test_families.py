"""What holds for every family."""

import inspect
from random import Random

import pytest

from benchmarks.fuzz import CASES, ENDLESS, SLACK, fuzz, growth
from firmware_interface.codecs import Write
from firmware_interface.codecs.families import FAMILIES, recognise
from firmware_interface.codecs.open_profile import SERVICE, OpenProfile
from firmware_interface.codecs.polar import Polar

EVERY = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.FAMILY)


@EVERY
def test_a_family_says_what_it_is(family):
    """For a person who scans: a name, what it measures, how to make it ready."""
    assert family.FAMILY
    assert family.OFFERS
    assert family.ADVICE
    assert "\n" not in family.ADVICE
    assert family.START_GRACE_S > 0


@EVERY
def test_a_family_names_characteristics_in_full(family):
    """Lower case and 128 bit, as bleak gives them."""
    named = [*family.NOTIFY, *(write.characteristic for write in family.STOP)]
    assert all(len(uuid) == 36 and uuid == uuid.lower() for uuid in named)
    assert all(isinstance(write, Write) for write in family.STOP)
    assert family.SAMPLES in family.NOTIFY


@EVERY
def test_a_family_converses(family):
    """Both conversations are generators, begun by whoever holds them."""
    assert inspect.isgenerator(family.introduce("name"))


def test_families_are_told_apart():
    """Each by its own advertisement; none claims what has no name and no service."""
    assert recognise((SERVICE,), "Polar H10 1") is OpenProfile
    assert recognise((), "Polar H10 1") is Polar
    assert recognise((), None) is None
    assert recognise((), "Kitchen lamp") is None


def test_each_family_is_among_what_is_fuzzed():
    assert {type(make()[0]) for make in CASES.values()} >= set(FAMILIES)


@pytest.mark.parametrize("name", CASES)
def test_any_payload_gives_values_or_a_packet_error(name):
    """The same as `benchmarks.fuzz`, in small."""
    outcomes = fuzz(*CASES[name](), 2000, Random(7))
    assert sum(outcomes.values()) == 2000
    assert outcomes["values"] > 10
    assert outcomes["PacketError"] > 10


@pytest.mark.parametrize("name", ENDLESS)
def test_time_is_linear(name):
    """Eight times as long takes no much more than eight times as long; the best of three on a loaded machine."""
    assert min(growth(name) for _ in range(2)) < SLACK
