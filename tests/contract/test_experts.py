"""What every registered family of experts promises."""

import inspect
import pickle
from typing import NamedTuple

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chisquare, kstest, norm
from sklearn.base import clone

import naive
from helpers import (
    BATTERY,
    assert_close,
    assert_derivative,
    distribution_function,
    expert_of,
    frozen,
    lower_of,
    perturbed,
    random_expert,
    twin,
)
from smoe.experts import Expert, Support
from smoe.features import Rows, design
from smoe.gates import SoftmaxGate
from smoe.mixture import MixtureOfExperts
from smoe.params import chart_of, flatten, permute, tree_sum, unflatten

M = 40
every = pytest.mark.parametrize("name", BATTERY)
sizes = pytest.mark.parametrize("k, d", [(1, 1), (2, 1), (3, 2)])


class Case(NamedTuple):
    expert: Expert
    X: np.ndarray
    Z: np.ndarray
    y: np.ndarray
    params: NamedTuple
    resp: np.ndarray

    def stats(self, resp=None, rows=slice(None), params=None):
        resp = self.resp if resp is None else resp
        params = self.params if params is None else params
        return self.expert.suffstats(Rows(self.Z[:, rows], self.y[..., rows]), params, resp[:, rows])

    def curvature(self, rows=slice(None)):
        resp, stats = self.resp[:, rows], self.stats(rows=rows)
        return self.expert.curvature(Rows(self.Z[:, rows], self.y[..., rows]), self.params, resp, stats)

    def expected(self, params, resp=None):
        """Expected log-likelihood, row by row and expert by expert."""
        resp = self.resp if resp is None else resp
        return float((resp * self.expert.log_prob(Rows(self.Z, self.y), params)).sum())

    def own(self, vector):
        """Entries in flat order, (n_experts, n_entries)."""
        return np.reshape(vector, (len(self.params[0]), -1))


def make(name, k, d, rng, m=M):
    expert, X = expert_of(name), rng.normal(size=(d, m))
    spread = 0.3 if expert.takes_events else 1.0  # exponentials of what is over a scale leave differences no digits
    truth, params = (random_expert(expert, k, d, rng, spread) for _ in range(2))
    Z = design(X)
    y = expert.sample(Rows(Z), rng.integers(k, size=m), truth, rng)
    resp = np.ascontiguousarray(rng.dirichlet(np.ones(k), m).T) * rng.uniform(0.5, 2.0, m)
    return Case(expert, X, Z, y, params, resp)


def at(case, row, k):
    """Log density of expert k at one row, as a function of y."""

    def log_density(y):
        y = np.atleast_1d(y)
        return case.expert.log_prob(Rows(np.repeat(case.Z[:, [row]], len(y), axis=1), y), case.params)[k]

    return log_density


def asking(case, *kinds):
    """Skip what is not about this kind of response."""
    if case.expert.support.kind not in kinds:
        pytest.skip(f"responses are {case.expert.support.kind}")
    return case


def whole(case, row, k):
    """Whole numbers, all that matter, and their probabilities under expert k at one row."""
    mean, sd = moments(case, row, k)
    y = np.arange(np.ceil(mean + 60 * sd + 20))
    return y, np.exp(at(case, row, k)(y))


def without_far_tails(case):
    """Skip a family with much of its mass beyond any grid; its own tests ask scipy."""
    if "inverse_df" in case.expert.fields:
        pytest.skip("heavy tails")
    return case


def moments(case, row, k):
    mean, variance = case.expert.mean(Rows(case.Z), case.params), case.expert.variance(Rows(case.Z), case.params)
    return mean[k, row], np.sqrt(variance[k, row])


@every
@sizes
def test_log_prob_equals_its_twin(name, k, d, rng):
    case = make(name, k, d, rng)
    model = twin(MixtureOfExperts(SoftmaxGate(), case.expert))
    wanted = [model.log_density(v, x, case.params) for v, x in zip(case.y.T, case.X.T, strict=True)]
    found = case.expert.log_prob(Rows(case.Z, case.y), case.params)
    np.testing.assert_allclose(found, np.transpose(wanted), rtol=1e-11, atol=1e-12)


@every
def test_density_has_the_moments_that_it_states(name, rng):
    case = asking(make(name, 3, 2, rng), "real", "integers")
    for row, k in np.ndindex(2, 3):
        mean, sd = moments(case, row, k)
        density, low = at(case, row, k), case.expert.support.low

        def integral(power, mean=mean, sd=sd, density=density, low=low):
            ends = ((low - mean) / sd, np.inf)
            return quad(lambda t: sd * t**power * np.exp(density(mean + sd * t)[0]), *ends, limit=200)[0]

        if case.expert.support.kind == "integers":
            y, pmf = whole(case, row, k)

            def integral(power, mean=mean, sd=sd, y=y, pmf=pmf):
                return pmf @ ((y - mean) / sd) ** power

        np.testing.assert_allclose([integral(0), integral(1), integral(2)], [1, 0, 1], atol=1e-7)


@every
def test_sample_follows_the_density(name, rng):
    case, n = without_far_tails(asking(make(name, 3, 2, rng), "real", "integers", "classes")), 4000
    label = np.repeat(np.arange(3), n)
    Z = np.repeat(case.Z[:, [0]], 3 * n, axis=1)
    y = case.expert.sample(Rows(Z), label, case.params, rng)
    kind = case.expert.support.kind
    for k in range(3):
        if kind != "real":
            values = np.arange(3.0) if kind == "classes" else whole(case, 0, k)[0]
            p, drawn = np.exp(at(case, 0, k)(values)), y[label == k]
            assert np.all(np.isin(drawn, values))
            common = values[p * n > 5]
            observed = np.array([np.sum(drawn == v) for v in common])
            expected = n * p[p * n > 5]
            assert len(common) < 2 or chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3
            continue
        cdf, end = distribution_function(at(case, 0, k), *moments(case, 0, k), case.expert.support.low)
        assert abs(end - 1) < (1e-9 if case.expert.support.low == -np.inf else 1e-3)
        assert kstest(y[label == k], cdf).pvalue > 1e-3


@every
def test_cdf_is_the_integral_of_the_density(name, rng):
    case = asking(without_far_tails(make(name, 3, 2, rng)), "real")
    low = case.expert.support.low
    for k in range(3):
        mean, sd = moments(case, 0, k)
        y = mean + sd * np.linspace(-4, 4, 9)
        y = y[y > low]
        Z = np.repeat(case.Z[:, [0]], len(y), axis=1)
        found = case.expert.cdf(Rows(Z, y), case.params)[k]
        np.testing.assert_allclose(found, distribution_function(at(case, 0, k), mean, sd, low)[0](y), atol=1e-6)
        np.testing.assert_allclose(case.expert.cdf(Rows(Z, y), case.params, upper=True)[k], 1 - found, atol=1e-13)
        for upper in (False, True):
            tail = case.expert.cdf(Rows(Z, y), case.params, upper)[k]
            told = tail < 1 - 1e-6  # close to one, a probability has few digits left
            back = case.expert.ppf(Rows(Z), tail, case.params, upper)[k]
            np.testing.assert_allclose(back[told], y[told], rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(case.expert.log_cdf(Rows(Z, y), case.params, upper)[k], np.log(tail), rtol=1e-9)


@every
def test_cdf_of_whole_numbers_is_the_sum_of_the_probabilities(name, rng):
    case = asking(make(name, 3, 2, rng), "integers")
    for k in range(3):
        y, pmf = whole(case, 0, k)
        Z = np.repeat(case.Z[:, [0]], len(y), axis=1)
        below, above = (case.expert.cdf(Rows(Z, y), case.params, upper)[k] for upper in (False, True))
        np.testing.assert_allclose(below, np.cumsum(pmf), rtol=1e-9)
        np.testing.assert_allclose(above, 1 - below, atol=1e-12)
        np.testing.assert_allclose(
            case.expert.log_cdf(Rows(Z, y), case.params)[k], np.log(below), rtol=1e-9, atol=1e-15
        )
        q = rng.random(len(y))
        found = case.expert.ppf(Rows(Z), q, case.params)[k]
        np.testing.assert_array_equal(found, np.argmax(below >= q[:, None], axis=1))
        np.testing.assert_array_equal(
            case.expert.ppf(Rows(Z), q, case.params, True)[k], np.argmax(above <= q[:, None], axis=1)
        )


@every
def test_classes_have_all_the_probability(name, rng):
    case = asking(make(name, 3, 2, rng), "classes")
    log_proba = case.expert.class_log_proba(Rows(case.Z), case.params)
    np.testing.assert_allclose(np.exp(log_proba).sum(axis=1), 1, rtol=1e-14)
    for c in range(log_proba.shape[1]):
        found = case.expert.log_prob(Rows(case.Z, np.full(M, float(c))), case.params)
        np.testing.assert_allclose(found, log_proba[:, c], rtol=1e-12)


@every
def test_responses_lie_in_the_support(name, rng):
    case = make(name, 3, 2, rng)
    assert isinstance(case.expert.support, Support)
    if case.expert.support.kind in ("real", "integers"):
        assert case.expert.support.contains(case.y).all()
    assert np.all(np.isfinite(case.expert.log_prob(Rows(case.Z, case.y), case.params)))


@every
def test_normal_parts_are_the_moments(name, rng):
    case = asking(make(name, 3, 2, rng), "real", "integers")
    parts = case.expert.normal(Rows(case.Z), case.params)
    if parts is not None:
        np.testing.assert_allclose(parts[0], case.expert.mean(Rows(case.Z), case.params), rtol=1e-14)
        np.testing.assert_allclose(parts[1] ** 2, case.expert.variance(Rows(case.Z), case.params), rtol=1e-14)
        density = norm.logpdf(case.y, *parts)
        np.testing.assert_allclose(
            case.expert.log_prob(Rows(case.Z, case.y), case.params), density, rtol=1e-9, atol=1e-9
        )


def along_the_m_step(case):
    """Expected log-likelihoods: a step that is not exact may be too long, and is halved by EM until it climbs."""
    chart = chart_of(case.expert, case.params)
    here = chart.pack(case.params)
    step = chart.pack(case.expert.m_step(case.stats(), case.params)) - here
    shares = [1.0] if case.expert.exact_m_step else 0.5 ** np.arange(12)
    return [case.expected(chart.unpack(here + t * step)) for t in shares]


@every
@sizes
def test_m_step_climbs(name, k, d, rng):
    case = make(name, k, d, rng)
    assert max(along_the_m_step(case)) > case.expected(case.params)


@every
@sizes
def test_m_step_is_the_maximum(name, k, d, rng):
    case = make(name, k, d, rng)
    if not case.expert.exact_m_step:
        pytest.skip("the M-step is a step up")
    best = frozen(case.expert.m_step(case.stats(), case.params))
    top = case.expected(best)
    assert top > case.expected(case.params)
    for spread in np.repeat([1.0, 1e-1, 1e-2, 1e-3], 10):
        assert case.expected(perturbed(best, lower_of(case.expert), rng, spread)) < top
    score = flatten(case.expert.score(case.stats(params=best), best))
    np.testing.assert_allclose(score, 0, atol=1e-9 * M)


def test_gaussian_m_step_is_least_squares(rng):
    case = make("gaussian", 3, 2, rng)
    found = case.expert.m_step(case.stats(), case.params)
    for one, other in zip(found, naive.gaussian_m_step(case.X.T, case.y, case.resp.T, np.ones(M)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


@every
@sizes
def test_score_is_the_derivative(name, k, d, rng):
    case = make(name, k, d, rng)
    found = flatten(case.expert.score(case.stats(), case.params))
    assert_derivative(found, naive.gradient(case.expected, case.params, step=1e-4), 1e-8)


@every
@sizes
def test_row_scores_are_the_derivatives(name, k, d, rng):
    case = make(name, k, d, rng)
    rows = naive.gradient(lambda p: case.expert.log_prob(Rows(case.Z, case.y), p), case.params, step=1e-4)
    rows = rows.reshape(k, -1, k, M)
    wanted = np.array([rows[i, :, i] for i in range(k)])
    assert_derivative(case.expert.row_scores(Rows(case.Z, case.y), case.params), wanted, 1e-8)


@every
@sizes
def test_curvature_is_the_second_derivative(name, k, d, rng):
    case = make(name, k, d, rng)
    bend = naive.hessian(case.expected, case.params, step=1e-3)
    width = len(bend) // k
    wanted = [-bend[i * width : (i + 1) * width, i * width : (i + 1) * width] for i in range(k)]
    assert_derivative(case.curvature(), np.array(wanted), 1e-6)


@every
def test_statistics_add_up_over_blocks(name, rng):
    case, cuts = make(name, 3, 2, rng), [slice(0, 1), slice(1, 25), slice(25, M)]
    assert_close(tree_sum([case.stats(rows=s) for s in cuts]), case.stats(), rtol=1e-11, atol=1e-11)
    parts = [case.curvature(s) for s in cuts]
    whole = case.curvature()
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-11, atol=1e-11)


@every
def test_weight_two_is_the_row_twice(name, rng):
    case, twice = make(name, 3, 2, rng), np.repeat(np.arange(M), 2)
    doubled = case.expert.suffstats(Rows(case.Z[:, twice], case.y[..., twice]), case.params, case.resp[:, twice])
    weighted = case.stats(2 * case.resp)
    assert_close(doubled, weighted, rtol=1e-12, atol=1e-12)
    assert_close(case.expert.m_step(doubled, case.params), case.expert.m_step(case.stats(), case.params), rtol=1e-10)


@every
def test_an_empty_expert_keeps_its_parameters(name, rng):
    case = make(name, 3, 2, rng)
    resp = case.resp.copy()
    resp[1] = 0.0
    after = case.expert.m_step(case.stats(resp), case.params)
    for field, before in zip(after, case.params, strict=True):
        if np.shape(field)[:1] == (3,):  # not what all share
            np.testing.assert_allclose(field[1], before[1], rtol=1e-14)
        assert np.all(np.isfinite(field))


@every
def test_m_step_with_few_rows_or_collinear_columns_does_not_fall(name, rng):
    case = make(name, 2, 2, rng)
    resp = case.resp.copy()
    resp[1, 1:] = 0.0  # one row
    flat = case.Z.copy()
    flat[1] = 2 * flat[0] - 1
    for changed in (case._replace(resp=resp), case._replace(Z=flat)):
        assert np.all(np.isfinite(flatten(changed.expert.m_step(changed.stats(), changed.params))))
        assert max(along_the_m_step(changed)) > changed.expected(changed.params)


@every
@sizes
def test_unscale_changes_the_density_by_the_unit_of_y(name, k, d, rng):
    case = make(name, k, d, rng)
    shift, scale = rng.normal(size=d), rng.uniform(0.5, 3.0, d)
    y_shift, y_scale = {"affine": (-1.7, 2.5), "positive": (0.0, 2.5), "none": (0.0, 1.0)}[case.expert.units]
    users = frozen(case.expert.unscale(case.params, shift, scale, y_shift, y_scale))
    Z = design(scale[:, None] * case.X + shift[:, None])
    found = case.expert.log_prob(Rows(Z, y_scale * case.y + y_shift), users)
    wanted = case.expert.log_prob(Rows(case.Z, case.y), case.params) - np.log(y_scale) * len(np.atleast_2d(case.y))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-10)
    back = case.expert.unscale(users, -shift / scale, 1 / scale, -y_shift / y_scale, 1 / y_scale)
    assert_close(back, case.params, rtol=1e-11, atol=1e-12)


@every
def test_relabelling(name, rng):
    case, order = make(name, 3, 2, rng), np.array([2, 0, 1])
    moved = permute(case.params, order)
    found = case.expert.log_prob(Rows(case.Z, case.y), moved)
    np.testing.assert_array_equal(found, case.expert.log_prob(Rows(case.Z, case.y), case.params)[order])
    after = case.expert.m_step(case.stats(case.resp[order], params=moved), moved)
    assert_close(after, permute(case.expert.m_step(case.stats(), case.params), order), rtol=1e-10)


@every
def test_at_bound_names_the_experts(name, rng):
    case = make(name, 3, 2, rng)
    assert not case.expert.at_bound(case.params).any()
    for field, bound in lower_of(case.expert).items():
        if bound == 0:  # open: nothing lies on it
            continue
        values = np.array(getattr(case.params, field))
        values[1] = bound
        touching = case.expert.at_bound(case.params._replace(**{field: values}))
        np.testing.assert_array_equal(touching, [False, True, False])


@every
def test_m_step_stays_above_the_bound(name, rng):
    case = make(name, 2, 1, rng)
    if case.expert.units != "affine" or not case.expert.exact_m_step:
        pytest.skip("a row at its mean does not make the likelihood infinite, or not in one step")
    exact = case._replace(y=case.expert.mean(Rows(case.Z), case.params)[0])  # every row on expert 0
    after = exact.expert.m_step(exact.stats(), exact.params)
    for field, bound in lower_of(case.expert).items():
        assert np.all(getattr(after, field) >= bound)
    assert exact.expert.at_bound(after).all() == bool(lower_of(case.expert))


@every
def test_from_elements_goes_through_the_rows(name, rng):
    case = make(name, 3, 2, rng)
    rows = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    params = case.expert.from_elements(Rows(case.Z, case.y), np.ones(M), rows)
    assert [np.shape(f) for f in params] == [np.shape(f) for f in case.params]
    for field, bound in lower_of(case.expert).items():
        assert np.all(getattr(params, field) > bound)
    assert np.all(np.isfinite(flatten(params)))
    for k, r in enumerate(rows if case.expert.units == "affine" else []):  # else only near them
        np.testing.assert_allclose(
            case.expert.mean(Rows(case.Z), params)[k][..., r], case.y[..., r], rtol=1e-9, atol=1e-9
        )


@every
def test_units_are_positive(name, rng):
    case = make(name, 3, 2, rng)
    units = case.expert.natural_units(case.params)
    assert [np.shape(f) for f in units] == [np.shape(f) for f in case.params]
    assert np.all(flatten(units) > 0)
    assert_close(unflatten(flatten(units), case.params), units, rtol=0)


@every
def test_an_expert_is_a_recipe(name):
    expert = expert_of(name)
    names = set(inspect.signature(type(expert).__init__).parameters) - {"self", "args", "kwargs"}
    assert isinstance(expert, Expert) and set(expert.get_params(deep=False)) == names
    again = pickle.loads(pickle.dumps(expert))
    assert type(again) is type(expert) and repr(again) == repr(expert) == repr(clone(expert))
    assert vars(expert) == expert.get_params(deep=False)
