"""Predictive distributions of counts, positive numbers, classes and vectors, against sums and laws of scipy."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.special import logsumexp

from families import (
    GammaExpert,
    Line,
    NegativeBinomialExpert,
    Plane,
    PoissonExpert,
    SizedLine,
    VectorNormalExpert,
    three_classes,
)
from smoe.distribution import (
    ClassMixture,
    ConditionalMixture,
    HighestDensityIntegers,
    IntegerMixture,
    RealMixture,
    VectorMixture,
)
from smoe.experts import GaussianExpert, GaussianExpertParams
from smoe.gates import LinearGateParams, SoftmaxGate
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.rows import Blocks

LEVELS = np.concatenate([[1e-20, 1e-12, 1e-6, 0.025], np.arange(0.05, 1.0, 0.05), [0.975, 1 - 1e-6, 1 - 1e-9]])


def mixed(expert, params, X, gate_slope=0.0, log_weight=None):
    """A mixture on rows X of one column."""
    k = len(params[0])
    log_weight = np.zeros(k) if log_weight is None else np.asarray(log_weight, dtype=float)
    gate = LinearGateParams(gate_slope * np.arange(k, dtype=float)[:, None], log_weight)
    model = MixtureOfExperts(SoftmaxGate(), expert)
    return ConditionalMixture(model, MoEParams(gate, params), Blocks.plain(model, np.asarray(X, dtype=float)))


class Counts:
    """A mixture of scipy's laws of counts with constant weights, the same in every row."""

    def __init__(self, weight, mean, size=None, n=1):
        self.weight, mean = np.asarray(weight, dtype=float), np.asarray(mean, dtype=float)
        flat, intercept = np.zeros((len(mean), 1)), np.log(mean)
        if size is None:
            self.law, expert, params = stats.poisson(mean), PoissonExpert(), Line(flat, intercept)
        else:
            size = np.asarray(size, dtype=float)
            self.law = stats.nbinom(size, size / (size + mean))
            expert, params = NegativeBinomialExpert(), SizedLine(flat, intercept, size)
        self.mixture = mixed(expert, params, np.zeros((n, 1)), log_weight=np.log(self.weight))

    def sum(self, function, y):
        with np.errstate(invalid="ignore"):
            return function(np.asarray(y, dtype=float)[..., None]) @ self.weight

    def pmf(self, y):
        return self.sum(self.law.pmf, y)

    def cdf(self, y):
        return self.sum(self.law.cdf, y)

    @property
    def all(self):
        """Every whole number that matters, and their probabilities."""
        y = np.arange(20.0 * self.law.isf(1e-12).max() + 20)
        y = y[: np.argmax(self.sum(self.law.sf, y) < 1e-25)]
        return y, self.pmf(y)


COUNTS = {
    "one": Counts([1.0], [3.7]),
    "two humps": Counts([0.4, 0.6], [1.0, 20.0]),
    "rare": Counts([1 - 3e-9, 3e-9], [2.0, 500.0]),
    "hardly any": Counts([0.5, 0.5], [1e-9, 0.1]),
    "overdispersed": Counts([0.3, 0.7], [2.0, 40.0], [0.5, 3.0]),
    "heavy": Counts([1.0], [5.0], [0.05]),
}
counts = pytest.mark.parametrize("case", COUNTS.values(), ids=COUNTS)


# Whole numbers --------------------------------------------------------------------------------------------------------


@counts
def test_probabilities_of_counts(case):
    y = np.array([-np.inf, -3, -1, -0.5, 0, 0.5, 1, 2.5, 7, 33, 1e6, np.inf])
    mixture, whole = case.mixture, np.isfinite(y) & (y >= 0) & (np.floor(y) == y)
    assert type(mixture) is IntegerMixture
    np.testing.assert_allclose(mixture.pmf(y[None])[0], np.where(whole, case.pmf(y), 0.0), rtol=1e-12)
    np.testing.assert_array_equal(mixture.pmf(y[None]), mixture.pdf(y[None]))
    np.testing.assert_array_equal(mixture.logpmf(y[None]), mixture.logpdf(y[None]))
    np.testing.assert_allclose(mixture.cdf(y[None])[0], case.cdf(y), rtol=1e-12)
    np.testing.assert_allclose(mixture.sf(y[None])[0], case.sum(case.law.sf, y), rtol=1e-12)
    with np.errstate(divide="ignore"):
        logs = logsumexp(case.law.logcdf(y[:, None]), axis=1, b=case.weight)
        np.testing.assert_allclose(mixture.logcdf(y[None])[0], logs, rtol=1e-12, atol=1e-15)
        logs = logsumexp(case.law.logsf(y[:, None]), axis=1, b=case.weight)
    np.testing.assert_allclose(mixture.logsf(y[None])[0], logs, rtol=1e-12, atol=1e-15)
    assert abs(mixture.pmf(case.all[0][None]).sum() - 1) < 1e-12


@counts
def test_quantiles_of_counts_by_brute_force(case):
    y, pmf = case.all
    below, above = np.cumsum(pmf), case.sum(case.law.sf, y)
    found = case.mixture.ppf(LEVELS[None])[0]
    wanted = [np.argmax(below >= q) if q <= 0.5 else np.argmax(above <= 1 - q) for q in LEVELS]
    np.testing.assert_array_equal(found, wanted)
    found = case.mixture.isf(LEVELS[None])[0]
    wanted = [np.argmax(above <= q) if q <= 0.5 else np.argmax(below >= 1 - q) for q in LEVELS]
    np.testing.assert_array_equal(found, wanted)
    assert np.all(case.cdf(case.mixture.median()) >= 0.5) and np.all(case.cdf(case.mixture.median() - 1) < 0.5)
    low, high = case.mixture.interval(0.9)[0]
    assert case.cdf(low) >= 0.05 > case.cdf(low - 1) and case.sum(case.law.sf, high) <= 0.05


@counts
def test_quantiles_undo_the_distribution_function(case):
    """A step that misses a level by rounding has reached it."""
    y, pmf = case.all
    y = y[(pmf > 1e-9) & (case.cdf(y) < 1 - 1e-9)]
    y = np.append(y[:30], y[30 :: 1 + len(y) // 30])
    np.testing.assert_array_equal(case.mixture.ppf(case.mixture.cdf(y[None]))[0], y)
    np.testing.assert_array_equal(case.mixture.isf(case.mixture.sf(y[None]))[0], y)
    for factor in (1 - 2**-53, 1 + 2**-53):
        np.testing.assert_array_equal(case.mixture.ppf(np.minimum(case.cdf(y) * factor, 1.0)[None])[0], y)


def test_quantiles_of_one_law_are_scipys():
    rng = np.random.default_rng(0)
    mean, q = rng.lognormal(2, 2, 200), rng.random(200)
    mixture = mixed(PoissonExpert(), Line(np.ones((1, 1)), np.zeros(1)), np.log(mean)[:, None])
    np.testing.assert_array_equal(mixture.ppf(q), stats.poisson.ppf(q, mean))
    np.testing.assert_array_equal(mixture.isf(q), stats.poisson.isf(q, mean))


def test_levels_zero_and_one_are_the_ends_of_the_support():
    mixture = COUNTS["two humps"].mixture
    np.testing.assert_array_equal(mixture.ppf([[0.0, 1.0]]), [[0.0, np.inf]])
    np.testing.assert_array_equal(mixture.isf([[0.0, 1.0]]), [[np.inf, 0.0]])


def test_quantiles_of_huge_counts():
    case = Counts([0.5, 0.5], [1.5e9, 3e9], [2.0, 50.0])
    for q in (1e-6, 0.3, 0.9, 1 - 1e-9):
        y = case.mixture.ppf(q)[0]
        assert y == np.floor(y)
        assert case.sum(case.law.sf, y) <= (1 - q) * (1 + 1e-6) and case.sum(case.law.sf, y - 1) >= (1 - q) * (1 - 1e-6)
    y = case.mixture.mode()[0]
    assert case.pmf(y) >= case.pmf(y + np.array([-1e6, -1e4, 1e4, 1e6])).max() * (1 - 1e-7)
    found = case.mixture.hdr(0.9)
    mass = sum(case.cdf(b) - case.cdf(a - 1) for a, b in found.runs)
    assert mass == pytest.approx(0.9, abs=1e-6)
    np.testing.assert_allclose(case.pmf(found.runs), found.level[0], rtol=1e-4)
    assert found.sizes[0] == (found.runs[:, 1] - found.runs[:, 0] + 1).sum()


class Misled(PoissonExpert):
    """Its own quantiles are wrong; the mixture's must not be."""

    def ppf(self, rows, q, params, upper=False):
        return super().ppf(rows, q, params, upper) + 3 * (-1.0) ** np.arange(len(params.intercept))[:, None]


def test_quantiles_do_not_trust_the_experts():
    case = COUNTS["two humps"]
    params = Line(np.zeros((2, 1)), np.log([1.0, 20.0]))
    misled = mixed(Misled(), params, np.zeros((1, 1)), log_weight=np.log(case.weight))
    np.testing.assert_array_equal(misled.ppf(LEVELS[None]), case.mixture.ppf(LEVELS[None]))


@counts
def test_modes_and_likeliest_sets_of_counts(case):
    y, pmf = case.all
    assert case.mixture.mode()[0] == pmf.argmax()
    for coverage in (0.01, 0.5, 0.9, 0.999):
        found = case.mixture.hdr(coverage)
        assert isinstance(found, HighestDensityIntegers)
        order = np.argsort(-pmf, kind="stable")
        n = np.searchsorted(np.cumsum(pmf[order]), coverage - 1e-13) + 1
        np.testing.assert_array_equal(found.of(0), np.sort(y[order[:n]]))
        assert found.sizes[0] == n and found.level[0] == pytest.approx(pmf[order[n - 1]])


def test_likeliest_sets_by_row():
    X = np.array([[0.0], [3.0], [1.0]])
    mixture = mixed(PoissonExpert(), Line(np.ones((2, 1)), np.array([-2.0, 2.0])), X)
    sets = mixture.hdr(0.8)
    for i in range(3):
        np.testing.assert_array_equal(mixture[i].hdr(0.8).of(0), sets.of(i))
        np.testing.assert_array_equal(sets.contains(np.full(3, 2.0))[i], 2.0 in sets.of(i))
        np.testing.assert_array_equal(sets.contains(np.full(3, 2.5)), False)
        assert mixture[i].pmf(sets.of(i)[None]).sum() >= 0.8
    np.testing.assert_array_equal(sets.sizes, [len(sets.of(i)) for i in range(3)])
    assert repr(sets) == f"HighestDensityIntegers(n_samples=3, n_runs={sets.n_runs.sum()})"
    with pytest.raises(ValueError, match=r"y must have shape \(3,\)"):
        sets.contains([1.0])


@counts
def test_scores_of_counts(case):
    y, pmf = case.all
    wanted = -(pmf[pmf > 0] * np.log(pmf[pmf > 0])).sum()
    assert case.mixture.entropy()[0] == pytest.approx(wanted, rel=1e-10)
    for at in (0.0, 3.0, 40.0, 3e4):
        t = np.arange(max(at, y[-1]) + 1)
        wanted = ((case.cdf(t) - (t >= at)) ** 2).sum()
        assert case.mixture.crps(at)[0] == pytest.approx(wanted, rel=1e-9)
    pair = np.abs(y[:, None] - y[:200]) @ pmf[:200] if pmf[200:].sum() < 1e-14 else None
    if pair is not None:  # E|Y - y| - E|Y - Y'| / 2
        assert case.mixture.crps(4.5)[0] == pytest.approx(pmf @ np.abs(y - 4.5) - 0.5 * pmf @ pair, rel=1e-9)


def test_sums_over_very_many_counts():
    case = Counts([1.0], [1e4], [2.0])
    y, pmf = case.all
    assert len(y) > 2**14
    near = case.mixture
    keep = pmf > 0
    assert near.entropy()[0] == pytest.approx(-(pmf[keep] * np.log(pmf[keep])).sum(), rel=1e-4)
    wanted = ((np.cumsum(pmf) - (y >= 7e3)) ** 2).sum()
    assert near.crps(7e3)[0] == pytest.approx(wanted, rel=1e-3)


def test_draws_of_counts_are_whole_and_follow_the_law():
    mixture = Counts([0.4, 0.6], [1.0, 9.0], [2.0, 5.0], n=20_000).mixture
    y = mixture.sample(random_state=0)
    assert np.all(y == np.floor(y)) and y.shape == (20_000,)
    observed = np.bincount(y.astype(int), minlength=20)[:20]
    expected = 20_000 * mixture[0].pmf(np.arange(20.0)[None])[0]
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3
    assert mixture.std()[0] == pytest.approx(y.std(), rel=0.02) and mixture.mean()[0] == pytest.approx(5.8)


# Positive numbers -----------------------------------------------------------------------------------------------------


class Positive:
    def __init__(self, weight, mean, size):
        self.weight, mean, size = (np.asarray(a, dtype=float) for a in (weight, mean, size))
        self.law = stats.gamma(size, scale=mean / size)
        params = SizedLine(np.zeros((len(mean), 1)), np.log(mean), size)
        self.mixture = mixed(GammaExpert(), params, np.zeros((2, 1)), log_weight=np.log(self.weight))

    def sum(self, function, y):
        with np.errstate(invalid="ignore"):
            return function(np.asarray(y, dtype=float)[..., None]) @ self.weight


POSITIVE = {
    "one": Positive([1.0], [3.0], [4.0]),
    "two": Positive([0.5, 0.5], [1.0, 20.0], [3.0, 50.0]),
    "exponential": Positive([1.0], [2.0], [1.0]),
    "infinite at zero": Positive([0.7, 0.3], [1.0, 8.0], [0.3, 20.0]),
}
positive = pytest.mark.parametrize("case", POSITIVE.values(), ids=POSITIVE)


@positive
def test_tails_of_positive_numbers(case):
    y = np.array([-np.inf, -1.0, 0.0, 1e-9, 0.5, 3.0, 40.0, np.inf])
    mixture = case.mixture
    assert type(mixture) is RealMixture
    wanted = np.where((y > 0) & (y < np.inf), case.sum(case.law.pdf, np.clip(y, 1e-300, 1e300)), 0.0)
    np.testing.assert_allclose(mixture.pdf(y[None])[0], wanted, rtol=1e-12)
    np.testing.assert_allclose(mixture.cdf(y[None])[0], case.sum(case.law.cdf, y), rtol=1e-12)
    np.testing.assert_allclose(mixture.sf(y[None])[0], case.sum(case.law.sf, y), rtol=1e-12)
    q = np.array([0.0, 1e-9, 0.01, 0.3, 0.5, 0.9, 1 - 1e-9, 1.0])
    found = mixture.ppf(q[None])[0]
    assert found[0] == 0.0 and found[-1] == np.inf
    np.testing.assert_allclose(case.sum(case.law.cdf, found[1:-1]), q[1:-1], rtol=1e-9)


@positive
def test_modes_and_regions_of_positive_numbers(case):
    mixture, grid = case.mixture, np.geomspace(1e-6, 60, 400_001)
    density = case.sum(case.law.pdf, grid)
    mode = mixture.mode()
    if density.argmax() == 0:
        np.testing.assert_array_equal(mode, 0.0)
    else:
        assert case.sum(case.law.pdf, mode).min() >= density.max() * (1 - 1e-9)
    for coverage in (0.3, 0.8, 0.99):
        regions = mixture.hdr(coverage)
        edges = regions.of(1)
        mass = sum(case.sum(case.law.cdf, b) - case.sum(case.law.cdf, a) for a, b in edges)
        assert mass == pytest.approx(coverage, abs=1e-8)
        inner = edges[edges > 0]
        np.testing.assert_allclose(case.sum(case.law.pdf, inner), regions.level[1], rtol=1e-7)
        inside = np.any((edges[:, [0]] < grid) & (grid < edges[:, [1]]), axis=0)
        near = np.abs(density / regions.level[1] - 1) < 1e-4
        np.testing.assert_array_equal((density > regions.level[1])[~near], inside[~near])


@positive
def test_scores_of_positive_numbers(case):
    mixture = case.mixture
    cuts = [0.0, 1e-12, 1e-6, 1e-3, 0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 400.0]

    def integral(f, *points):
        ends = np.sort([*cuts, *points])
        return sum(quad(f, a, b, epsabs=1e-12, limit=400)[0] for a, b in zip(ends, ends[1:], strict=False))

    def term(t):
        p = case.sum(case.law.pdf, t)
        return -p * np.log(p) if 0 < p < np.inf else 0.0

    np.testing.assert_allclose(mixture.entropy(), integral(term), rtol=1e-6)
    for y in (0.0, 0.7, 25.0, 350.0):
        wanted = integral(lambda t, y=y: (case.sum(case.law.cdf, t) - (t >= y)) ** 2, y)
        np.testing.assert_allclose(mixture.crps(y), wanted, rtol=1e-7)
    np.testing.assert_allclose(mixture.crps(-2.0), mixture.crps(0.0) + 2.0, rtol=1e-12)


# Scores of normals ----------------------------------------------------------------------------------------------------


class Plain(GaussianExpert):
    def normal(self, rows, params):
        return None


def test_scores_of_normals():
    params = GaussianExpertParams(np.zeros((2, 1)), np.array([-1.0, 3.0]), np.array([0.25, 4.0]))
    weight = np.array([0.3, 0.7])
    exact, searched = (
        mixed(e, params, np.zeros((1, 1)), log_weight=np.log(weight)) for e in (GaussianExpert(), Plain())
    )

    def density(t):
        return weight @ stats.norm.pdf(t, params.intercept, np.sqrt(params.variance))

    wanted = quad(lambda t: -density(t) * np.log(density(t)), -20, 30, limit=300, epsabs=1e-12)[0]
    for mixture in (exact, searched):
        assert mixture.entropy()[0] == pytest.approx(wanted, rel=1e-9)
        for y in (-30.0, 0.0, 2.0, 300.0):
            ends = sorted([-60.0, -5.0, 0.0, 5.0, 40.0, y])
            wanted_crps = sum(
                quad(lambda t, y=y, f=mixture.cdf: (f(t)[0] - (t >= y)) ** 2, a, b, epsabs=1e-11)[0]
                for a, b in zip(ends, ends[1:], strict=False)
            )
            assert mixture.crps(y)[0] == pytest.approx(wanted_crps, rel=1e-7)
    one = mixed(GaussianExpert(), GaussianExpertParams(np.zeros((1, 1)), np.zeros(1), np.ones(1)), np.zeros((1, 1)))
    assert one.entropy()[0] == pytest.approx(0.5 * np.log(2 * np.pi * np.e), rel=1e-12)
    assert one.crps(0.0)[0] == pytest.approx((np.sqrt(2) - 1) / np.sqrt(np.pi), rel=1e-12)


# Rows -----------------------------------------------------------------------------------------------------------------


def test_some_rows():
    X = np.linspace(-1, 1, 9)[:, None]
    params = Line(np.array([[1.0], [-1.0]]), np.array([0.0, 2.0]))
    mixture = mixed(PoissonExpert(), params, X, gate_slope=2.0)
    mean = mixture.mean()
    for rows in (0, -1, np.int64(3), slice(2, 5), slice(None, None, -2), [1, 1, 7], X[:, 0] > 0):
        part = mixture[rows]
        assert type(part) is IntegerMixture
        np.testing.assert_array_equal(part.mean(), np.atleast_1d(mean[rows]))
        np.testing.assert_array_equal(part.ppf(0.3), np.atleast_1d(mixture.ppf(0.3)[rows]))
        np.testing.assert_allclose(part.entropy(), np.atleast_1d(mixture.entropy()[rows]), rtol=1e-13)
    assert [len(one) for one in mixture] == [1] * 9
    for wrong, error in ((9, IndexError), (1.5, IndexError), ([20], IndexError)):
        with pytest.raises(error):
            mixture[wrong]
    np.testing.assert_allclose(mixture.gate_proba().sum(axis=1), 1)
    assert repr(mixture) == "ConditionalMixture(n_samples=9, n_experts=2, kind='integers')"


# Classes --------------------------------------------------------------------------------------------------------------


def classes(X, labels=None):
    rng = np.random.default_rng(5)
    params = Line(rng.normal(0, 2, (2, 2, 1)), rng.normal(size=(2, 2)))
    mixture = mixed(three_classes(), params, X, gate_slope=1.5)
    return params, mixture if labels is None else ClassMixture(mixture._model, mixture._params, mixture._blocks, labels)


def test_classes():
    X = np.linspace(-2, 2, 7)[:, None]
    params, mixture = classes(X)
    assert type(mixture) is ClassMixture
    logits = np.concatenate(
        [X * params.coef[:, :, 0][:, None] + params.intercept[:, None], np.zeros((2, 7, 1))], axis=2
    )
    each = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)  # (k, n, C)
    gate = np.exp(1.5 * X * np.arange(2)) / np.exp(1.5 * X * np.arange(2)).sum(axis=1, keepdims=True)
    wanted = np.einsum("nk,knc->nc", gate, each)
    np.testing.assert_allclose(mixture.proba(), wanted, rtol=1e-12)
    np.testing.assert_allclose(mixture.log_proba(), np.log(wanted), rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(mixture.predict(), wanted.argmax(axis=1))
    np.testing.assert_array_equal(mixture.mode(), mixture.predict())
    np.testing.assert_allclose(mixture.entropy(), stats.entropy(wanted, axis=1), rtol=1e-12)
    np.testing.assert_allclose(mixture.mean(), wanted, rtol=1e-12)
    np.testing.assert_allclose(mixture.std() ** 2, wanted * (1 - wanted), rtol=1e-10)
    np.testing.assert_allclose(mixture.pdf(1), wanted[:, 1], rtol=1e-12)
    y = np.array([0, 1, 2, 0, 1, 2, 0])
    np.testing.assert_allclose(mixture.logpdf(y), np.log(wanted[np.arange(7), y]), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(mixture[2:4].proba(), wanted[2:4], rtol=1e-12)


def test_labels_of_classes():
    X = np.linspace(-2, 2, 7)[:, None]
    _, codes = classes(X)
    _, named = classes(X, ["low", "mid", "up"])
    labels = np.array(["low", "mid", "up"])
    np.testing.assert_array_equal(named.predict(), labels[codes.predict()])
    np.testing.assert_array_equal(named[1:3].predict(), labels[codes.predict()][1:3])
    np.testing.assert_array_equal(named.logpdf("mid"), codes.logpdf(1))
    drawn = named.sample(4000, random_state=0)
    assert drawn.shape == (7, 4000)
    share = (drawn[:, :, None] == labels).mean(axis=1)
    np.testing.assert_allclose(share, codes.proba(), atol=0.03)
    with pytest.raises(ValueError, match="y must hold classes among"):
        named.logpdf("high")
    with pytest.raises(ValueError, match=r"y must be one class or have shape \(7,\)"):
        codes.logpdf([0, 1])


def test_probabilities_of_classes_far_away():
    X = np.array([[-1e5], [1e5]])
    _, mixture = classes(X)
    assert np.all(np.isfinite(mixture.log_proba()))
    np.testing.assert_allclose(mixture.proba().sum(axis=1), 1.0, rtol=0, atol=1e-15)
    assert np.all(np.isfinite(mixture.entropy()))


# Vectors --------------------------------------------------------------------------------------------------------------

WEIGHT = np.array([0.6, 0.4])
MEANS = np.array([[0.0, 0.0], [4.0, 1.0]])
COVS = np.array([[[1.0, 0.8], [0.8, 1.0]], [[2.0, -0.5], [-0.5, 2.0]]])


def vectors(n=1, means=MEANS, covs=COVS):
    k, q = means.shape
    params = Plane(np.zeros((k, q, 1)), means, covs)
    return mixed(VectorNormalExpert(), params, np.zeros((n, 1)), log_weight=np.log(WEIGHT))


def test_vectors():
    mixture = vectors(3)
    assert type(mixture) is VectorMixture
    mean = WEIGHT @ MEANS
    apart = MEANS - mean
    cov = np.einsum("k,kij->ij", WEIGHT, COVS + apart[:, :, None] * apart[:, None])
    np.testing.assert_allclose(mixture.mean(), np.tile(mean, (3, 1)), rtol=1e-13)
    np.testing.assert_allclose(mixture.cov(), np.tile(cov, (3, 1, 1)), rtol=1e-13)
    np.testing.assert_allclose(mixture.std() ** 2, np.tile(np.diag(cov), (3, 1)), rtol=1e-13)
    y = np.array([[0.0, 1.0], [2.0, 2.0], [-30.0, 40.0]])
    laws = [stats.multivariate_normal(m, c) for m, c in zip(MEANS, COVS, strict=True)]
    wanted = logsumexp([law.logpdf(y) for law in laws], axis=0, b=WEIGHT[:, None])
    np.testing.assert_allclose(mixture.logpdf(y), wanted, rtol=1e-12)
    np.testing.assert_allclose(mixture.pdf(y[0]), np.exp(wanted[0]), rtol=1e-12)
    with pytest.raises(ValueError, match=r"y must have shape \(2,\) or \(3, 2\), got \(3,\)"):
        mixture.logpdf(np.zeros(3))


def test_draws_of_vectors():
    y = vectors(2).sample(5000, random_state=0)
    assert y.shape == (2, 5000, 2) and vectors(2).sample(random_state=0).shape == (2, 2)
    np.testing.assert_allclose(y.mean(axis=1), vectors(2).mean(), atol=0.1)
    np.testing.assert_allclose([np.cov(part.T) for part in y], vectors(2).cov(), atol=0.3)
    given = vectors(20_000).given({0: 3.0})
    assert given.sample(random_state=0).mean() == pytest.approx(1.2837758376, abs=0.03)


def test_margins_of_vectors():
    mixture = vectors(2)
    for j in (0, 1, -1):
        margin = mixture.marginal(j)
        assert type(margin) is RealMixture
        sd = np.sqrt(COVS[:, j, j])
        for y in (-2.0, 0.3, 5.0):
            np.testing.assert_allclose(margin.pdf(y), WEIGHT @ stats.norm.pdf(y, MEANS[:, j], sd), rtol=1e-12)
            np.testing.assert_allclose(margin.cdf(y), WEIGHT @ stats.norm.cdf(y, MEANS[:, j], sd), rtol=1e-12)
        np.testing.assert_allclose(margin.cdf(margin.ppf(0.3)), 0.3, rtol=1e-9)
        np.testing.assert_allclose(margin.mean(), mixture.mean()[:, j], rtol=1e-12)
        np.testing.assert_allclose(margin.std(), mixture.std()[:, j], rtol=1e-12)
        np.testing.assert_allclose(margin.logsf(60.0), logsumexp(stats.norm.logsf(60, MEANS[:, j], sd), b=WEIGHT))
    with pytest.raises(IndexError):
        mixture.marginal(2)


def test_what_is_given_changes_the_weights():
    """Weights .0294 and .9706: those that are not updated would give another mean."""
    given = vectors(2).given({0: 3.0})
    assert type(given) is RealMixture
    np.testing.assert_allclose(given.gate_proba(), np.tile([0.02937029, 0.97062971], (2, 1)), atol=5e-9)
    np.testing.assert_allclose(given.mean(), 1.2837758376, rtol=1e-9)
    weight, mean, var = np.array([0.02937029, 0.97062971]), np.array([2.4, 1.25]), np.array([0.36, 1.875])
    np.testing.assert_allclose(given.var(), weight @ (var + mean**2) - (weight @ mean) ** 2, rtol=1e-7)


@pytest.mark.parametrize("at, mean", [(60.0, -13.0), (1e4, -2498.0)])
def test_given_far_away(at, mean):
    given = vectors().given({0: at})
    assert given.mean()[0] == pytest.approx(mean, rel=1e-9) and np.isfinite(given.std()[0])


def test_given_some_of_three():
    """The density of all is the density of what is given times that of the rest."""
    rng = np.random.default_rng(2)
    means, root = rng.normal(size=(2, 3)), rng.normal(size=(2, 3, 3))
    covs = root @ np.swapaxes(root, 1, 2) + np.eye(3)
    mixture = vectors(4, means, covs)
    y = rng.normal(size=(4, 3))
    rest = mixture.given({1: y[:, 1]})
    assert type(rest) is VectorMixture
    joint = mixture.logpdf(y)
    np.testing.assert_allclose(mixture.marginal(1).logpdf(y[:, 1]) + rest.logpdf(y[:, [0, 2]]), joint, rtol=1e-10)
    last = mixture.given({2: y[:, 2], 0: y[:, 0]})
    np.testing.assert_allclose(mixture[:2].given({2: y[:2, 2], 0: y[:2, 0]}).mean(), last.mean()[:2], rtol=1e-12)
    np.testing.assert_allclose(
        rest.given({1: y[:, 2]}).logpdf(y[:, 0]), mixture.given({1: y[:, 1], 2: y[:, 2]}).logpdf(y[:, 0]), rtol=1e-9
    )


def test_given_is_checked():
    mixture = vectors(3)
    for wrong, error, words in (
        ({}, TypeError, "a dict of coordinates"),
        (3.0, TypeError, "a dict of coordinates"),
        ({0: 1.0, 1: 2.0}, ValueError, "leave at least one of 2"),
        ({0: 1.0, -2: 2.0}, ValueError, "name each coordinate once"),
        ({0: np.nan}, ValueError, r"given\[0\] must be a finite number"),
        ({0: np.zeros(2)}, ValueError, r"given\[0\] must be a finite number, or one for each of 3 rows"),
    ):
        with pytest.raises(error, match=words):
            mixture.given(wrong)


class Cloud(VectorNormalExpert):
    def normal(self, rows, params):
        return None


def test_margins_need_normals():
    params = Plane(np.zeros((2, 2, 1)), MEANS, COVS)
    mixture = mixed(Cloud(), params, np.zeros((1, 1)))
    for ask in (lambda: mixture.marginal(0), lambda: mixture.given({0: 1.0})):
        with pytest.raises(NotImplementedError, match="known for mixtures of normals only: Cloud.normal returns None"):
            ask()
