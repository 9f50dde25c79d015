"""The regression: right against statsmodels, right against itself with days left out, and honest about spells."""

import numpy as np
import pytest
import statsmodels.api as sm

from monitor.correlation.model import Counts, extended, fit, reduced, with_spells


def data(seed=1, days=20, rows=40, columns=3, spells=0.0):
    rng = np.random.default_rng(seed)
    n = days * rows
    day = np.repeat(np.arange(days), rows)
    hours = rng.uniform(0.1, 0.25, n)
    x = rng.normal(size=(n, columns))
    noise = np.zeros(n)
    for i in range(1, n):
        noise[i] = 0.9 * noise[i - 1] + spells * rng.normal()
    mean = hours * np.exp(2 + 0.3 * rng.normal(size=days)[day] + x @ np.linspace(0.3, -0.2, columns) + noise)
    counts = rng.poisson(mean * rng.gamma(2.0, 0.5, n)).astype(float)
    times_h = np.tile(np.arange(rows) / 4, days)
    return Counts(counts, hours, day, day, times_h), x


def peer(rows, x, dispersion, **options):
    dummies = (rows.groups[:, None] == np.unique(rows.groups)).astype(float)
    family = sm.families.NegativeBinomial(alpha=dispersion) if dispersion else sm.families.Poisson()
    model = sm.GLM(rows.counts, np.concatenate((x, dummies), axis=1), family=family, offset=np.log(rows.hours))
    return model.fit(tol=1e-12, maxiter=200, **options)


def lasting(x):
    """Exposures that last an hour."""
    return np.stack([np.convolve(column, np.ones(4) / 2, "same") for column in x.T], axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_statsmodels(seed):
    """Coefficients, means and the variance that the model claims, to 1e-4."""
    rows, x = data(seed)
    ours = fit(rows, x)
    theirs = peer(rows, x, ours.dispersion)
    assert ours.converged
    np.testing.assert_allclose(ours.coefficients, theirs.params[:3], atol=1e-4)
    np.testing.assert_allclose(ours.mean, theirs.fittedvalues, rtol=1e-4)
    np.testing.assert_allclose(np.sqrt(np.diag(ours.bread)), theirs.bse[:3], rtol=1e-4)


def test_poisson_agrees_with_statsmodels():
    rows, x = data()
    np.testing.assert_allclose(fit(rows, x, 0.0).coefficients, peer(rows, x, 0.0).params[:3], atol=1e-4)


def test_day_scores_agree_with_statsmodels():
    """The meat of the sandwich, by its CR0 variance; Poisson, where both take the same bread."""
    rows, x = data()
    ours = fit(rows, x, 0.0)
    theirs = peer(rows, x, 0.0, cov_type="cluster", cov_kwds={"groups": rows.days, "use_correction": False})
    meat = ours.day_scores.T @ ours.day_scores
    np.testing.assert_allclose(np.sqrt(np.diag(ours.bread @ meat @ ours.bread)), theirs.bse[:3], rtol=1e-3)


def test_cr3_is_about_a_jackknife_over_days():
    """It leaves each day out by one formula; a jackknife does so by fitting anew."""
    rows, x = data(days=12)
    ours = fit(rows, x)
    left_out = []
    for day in range(12):
        kept = rows.days != day
        parts = (part[kept] for part in (rows.counts, rows.hours, rows.groups, rows.days, rows.times_h))
        left_out.append(fit(Counts(*parts), x[kept], ours.dispersion).coefficients)
    jackknife = 11 / 12 * ((np.array(left_out) - ours.coefficients) ** 2).sum(axis=0)
    np.testing.assert_allclose(np.diag(ours.covariance), jackknife, rtol=0.1)


def test_spells_are_found_and_sharpen():
    """With correlated noise the weighed estimate varies less; its error is right."""
    plain, weighed, errors = [], [], []
    for seed in range(40):
        rows, x = data(seed, spells=0.3)
        x = lasting(x)
        plain.append(fit(rows, x).coefficients)
        better = with_spells(fit(rows, x))
        assert better.spells.variance > 0.05
        weighed.append(better.coefficients)
        errors.append(np.sqrt(np.diag(better.covariance)))
    assert np.std(weighed, axis=0).mean() < 0.97 * np.std(plain, axis=0).mean()
    assert np.mean(errors) == pytest.approx(np.std(weighed, axis=0).mean(), rel=0.3)


def test_independent_rows_get_hardly_any_spells():
    rows, x = data(spells=0.0, days=60)
    alone = fit(rows, x)
    weighed = with_spells(alone)
    assert weighed.spells.variance < 0.05
    np.testing.assert_allclose(weighed.coefficients, alone.coefficients, atol=0.02)


def test_a_column_less_and_again_is_the_same():
    rows, x = data(spells=0.3)
    once = with_spells(fit(rows, x))
    again = extended(reduced(once, 2), x[:, 2:])
    np.testing.assert_allclose(again.coefficients, once.coefficients, atol=1e-3)
    np.testing.assert_allclose(again.covariance, once.covariance, rtol=1e-2)


def test_columns_that_say_the_same_share_their_effect():
    """No error, no huge numbers."""
    rows, x = data()
    twice = fit(rows, np.concatenate((x, x[:, :1]), axis=1))
    alone = fit(rows, x)
    assert twice.coefficients[[0, 3]].sum() == pytest.approx(alone.coefficients[0], abs=1e-3)
    assert np.isfinite(twice.covariance).all()


def test_effective_days_are_those_with_information():
    """A column that varies on 5 days of 20 has about 5."""
    rows, x = data(days=20)
    x[rows.days >= 5, 0] = 0
    fitted = fit(rows, x)
    assert 3.5 < fitted.effective_days(0) <= 5.01
    assert 15 < fitted.effective_days(1) <= 20


def test_rows_out_of_order_are_refused():
    with pytest.raises(ValueError, match="order"):
        Counts(np.ones(2), np.ones(2), np.array([1, 0]), np.array([0, 0]), np.zeros(2))
