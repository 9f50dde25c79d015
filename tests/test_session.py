"""A session from the emulated wearable to the twitches, against the truth."""

import pytest

from benchmarks.session import run


def assert_exact(session):
    assert session.received + session.missing == session.sent
    assert 0.5 < session.analysable_share <= 1


@pytest.fixture(scope="module")
def two_minutes():
    """Two minutes with a twentieth of the packets lost."""
    return run(2, 0.05, 1)


def test_the_account_is_exact_to_the_sample(two_minutes):
    """What was received and what is missing is what was sent, of which a twentieth was lost."""
    assert_exact(two_minutes)
    assert two_minutes.missing == pytest.approx(0.05 * two_minutes.sent, rel=0.5)


def test_what_is_reported_is_true(two_minutes):
    """A precision of nine tenths."""
    assert two_minutes.reported >= 20
    assert two_minutes.precision >= 0.9


def test_what_must_be_found_is_found(two_minutes):
    """A recall of nine tenths."""
    assert two_minutes.sought >= 20
    assert two_minutes.recall >= 0.9


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05])
def test_ten_minutes(loss):
    """The same at every loss, on another arm."""
    session = run(10, loss, 2)
    assert_exact(session)
    assert session.recall >= 0.9
    assert session.precision >= 0.9
    assert (session.missing == 0) == (loss == 0)
