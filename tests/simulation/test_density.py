import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.special import ndtr

import naive
import smoe.simulation.density
from families import GammaExpert, Line, NegativeBinomialExpert, PoissonExpert, SizedLine
from smoe.experts import GaussianExpertParams
from smoe.gates import DenseToSparseGate, LinearGateParams, TemperatureGateParams, TopKGate
from smoe.params import MoEParams, flatten, permute, unflatten
from smoe.simulation import Truth, density_error

T0 = MoEParams(
    LinearGateParams(np.array([[25.0], [0.0]]), np.array([-8.0, 0.0])),
    GaussianExpertParams(np.array([[-20.0], [20.0]]), np.array([15.0, -5.0]), np.array([0.09, 0.16])),
)


def normal(mean, variance, slope=0.0):
    """One expert, no gate."""
    gate = LinearGateParams(np.zeros((1, 1)), np.zeros(1))
    return MoEParams(gate, GaussianExpertParams(np.array([[slope]]), np.array([mean]), np.array([variance])))


def moved(params, spread, seed=0):
    flat = flatten(params)
    return unflatten(flat + spread * np.random.default_rng(seed).uniform(-1, 1, flat.size), params)


def at(x):
    """A law of x with hardly any spread."""
    return stats.uniform(x - 1e-12, 2e-12)


def hellinger_of_normals(m1, v1, m2, v2):
    closeness = np.sqrt(2 * np.sqrt(v1 * v2) / (v1 + v2)) * np.exp(-0.25 * (m1 - m2) ** 2 / (v1 + v2))
    return np.sqrt(1 - closeness)


@pytest.mark.parametrize("m, v", [(1.0, 1.0), (0.3, 2.0), (0.0, 1e4), (40.0, 1.0), (1.0, 1e-4), (5.0, 0.01)])
def test_hellinger_of_normals(m, v):
    error = density_error(normal(m, v), Truth("softmax", normal(0.0, 1.0)))
    assert error.value == pytest.approx(hellinger_of_normals(0.0, 1.0, m, v), rel=1e-11)
    assert error.standard_error == 0.0


@pytest.mark.parametrize("step", [1e-3, 1e-6, 1e-9])
def test_small_distances_do_not_cancel(step):
    """1 - integral of sqrt(pq) would be rounding here; h = step / sqrt(8) to first order."""
    truth = Truth("softmax", normal(0.0, 1.0))
    assert density_error(normal(step, 1.0), truth).value == pytest.approx(step / np.sqrt(8), rel=1e-6)
    # 1/2 int |phi'| = phi(0)
    expected = step / np.sqrt(2 * np.pi)
    assert density_error(normal(step, 1.0), truth, distance="tv").value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("m", [0.1, 1.0, 5.0, 40.0])
def test_total_variation_of_normals(m):
    value = density_error(normal(m, 1.0), Truth("softmax", normal(0.0, 1.0)), distance="tv").value
    assert value == pytest.approx(2 * ndtr(m / 2) - 1, rel=1e-11)


@pytest.mark.parametrize("v", [2.0, 1e-3])
def test_total_variation_of_spreads(v):
    """N(0, 1) and N(0, v) cross at +-c."""
    c = np.sqrt(np.log(v) * v / (v - 1))
    expected = 2 * abs(ndtr(c) - ndtr(c / np.sqrt(v)))
    value = density_error(normal(0.0, v), Truth("softmax", normal(0.0, 1.0)), distance="tv").value
    assert value == pytest.approx(expected, rel=1e-10)


def density(y, x, params):
    proba = naive.softmax(naive.linear_scores([x], params.gate))
    return sum(p * np.exp(f) for p, f in zip(proba, naive.gaussian_log_density(y, [x], params.expert), strict=True))


def by_quad(x, fitted, true, distance):
    def gap(y):
        p, q = density(y, x, fitted), density(y, x, true)
        return (np.sqrt(p) - np.sqrt(q)) ** 2 if distance == "hellinger" else abs(p - q)

    centres = [m for p in (fitted, true) for m in naive.gaussian_means([x], p.expert)]
    edges = np.unique([m + c for m in centres for c in np.arange(-6, 6.1, 0.5)])
    half = 0.5 * sum(
        quad(gap, a, b, epsabs=1e-13, epsrel=1e-9, limit=100)[0] for a, b in zip(edges, edges[1:], strict=False)
    )
    return np.sqrt(half) if distance == "hellinger" else half


@pytest.mark.parametrize("distance", ["hellinger", "tv"])
@pytest.mark.parametrize("x", [0.1, 0.31, 0.33, 0.9])
def test_mixtures_by_quad(distance, x):
    fitted = moved(permute(T0, [0, 1, 1]), 0.05)
    value = density_error(fitted, Truth("softmax", T0, at(x)), distance=distance).value
    assert value == pytest.approx(by_quad(x, fitted, T0, distance), abs=1e-9)
    assert value > 0.01


@pytest.mark.parametrize(
    "covariates, law", [("uniform", stats.uniform), ("grid", stats.uniform), ("normal", stats.norm)]
)
def test_the_average_over_x(covariates, law):
    """h, not its square, is averaged: means differ by slope * x, variances agree."""

    def h(u):
        return hellinger_of_normals(0.0, 1.0, 3.0 * law.ppf(u) - 1.0, 1.0)

    expected = quad(h, 0, 1, points=[law.cdf(1 / 3)], epsabs=1e-10, limit=500)[0]
    error = density_error(normal(0.0, 1.0, 3.0), Truth("softmax", normal(1.0, 1.0), covariates))
    assert error.value == pytest.approx(expected, rel=1e-4)
    finer = density_error(normal(0.0, 1.0, 3.0), Truth("softmax", normal(1.0, 1.0), covariates), n_covariates=8000)
    assert finer.value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("distance, gate", [("hellinger", "softmax"), ("tv", TopKGate(1))])
def test_quadrature_agrees_with_draws(distance, gate):
    """The same law given as a callable is averaged by Monte Carlo, with an honest standard error."""
    fitted = moved(T0, 0.3)
    exact = density_error(fitted, Truth(gate, T0, "normal"), distance=distance)
    drawn = Truth(gate, T0, lambda n, rng: rng.normal(size=(n, 1)))
    rng = np.random.default_rng(0)
    estimates = [density_error(fitted, drawn, distance=distance, n_covariates=400, rng=rng) for _ in range(60)]
    values, errors = np.transpose(estimates)
    assert abs(values.mean() - exact.value) < 4 * values.std() / np.sqrt(60)
    assert errors.mean() == pytest.approx(values.std(), rel=0.3)


def test_a_jump_of_the_gate_is_met():
    """Top-1: the densities differ where their boundaries differ, there completely, and nowhere else."""
    gate = LinearGateParams(np.array([[1.0], [0.0]]), np.array([-0.4, 0.0]))
    expert = GaussianExpertParams(np.zeros((2, 1)), np.array([0.0, 100.0]), np.ones(2))
    later = MoEParams(gate._replace(intercept=np.array([-0.4123, 0.0])), expert)
    truth = Truth(TopKGate(1), MoEParams(gate, expert))
    for distance in ("hellinger", "tv"):
        assert density_error(later, truth, distance=distance).value == pytest.approx(0.0123, rel=1e-9)


@pytest.mark.parametrize("distance", ["hellinger", "tv"])
def test_what_is_not_identified_is_not_seen(distance):
    translated = MoEParams(LinearGateParams(T0.gate.coef + 3.0, T0.gate.intercept - 2.0), T0.expert)
    split = permute(T0, [0, 1, 1])
    split = split._replace(gate=split.gate._replace(intercept=np.array([-8.0, np.log(0.4), np.log(0.6)])))
    for same in (translated, permute(T0, [1, 0]), split):
        assert density_error(same, Truth("softmax", T0), distance=distance).value < 1e-12
    ray = TemperatureGateParams(3.0 * T0.gate.coef, 3.0 * T0.gate.intercept, np.array(3.0))
    model = (DenseToSparseGate(), "gaussian")
    assert density_error(T0._replace(gate=ray), Truth("softmax", T0), model=model, distance=distance).value < 1e-12


def test_a_model_of_its_own():
    """Two experts selected among three are needed to follow a split of the second one."""
    split = permute(T0, [0, 1, 1])
    scores = 200.0 * T0.gate.coef[[0, 1, 1]], 200.0 * T0.gate.intercept[[0, 1, 1]]
    split = split._replace(gate=LinearGateParams(*scores))
    truth = Truth(TopKGate(1), T0)
    assert density_error(split, truth, model=TopKGate(2)).value < 0.01
    assert density_error(split, truth, model=TopKGate(3)).value < 0.01
    assert density_error(split, truth, model="softmax").value < 0.01


def test_several_features_are_drawn():
    expert = GaussianExpertParams(np.array([[1.0, 2.0]]), np.zeros(1), np.ones(1))
    gate = LinearGateParams(np.zeros((1, 2)), np.zeros(1))
    truth = Truth("softmax", MoEParams(gate, expert), stats.multivariate_normal([0, 0], np.eye(2)))
    shifted = MoEParams(gate, expert._replace(intercept=np.array([1.0])))
    error = density_error(shifted, truth, rng=np.random.default_rng(0), n_covariates=50)
    assert error.value == pytest.approx(hellinger_of_normals(0, 1, 1, 1)) and error.standard_error < 1e-12
    with pytest.raises(TypeError, match="rng must be a numpy generator"):
        density_error(shifted, truth)
    assert np.isnan(density_error(shifted, truth, rng=np.random.default_rng(0), n_covariates=1).standard_error)


@pytest.mark.parametrize("distance", ["hellinger", "tv"])
def test_bounds(distance):
    """Far apart in every way: one, and never more."""
    value = density_error(moved(T0, 0.05), Truth("softmax", normal(1e3, 1e-2)), distance=distance).value
    assert value == pytest.approx(1.0, abs=1e-12)
    assert density_error(T0, Truth("softmax", T0), distance=distance).value == 0.0


def test_bad_input():
    truth = Truth("softmax", T0)
    with pytest.raises(ValueError, match="distance='kl' is not known; choose 'hellinger' or 'tv'"):
        density_error(T0, truth, distance="kl")
    with pytest.raises(ValueError, match="n_covariates must be an integer of at least 1"):
        density_error(T0, truth, n_covariates=0)
    with pytest.raises(TypeError, match="params.gate must be LinearGateParams"):
        density_error(T0._replace(gate=TemperatureGateParams(*T0.gate, np.array(1.0))), truth)
    with pytest.raises(ValueError, match="must be finite"):
        density_error(T0._replace(gate=T0.gate._replace(intercept=np.array([np.nan, 0]))), truth)
    two = MoEParams(LinearGateParams(np.zeros((1, 2)), np.zeros(1)), GaussianExpertParams(np.zeros((1, 2)), [0], [1]))
    with pytest.raises(ValueError, match="fitted has 2 features, truth has 1"):
        density_error(two, truth)


# Other families ------------------------------------------------------------------------------------------------------

FLAT = LinearGateParams(np.zeros((2, 1)), np.zeros(2))


def both(expert, fitted, true, distance):
    truth = Truth(("softmax", expert), MoEParams(FLAT, true), at(0.3))
    return density_error(MoEParams(FLAT, fitted), truth, distance=distance).value


def exact(p, q, distance):
    return np.sqrt(1 - np.sqrt(p * q).sum()) if distance == "hellinger" else 0.5 * np.abs(p - q).sum()


@pytest.mark.parametrize("distance", ["hellinger", "tv"])
@pytest.mark.parametrize("means", [[1.0, 5.0], [1e-3, 80.0], [300.0, 301.0], [2000.0, 4000.0]])
def test_counts_by_exact_sums(distance, means):
    y, other = np.arange(10_000), [3.0, 25.0]

    def lines(means):
        return Line(np.ones((2, 1)), np.log(means) - 0.3)

    p, q = (stats.poisson.pmf(y[:, None], m).mean(axis=1) for m in (means, other))
    value = both(PoissonExpert(), lines(means), lines(other), distance)
    assert value == pytest.approx(exact(p, q, distance), rel=1e-8) and 0 <= value <= 1
    assert both(PoissonExpert(), lines(means), lines(means), distance) == 0.0


@pytest.mark.parametrize("distance", ["hellinger", "tv"])
def test_very_many_counts(distance):
    y = np.arange(2_000_000)

    def lines(means, sizes):
        return SizedLine(np.zeros((2, 1)), np.log(means), np.array(sizes))

    def pmf(means, sizes):
        sizes = np.array(sizes)
        return stats.nbinom.pmf(y[:, None], sizes, sizes / (sizes + means)).mean(axis=1)

    one, other = ([2e4, 4e4], [1.0, 5.0]), ([3e4, 5e4], [2.0, 4.0])
    value = both(NegativeBinomialExpert(), lines(*one), lines(*other), distance)
    assert value == pytest.approx(exact(pmf(*one), pmf(*other), distance), rel=1e-3)


@pytest.mark.parametrize("distance", ["hellinger", "tv"])
@pytest.mark.parametrize("size", [0.2, 1.0, 30.0])
def test_positive_numbers_by_quad(distance, size):
    one, other = ([1.0, 4.0], [size, 3.0]), ([1.5, 4.0], [size, 2.0])

    def lines(means, sizes):
        return SizedLine(np.zeros((2, 1)), np.log(means), np.array(sizes))

    def pdf(s, means, sizes):
        """Density of the logarithm: distances are the same."""
        sizes = np.array(sizes)
        return stats.gamma.pdf(np.exp(s), sizes, scale=means / sizes).mean() * np.exp(s)

    def gap(s):
        p, q = pdf(s, *one), pdf(s, *other)
        return 0.5 * ((np.sqrt(p) - np.sqrt(q)) ** 2 if distance == "hellinger" else abs(p - q))

    ends = [-150.0, -60.0, -20.0, -8.0, *np.linspace(-4, 4, 33), 6.0]
    wanted = sum(quad(gap, a, b, epsabs=1e-11, limit=200)[0] for a, b in zip(ends, ends[1:], strict=False))
    wanted = np.sqrt(wanted) if distance == "hellinger" else wanted
    assert both(GammaExpert(), lines(*one), lines(*other), distance) == pytest.approx(wanted, rel=1e-5)


def test_kinds_that_cannot_be_compared():
    lines = Line(np.zeros((2, 1)), np.zeros(2))
    truth = Truth(("softmax", PoissonExpert()), MoEParams(FLAT, lines))
    with pytest.raises(ValueError, match="responses of the fitted family are real, those of the truth integers"):
        density_error(T0, truth, model="softmax")
    with pytest.raises(ValueError, match="real or of whole numbers, not of classes"):
        smoe.simulation.density._check_kinds("classes", "classes")
