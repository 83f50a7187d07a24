"""The distribution of y given x against sums of scipy's normals, quadrature and what defines each answer."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import norm

from smoe._kernels.normal_mixture import normal_quantiles
from smoe._kernels.normal_modes import normal_modes
from smoe._kernels.normal_regions import normal_regions
from smoe.distribution import ConditionalMixture, HighestDensityRegions
from smoe.experts import GaussianExpert, GaussianExpertParams
from smoe.gates import SoftmaxGate
from smoe.gates.base import LinearGateParams
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.rows import Blocks

EPS = np.finfo(float).eps
TAILS = np.array([1e-300, 1e-100, 1e-12, 1e-6, 0.025, 0.3, 0.5])
COVERAGES = [1e-8, 0.01, 0.5, 0.9, 0.999, 1 - 1e-9]


class Plain(GaussianExpert):
    """A family that does not say that it is normal."""

    def normal(self, Z, params):
        return None


class Case:
    """One mixture of normals, the same in every row."""

    def __init__(self, weight, mean, sd, n=1, expert=None):
        self.weight, self.mean, self.sd = (np.array(a, dtype=float) for a in (weight, mean, sd))
        flat = np.zeros((len(self.mean), 1))
        model = MixtureOfExperts(SoftmaxGate(), expert or GaussianExpert())
        gate = LinearGateParams(flat, np.log(self.weight))
        params = MoEParams(gate, GaussianExpertParams(flat, self.mean, self.sd**2))
        self.mixture = ConditionalMixture(model, params, Blocks.plain(model, np.zeros((n, 1))))

    def _sum(self, function, y):
        return (self.weight * function((np.asarray(y)[..., None] - self.mean) / self.sd)).sum(axis=-1)

    def pdf(self, y):
        return self._sum(lambda t: norm.pdf(t) / self.sd, y)

    def cdf(self, y):
        return self._sum(norm.cdf, y)

    def sf(self, y):
        return self._sum(norm.sf, y)

    def scatter(self):
        """Points dense around every expert, and between them."""
        steps = np.linspace(-9, 9, 181)[:, None]
        return np.sort(np.append(self.mean + self.sd * steps, np.linspace(self.mean.min(), self.mean.max(), 101)))


def random_case(seed, k=5):
    rng = np.random.default_rng(seed)
    return Case(rng.dirichlet(np.ones(k)), rng.normal(0, 3, k), np.exp(rng.normal(0, 1, k)))


CASES = {
    "one": Case([1.0], [2.0], [3.0]),
    "equal experts": Case([0.2, 0.3, 0.5], [1.0] * 3, [2.0] * 3),
    "far apart": Case([0.5, 0.5], [-20, 20], [1, 1]),
    "at the edge of two modes": Case([0.5, 0.5], [-1, 1], [1, 1]),
    "just two modes": Case([0.5, 0.5], [-1.001, 1.001], [1, 1]),
    "a spike on a plain": Case([0.3, 0.7], [0, 1], [1e-6, 1e3]),
    "spikes of all widths": Case([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 30], [1e-70, 1e-3, 1, 1e70]),
    "a rare expert far away": Case([1 - 1e-9, 1e-9], [0, 1e6], [1, 1]),
    "a rare spike": Case([1 - 1e-14, 1e-14], [0, 0.5], [1, 1e-16]),
    "a rarest expert": Case([1, 1e-200], [0, 5], [1, 100]),
    "tiny units": Case([0.4, 0.6], [1e-100, -1e-100], [1e-100, 3e-101]),
    "huge units": Case([0.4, 0.6], [1e100, -1e100], [1e100, 3e99]),
    **{f"random {seed}": random_case(seed) for seed in range(6)},
}
SMOOTH = [name for name in CASES if not name.startswith(("a ", "spikes", "tiny", "huge", "far"))]
every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
smooth = pytest.mark.parametrize("case", [CASES[name] for name in SMOOTH], ids=SMOOTH)


# Densities and tails -------------------------------------------------------------------------------------------------


@every
def test_density_and_tails_are_sums_of_normals(case):
    y = case.scatter()
    for found, wanted in (("pdf", case.pdf(y)), ("cdf", case.cdf(y)), ("sf", case.sf(y))):
        np.testing.assert_allclose(getattr(case.mixture, found)(y[None, :])[0], wanted, rtol=1e-12, atol=1e-307)


@every
def test_logarithms_reach_where_numbers_underflow(case):
    y = np.append(case.scatter(), case.mean.mean() + np.array([-90, 90]) * case.sd.max())
    t = (y[:, None] - case.mean) / case.sd
    for found, part in (
        ("logpdf", norm.logpdf(t) - np.log(case.sd)),
        ("logcdf", norm.logcdf(t)),
        ("logsf", norm.logsf(t)),
    ):
        wanted = logsumexp(part, axis=1, b=case.weight)
        np.testing.assert_allclose(getattr(case.mixture, found)(y[None, :])[0], wanted, rtol=1e-12, atol=1e-14)
    below = case.mixture.logcdf(y[None, :])[0]
    sure = case.sf(y) < 1e-3
    np.testing.assert_allclose(below[sure], np.log1p(-case.sf(y[sure])), rtol=1e-11, atol=1e-307)


@smooth
def test_density_integrates_to_one_and_has_the_moments(case):
    edges = np.concatenate([[case.scatter()[0]], np.sort(case.mean), [case.scatter()[-1]]])

    def integral(f):
        pieces = zip(edges[:-1], edges[1:], strict=True)
        return sum(quad(lambda y: f(y) * case.mixture.pdf(y)[0], a, b, epsabs=1e-11, limit=200)[0] for a, b in pieces)

    mean, var = case.mixture.mean()[0], case.mixture.var()[0]
    np.testing.assert_allclose(
        [integral(lambda y: 1.0), integral(lambda y: y), integral(lambda y: (y - mean) ** 2)], [1, mean, var], atol=1e-7
    )
    np.testing.assert_allclose(case.mixture.std()[0] ** 2, var, rtol=1e-14)


# Quantiles -----------------------------------------------------------------------------------------------------------


def assert_quantiles(case, y, p, tail):
    """The tail at y is p, up to what the last digits of y change."""
    error = np.abs(tail(y) - p)
    assert np.all(error <= 1e-10 * p + 4 * EPS * (np.abs(y) + np.abs(case.mean).max()) * case.pdf(y)), (p, error / p)


@every
@pytest.mark.parametrize("expert", [GaussianExpert(), Plain()], ids=["normal", "any family"])
def test_quantiles_solve_the_distribution_function(case, expert):
    mixture = Case(case.weight, case.mean, case.sd, expert=expert).mixture
    if isinstance(expert, Plain) and case.sd.max() > 1e50 * case.sd.min():
        return  # its bracket is measured by its width
    assert_quantiles(case, mixture.ppf(TAILS[None, :])[0], TAILS, case.cdf)
    assert_quantiles(case, mixture.isf(TAILS[None, :])[0], TAILS, case.sf)
    upper = 1 - np.array([1e-12, 1e-9, 1e-3, 0.2])
    assert_quantiles(case, mixture.ppf(upper[None, :])[0], 1 - upper, case.sf)
    assert_quantiles(case, mixture.isf(upper[None, :])[0], 1 - upper, case.cdf)


@every
def test_quantiles_grow_and_end_at_infinity(case):
    q = np.concatenate([[0.0], np.geomspace(1e-12, 0.5, 40), 1 - np.geomspace(0.49, 1e-12, 40), [1.0]])
    y = case.mixture.ppf(q[None, :])[0]
    assert y[0] == -np.inf and y[-1] == np.inf and np.all(np.diff(y) >= 0)
    np.testing.assert_array_equal(Case(case.weight, case.mean, case.sd, expert=Plain()).mixture.isf([1.0]), [-np.inf])


def test_between_experts_far_apart_the_tails_balance():
    np.testing.assert_allclose(CASES["far apart"].mixture.median(), [0.0], atol=1e-9)
    uneven = Case([0.25, 0.75], [-20, 20], [1, 3])
    np.testing.assert_allclose(uneven.mixture.ppf(0.25), [uneven.mixture.isf(0.75)[0]], rtol=1e-12)
    y = uneven.mixture.ppf(0.25)[0]
    np.testing.assert_allclose(0.25 * norm.sf(y + 20), 0.75 * norm.cdf((y - 20) / 3), rtol=1e-6)


@every
def test_interval_leaves_equal_tails(case):
    low, high = case.mixture.interval(0.9)[0]
    for y, tail in ((low, case.cdf), (high, case.sf)):
        assert_quantiles(case, np.array([y]), np.array([(1 - 0.9) / 2]), tail)


# Modes and highest-density regions ------------------------------------------------------------------------------------


@every
def test_mode_is_the_highest_point(case):
    mode = case.mixture.mode()
    slack = 1e-9 + 4 * EPS * np.abs(mode) / case.sd.min()  # a spike may be narrower than the digits of y
    assert np.all(case.pdf(case.scatter()) <= case.pdf(mode) * (1 + slack))


def test_of_two_equal_modes_the_smaller():
    np.testing.assert_allclose(CASES["far apart"].mixture.mode(), [-20.0], rtol=1e-12)


def densest_by_force(case, coverage):
    """Level of the highest-density region: the densest points of a fine grid, until they have the mass."""
    y = np.linspace(case.scatter()[0], case.scatter()[-1], 200_001)
    density = np.sort(case.pdf(y))[::-1]
    return density[np.searchsorted(np.cumsum(density) * (y[1] - y[0]), coverage)]


@pytest.mark.parametrize("name", SMOOTH[3:7])
def test_level_equals_brute_force(name):
    for coverage in (0.3, 0.9):
        found = CASES[name].mixture.hdr(coverage).level[0]
        np.testing.assert_allclose(found, densest_by_force(CASES[name], coverage), rtol=1e-3)


def mass_of(case, edges):
    """Mass inside and outside, each summed without cancellation."""
    mass = [(case.cdf(a), case.cdf(b), case.sf(a), case.sf(b)) for a, b in edges]
    inside = sum(
        min(cb - ca, sa - sb, key=abs) if ca < 0.5 < cb else (cb - ca if cb <= 0.5 else sa - sb)
        for ca, cb, sa, sb in mass
    )
    gaps = sum(case.cdf(b) - case.cdf(a) for a, b in zip(edges[:-1, 1], edges[1:, 0], strict=True))
    return inside, case.cdf(edges[0, 0]) + gaps + case.sf(edges[-1, 1])


@every
@pytest.mark.parametrize("coverage", COVERAGES)
def test_region_is_where_the_density_exceeds_its_level(case, coverage):
    regions = case.mixture.hdr(coverage)
    edges, level = regions.of(0), regions.level[0]
    assert len(edges) <= len(case.mean) and np.all(np.diff(edges.ravel()) >= 0)
    slack = 4 * EPS * (1 + np.abs(edges).max() / case.sd.min())
    inside, outside = mass_of(case, edges)
    np.testing.assert_allclose(inside, coverage, rtol=1e-7 + slack, atol=1e-12)
    if coverage > 0.5 and slack < 1e-3:
        np.testing.assert_allclose(outside, 1 - coverage, rtol=2e-6)
    np.testing.assert_allclose(case.pdf(edges), level, rtol=1e-7 + 10 * slack)
    y = case.scatter()
    member = np.any((edges[:, [0]] < y) & (y < edges[:, [1]]), axis=0)
    near = np.abs(case.pdf(y) / level - 1) < 1e-6 + 10 * slack
    np.testing.assert_array_equal((case.pdf(y) > level)[~near], member[~near])


def test_many_random_regions_have_their_mass():
    for k in (2, 3, 6):
        rng = np.random.default_rng(k)
        sd = np.exp(rng.normal(0, 1, k))
        params = MoEParams(
            LinearGateParams(rng.normal(0, 1, (k, 2)), np.zeros(k)),
            GaussianExpertParams(rng.normal(0, 3, (k, 2)), np.zeros(k), sd**2),
        )
        model, X = MixtureOfExperts(SoftmaxGate(), GaussianExpert()), rng.normal(size=(3000, 2))
        mixture = ConditionalMixture(model, params, Blocks.plain(model, X))
        for coverage in (0.05, 0.5, 0.95):
            regions = mixture.hdr(coverage)
            low, high = regions.padded().transpose(2, 0, 1)
            mass = np.nan_to_num(mixture.cdf(np.nan_to_num(high)) - mixture.cdf(np.nan_to_num(low)))
            np.testing.assert_allclose((mass * ~np.isnan(low)).sum(axis=1), coverage, atol=1e-11)
            density = mixture.pdf(np.nan_to_num(low))[~np.isnan(low)]
            np.testing.assert_allclose(density, regions.level[regions.rows], rtol=1e-8)
            assert np.all(regions.length() <= np.diff(mixture.interval(coverage))[:, 0] * (1 + 1e-9))


def test_regions_by_row():
    edges = np.array([[0.0, 1.0], [3.0, 5.0], [0.0, 2.0]])
    regions = HighestDensityRegions(edges, np.array([0, 2, 3]), np.array([0.1, 0.2]))
    np.testing.assert_array_equal(regions.of(0), edges[:2])
    np.testing.assert_array_equal(regions.of(-1), edges[2:])
    np.testing.assert_array_equal(regions.n_intervals, [2, 1])
    np.testing.assert_array_equal(regions.rows, [0, 0, 1])
    np.testing.assert_array_equal(regions.length(), [3.0, 2.0])
    np.testing.assert_array_equal(regions.padded(), [[[0, 1], [3, 5]], [[0, 2], [np.nan, np.nan]]])
    np.testing.assert_array_equal(regions.contains([4.0, 4.0]), [True, False])
    np.testing.assert_array_equal(regions.contains([2.0, 2.0]), [False, True])
    with pytest.raises(IndexError):
        regions.of(2)
    with pytest.raises(ValueError, match=r"y must have shape \(2,\)"):
        regions.contains(1.0)


# The valley of "just two modes" is as deep as rounding.
SEARCHED = [name for name in CASES if not name.startswith(("a rare spike", "spikes", "just"))]


@pytest.mark.parametrize("name", SEARCHED)
def test_searched_modes_and_regions_are_the_exact_ones(name):
    """A family that does not say that it is normal gets what a normal one gets."""
    case = CASES[name]
    plain = Case(case.weight, case.mean, case.sd, n=3, expert=Plain()).mixture
    mode, exact = plain.mode(), case.mixture.mode()
    np.testing.assert_allclose(case.pdf(mode), case.pdf(exact)[0], rtol=1e-9)
    for coverage in (0.05, 0.5, 0.9, 0.999, 1 - 1e-9):
        wanted, found = case.mixture.hdr(coverage), plain.hdr(coverage)
        assert np.all(found.n_intervals == wanted.n_intervals)
        scale = np.abs(wanted.edges).max() + case.sd.max()
        for row in range(3):
            np.testing.assert_allclose(found.of(row), wanted.of(0), rtol=1e-6, atol=1e-7 * scale)
        np.testing.assert_allclose(found.level, wanted.level[0], rtol=1e-5)


def normal_level(coverage, sd=1.0):
    """Density at the edges of one normal's highest-density region."""
    return norm.pdf(norm.ppf(0.5 + 0.5 * coverage)) / sd


@pytest.mark.parametrize("sd", [7e-132, 1.0, 1e140])
@pytest.mark.parametrize("mean", [0.0, 3e8, 1e17, -1.6e60, -1.6e174, 1e250])
def test_level_of_one_normal_however_large_its_mean(mean, sd):
    mixture = Case([1.0], [mean], [sd]).mixture
    np.testing.assert_allclose(mixture.hdr(0.5).level, normal_level(0.5, sd), rtol=1e-9)
    np.testing.assert_allclose(mixture.mode(), [mean])
    half = norm.ppf(0.75) * sd
    np.testing.assert_allclose(mixture.hdr(0.5).of(0), [[mean - half, mean + half]], rtol=1e-9, atol=1e-9 * sd)


@pytest.mark.parametrize("scale", [1e17, 1e60, 1e200, 1e308])
def test_regions_of_experts_worlds_apart(scale):
    """Then each expert has a region of its own, at one level: the mass of all is that of an equation for the level."""
    weight, mean, sd = np.array([0.5, 0.3, 0.2]), scale * np.array([-1.0, 0.2, 1.1]), np.array([1.0, 2.0, 0.5])
    mixture = Case(weight, mean, sd).mixture

    def mass(log_level):
        drop = np.log(weight / sd) - 0.5 * np.log(2 * np.pi) - log_level
        return weight @ (2 * norm.cdf(np.sqrt(2 * np.maximum(drop, 0))) - 1)

    for coverage in (0.2, 0.9):
        regions = mixture.hdr(coverage)
        np.testing.assert_allclose(mass(np.log(regions.level[0])), coverage, rtol=1e-9)
        reached = weight / sd / np.sqrt(2 * np.pi) > regions.level[0]
        np.testing.assert_allclose(regions.of(0), np.column_stack([mean, mean])[reached], rtol=1e-12)
    assert mixture.mode()[0] == mean[0]
    np.testing.assert_allclose(mixture.ppf(np.array([[0.25, 0.65, 0.9]])), mean[None], rtol=1e-12)


def test_regions_do_not_depend_on_where_zero_is():
    case = CASES["far apart"]
    moved = Case(case.weight, case.mean + 2.0**20, case.sd)
    one, other = case.mixture.hdr(0.9), moved.mixture.hdr(0.9)
    np.testing.assert_allclose(other.level, one.level, rtol=1e-8)
    np.testing.assert_allclose(other.of(0) - 2.0**20, one.of(0), atol=1e-8)


@pytest.mark.parametrize("seed", range(20))
def test_extreme_mixtures_come_to_an_end(seed):
    rng = np.random.default_rng(seed)
    k = rng.integers(1, 6)
    mean, sd = rng.normal(size=k) * 10.0 ** rng.uniform(-250, 250, k), 10.0 ** rng.uniform(-140, 140, k)
    mixture = Case(rng.dirichlet(np.ones(k)), mean, sd).mixture
    for coverage in (0.05, 0.5, 0.99):
        regions = mixture.hdr(coverage)
        assert np.all(np.isfinite(regions.of(0))) and regions.level[0] > 0
        assert np.all(np.isfinite(mixture.interval(coverage)))
    assert mean.min() <= mixture.mode()[0] <= mean.max()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", ["mean", "sd", "weight"])
def test_kernels_end_for_what_is_no_number(value, at):
    parts = {"weight": np.array([[0.5], [0.5]]), "mean": np.array([[0.0], [3.0]]), "sd": np.array([[1.0], [2.0]])}
    parts[at][1] = value
    normal_modes(**parts)
    normal_regions(**parts, coverage=0.9, drop=1.4)
    normal_quantiles(**parts, p=np.array([0.1]), z=norm.ppf([0.1]), z_share=norm.ppf([[0.2], [0.2]]), sign=1.0)
