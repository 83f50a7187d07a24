import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize

from helpers import sampled
from smoe.experts import GaussianExpertParams
from smoe.gates import (
    ActivationDenseToSparseGate,
    DenseToSparseGate,
    LinearGateParams,
    TemperatureGateParams,
    TopKGate,
)
from smoe.params import MoEParams, flatten, permute, unflatten
from smoe.simulation import (
    Truth,
    density_error,
    parameter_errors,
    rbar,
    selected_experts,
    voronoi_cells,
    voronoi_loss,
)
from smoe.simulation._translations import best_scale, best_shift


def params(slope, intercept, coef, b, v, tau=None):
    gate = LinearGateParams(np.atleast_2d(np.transpose(slope)).T * 1.0, np.array(intercept, dtype=float))
    if tau is not None:
        gate = TemperatureGateParams(*gate, np.array(float(tau)))
    expert = GaussianExpertParams(
        np.atleast_2d(np.transpose(coef)).T * 1.0, np.array(b, dtype=float), np.array(v, dtype=float)
    )
    return MoEParams(gate, expert)


T0 = params([25, 0], [-8, 0], [-20, 20], [15, -5], [0.09, 0.16])


def random_params(rng, k, d, tau=None):
    return params(
        rng.normal(size=(k, d)), rng.normal(size=k), rng.normal(size=(k, d)), rng.normal(size=k),
        rng.uniform(0.2, 1, k), tau,
    )  # fmt: skip


def near(true, order, rng, spread=0.05):
    """Copies of the true atoms, moved a little and translated a lot."""
    fitted = permute(true, order)
    fitted = unflatten(flatten(fitted) + spread * rng.normal(size=flatten(fitted).size), fitted)
    fitted = fitted._replace(expert=fitted.expert._replace(variance=np.abs(fitted.expert.variance)))
    return translated(fitted, 1.3, rng.normal(size=fitted.gate.coef.shape[1]))


def translated(p, t1, t2):
    return p._replace(gate=p.gate._replace(coef=p.gate.coef + t2, intercept=p.gate.intercept + t1))


# The twin: loops, a grid and a simplex ----------------------------------------------------------------------------


def atom(p, i):
    return [*p.expert.coef[i], p.expert.intercept[i], p.expert.variance[i]]


def twin_cells(fitted, true):
    return [
        min(range(len(true.expert.variance)), key=lambda j, i=i: math.dist(atom(fitted, i), atom(true, j)))
        for i in range(len(fitted.expert.variance))
    ]


def twin_summands(fitted, true, kind, t1, t2, r=None, scale_fitted=True):
    """The summand of each cell at given translations; fitted weights as they are, or adding up to one."""
    weight = [math.exp(b) for b in fitted.gate.intercept]
    if scale_fitted:
        weight = [w / math.fsum(weight) for w in weight]
    cell, sums = twin_cells(fitted, true), []
    for j in range(len(true.expert.variance)):
        members = [i for i, c in enumerate(cell) if c == j]
        total = abs(math.fsum(weight[i] for i in members) - math.exp(true.gate.intercept[j] + t1))
        power = r or {0: 0, 1: 1, 2: 4, 3: 6}.get(len(members))
        for i in members:
            slope = math.dist(fitted.gate.coef[i], true.gate.coef[j] + t2)
            a = math.dist(fitted.expert.coef[i], true.expert.coef[j])
            b = abs(fitted.expert.intercept[i] - true.expert.intercept[j])
            v = abs(fitted.expert.variance[i] - true.expert.variance[j])
            if len(members) == 1 or kind == "D1":
                total += weight[i] * math.hypot(slope, a, b, v)
            else:
                total += weight[i] * (math.hypot(slope, b) ** power + math.hypot(a, v) ** (power / 2))
        sums.append(total)
    return sums


def twin_loss(fitted, true, kind, r=None):
    """Infimum over both translations at once: a coarse grid for t2, for t1 too, then simplexes from the best points."""
    d = true.gate.coef.shape[1]
    middle = fitted.gate.coef.mean(axis=0) - true.gate.coef.mean(axis=0)
    t1s = -np.log(np.exp(true.gate.intercept).sum()) + np.linspace(-2, 2, 21)
    t2s = [middle + offset for offset in itertools.product(np.linspace(-2, 2, 21 if d == 1 else 9), repeat=d)]
    # The two translations separate: each is searched with the other one fixed.
    one = min(t1s, key=lambda t1: sum(twin_summands(fitted, true, kind, t1, middle, r)))
    two = sorted(t2s, key=lambda t2: sum(twin_summands(fitted, true, kind, one, t2, r)))[:3]

    def value(t):
        return sum(twin_summands(fitted, true, kind, t[0], np.array(t[1:]), r))

    best = np.inf
    for start in two:
        t, size = np.array([one, *start]), 0.3
        for _ in range(6):
            simplex = t + size * np.vstack([np.zeros(d + 1), np.eye(d + 1)])
            options = {"xatol": 1e-13, "fatol": 1e-15, "maxiter": 4000, "maxfev": 4000, "initial_simplex": simplex}
            found = minimize(value, t, method="Nelder-Mead", options=options)
            t, size = found.x, 0.1 * size
            best = min(best, found.fun)
    return best


# Cells ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_cells_by_loops(seed):
    rng = np.random.default_rng(seed)
    fitted, true = random_params(rng, 6, 2), random_params(rng, 3, 2)
    np.testing.assert_array_equal(voronoi_cells(fitted, true), twin_cells(fitted, true))


def test_a_tie_goes_to_the_lowest_index():
    true = params([0, 0, 0], [0, 0, 0], [1, 1, 1], [2, 0, -2], [1, 1, 1])
    fitted = params([0, 0], [0, 0], [1, 1], [1, -1], [1, 1])
    np.testing.assert_array_equal(voronoi_cells(fitted, true), [0, 1])
    np.testing.assert_array_equal(voronoi_cells(fitted, permute(true, [2, 1, 0])), [1, 0])


def test_variances_count_not_standard_deviations():
    true = params([0, 0], [0, 0], [0, 0], [0, 1], [9, 16])
    fitted = params([0], [0], [0], [0.5], [12.4])  # 3.4 from 9 and 3.6 from 16; sd 3.52 is nearer to 4
    np.testing.assert_array_equal(voronoi_cells(fitted, true), [0])


def test_cells_of_all_see_the_slope_after_the_translation():
    true = params([4, 0, 0], [0, 0, 0], [1, 1, -1], [0, 0.1, 3], [1, 1, 1])
    fitted = translated(permute(true, [1, 0, 2]), 2.0, [7.0])
    fitted = fitted._replace(expert=fitted.expert._replace(intercept=np.array([0.04, 0.06, 3.0])))
    np.testing.assert_array_equal(voronoi_cells(fitted, true, "expert"), [0, 1, 2])
    np.testing.assert_array_equal(voronoi_cells(fitted, true, "all"), [1, 0, 2])
    # Pinned at the last expert, slopes agree here as well; pinned at another one they do not.
    np.testing.assert_array_equal(voronoi_cells(fitted, true, "all", infimum=False), [1, 0, 2])
    moved = permute(fitted, [0, 2, 1])
    np.testing.assert_array_equal(voronoi_cells(moved, true, "all"), [1, 2, 0])
    assert voronoi_cells(moved, true, "all", infimum=False).tolist() != [1, 2, 0]


# The loss of the softmax gate ----------------------------------------------------------------------------------------

SPLITS = [[0, 1, 2], [2, 0, 1, 1], [0, 0, 1, 2, 2], [1, 1, 1, 0, 2], [0, 2], [0, 0, 2, 2]]


@pytest.mark.parametrize("kind", ["D1", "D2"])
@pytest.mark.parametrize("order", SPLITS, ids=str)
@pytest.mark.parametrize("d", sampled([1, 2]))
def test_loss_by_grid_and_simplex(kind, order, d):
    rng = np.random.default_rng([len(order), d])
    true = random_params(rng, 3, d)
    fitted = near(true, order, rng, spread=0.2)
    loss = voronoi_loss(fitted, true, kind)
    brute = twin_loss(fitted, true, kind)
    assert loss <= brute * (1 + 1e-12)  # nothing that a search finds is lower
    assert loss == pytest.approx(brute, rel=1e-7)  # and the value is attained
    assert loss > 1e-3


def test_nothing_else_in_the_definition_than_the_display():
    """By hand: one feature, one split cell, one single, translations known."""
    true = params([2, 0], [np.log(3), 0], [1, -1], [0, 5], [1, 2])
    fitted = params([2.1, 1.9, 0], [np.log(1.5), np.log(1.5), 0], [1.2, 1, -1], [0, 0.1, 5.3], [1, 1.1, 2])
    by_hand = (
        0.375 * (0.1**4 + 0.2**2) + 0.375 * ((0.1**2 + 0.1**2) ** 2 + 0.1**2) + 0.25 * 0.3
    )  # t1 matches the weights, t2 = 0 by symmetry up to the single's pull
    loss = voronoi_loss(fitted, true)
    assert loss == pytest.approx(by_hand, rel=2e-3) and loss <= by_hand
    plain = 0.375 * math.hypot(0.1, 0.2) + 0.375 * math.hypot(0.1, 0.1, 0.1) + 0.25 * 0.3
    assert voronoi_loss(fitted, true, "D1", infimum=False) == pytest.approx(4 * plain)


@pytest.mark.parametrize("kind", ["D1", "D2"])
@pytest.mark.parametrize("cells", ["expert", "all"])
def test_an_exact_fit_loses_exactly_nothing(kind, cells, rng):
    for true in (T0, random_params(rng, 4, 3)):
        k = len(true.gate.intercept)
        assert voronoi_loss(true, true, kind, cells=cells) == 0.0
        assert voronoi_loss(true, true, kind, cells=cells, infimum=False) == 0.0
        assert voronoi_loss(permute(true, range(k)[::-1]), true, kind, cells=cells) <= 1e-14


@pytest.mark.parametrize("kind", ["D1", "D2"])
@pytest.mark.parametrize("cells", ["expert", "all"])
def test_a_split_without_a_change_of_density_loses_nothing(kind, cells):
    split = permute(T0, [0, 1, 1])
    split = split._replace(gate=split.gate._replace(intercept=np.array([-8.0, np.log(0.3), np.log(0.7)])))
    assert voronoi_loss(split, T0, kind, cells=cells) <= 1e-14
    assert voronoi_loss(split, T0, kind, cells=cells, infimum=False) > 0.1  # the reference expert was split


@pytest.mark.parametrize("kind", ["D1", "D2"])
@pytest.mark.parametrize("cells", ["expert", "all"])
def test_loss_depends_on_the_densities_only(kind, cells, rng):
    true = random_params(rng, 3, 2)
    fitted = near(true, [0, 1, 1, 2, 0], rng)
    loss = voronoi_loss(fitted, true, kind, cells=cells)
    assert loss > 1e-3
    for one, other in [
        (translated(fitted, 2.0, [3.0, -1.0]), true),
        (fitted, translated(true, -3.0, [0.5, 4.0])),
        (permute(fitted, [4, 2, 0, 1, 3]), true),
        (fitted, permute(true, [2, 0, 1])),
    ]:
        assert voronoi_loss(one, other, kind, cells=cells) == pytest.approx(loss, rel=1e-9)


def test_without_the_infimum_both_are_pinned_at_the_last(rng):
    true = random_params(rng, 2, 1)
    fitted = near(true, [0, 1, 1], rng)
    pinned = [translated(p, -p.gate.intercept[-1], -p.gate.coef[-1]) for p in (fitted, true)]
    by_loops = sum(twin_summands(*pinned, "D2", 0.0, 0.0, scale_fitted=False))
    assert voronoi_loss(fitted, true, infimum=False) == pytest.approx(by_loops, rel=1e-12)
    assert voronoi_loss(*pinned, infimum=False) == pytest.approx(by_loops, rel=1e-12)
    assert voronoi_loss(fitted, true) < by_loops


def test_the_weight_of_an_empty_cell_remains():
    fitted = permute(T0, [1])
    # Both weights add up to one: the cell that is filled is matched exactly, the other one misses its share.
    assert voronoi_loss(fitted, T0) == pytest.approx(np.exp(-8) / (1 + np.exp(-8)) / (1 / (1 + np.exp(-8))), rel=1e-9)
    assert voronoi_loss(fitted, T0, infimum=False) == pytest.approx(np.exp(-8), rel=1e-12)
    errors = parameter_errors(fitted, T0)
    assert np.isnan(errors["expert_coef"][0]) and errors["expert_coef"][1] == 0.0
    assert errors["gate_weight"][0] == pytest.approx(np.exp(-8), rel=1e-9)


def test_rbar():
    assert [rbar(m) for m in (1, 2, 3)] == [1, 4, 6]
    with pytest.raises(ValueError, match="at least 7.*exponent="):
        rbar(4)
    with pytest.raises(TypeError, match="m must be an integer"):
        rbar(2.0)


def test_exponents(rng):
    true = random_params(rng, 2, 1)
    four = near(true, [0, 0, 0, 0, 1], rng)
    with pytest.raises(ValueError, match="4 atoms; pass exponent="):
        voronoi_loss(four, true)
    with pytest.raises(ValueError, match="exponent must be a number of at least 2"):
        voronoi_loss(four, true, exponent=1.0)
    assert voronoi_loss(four, true, "D1") > 0
    eight = voronoi_loss(four, true, exponent=8)
    assert eight == voronoi_loss(four, true, exponent=lambda m: 2 * m)
    assert eight == pytest.approx(twin_loss(four, true, "D2", 8), rel=1e-7)
    assert eight != voronoi_loss(four, true, exponent=7)


# The translations ----------------------------------------------------------------------------------------------------


def test_scale_is_the_weighted_median(rng):
    for _ in range(50):
        fitted, true = rng.exponential(size=(2, 5))
        fitted[0] = 0.0
        grid = np.append(np.linspace(0, 20, 20001), fitted / true)
        best = np.abs(fitted[:, None] - grid * true[:, None]).sum(axis=0).min()
        assert np.abs(fitted - best_scale(fitted, true) * true).sum() == pytest.approx(best, rel=1e-12)


def lost(t, points, base, power, weight):
    return sum(
        w * (math.dist(p, t) ** 2 + c) ** (r / 2) for p, c, r, w in zip(points, base, power, weight, strict=True)
    )


@pytest.mark.parametrize("d", [1, 2, 3])
def test_shift_is_optimal(d):
    """Convexity: no lower value in any direction, near or far, is proof."""
    rng = np.random.default_rng(d)
    kinks = 0
    for _ in range(60):
        n = rng.integers(1, 7)
        points = rng.normal(size=(n, d)) * 10 ** rng.uniform(-5, 1)
        base = np.where(rng.random(n) < 0.4, 0.0, 10 ** rng.uniform(-16, 1, n))
        problem = points, base, rng.choice([1.0, 1.0, 4.0, 6.0], n), 10 ** rng.uniform(-4, 0, n)
        t = best_shift(*problem)
        value = lost(t, *problem)
        kinks += (points == t).all(axis=1).any()
        size = np.abs(points - t).max() + 1e-9
        for length in size * 10.0 ** np.arange(-12, 1):
            for step in length * np.vstack([np.eye(d), -np.eye(d), rng.normal(size=(10, d))]):
                assert lost(t + step, *problem) >= value * (1 - 1e-12)
    assert 5 < kinks < 55  # both kinds of minimum occur


# Other gates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top_k", [2, 3, 4])
def test_top_k_is_the_largest_sum_over_subsets(top_k, rng):
    true = random_params(rng, 4, 2)
    fitted = near(true, [0, 1, 1, 2, 3, 3], rng)
    pinned = [translated(p, -p.gate.intercept[-1], -p.gate.coef[-1]) for p in (fitted, true)]
    summands = twin_summands(*pinned, "D2", 0.0, 0.0, scale_fitted=False)
    largest = max(map(sum, itertools.combinations(summands, top_k)))
    gate = TopKGate(top_k)
    assert voronoi_loss(fitted, true, gate=gate, infimum=False) == pytest.approx(largest, rel=1e-12)
    loss, everything = voronoi_loss(fitted, true, gate=gate), voronoi_loss(fitted, true)
    assert top_k / 4 * everything <= loss <= everything
    assert (loss == everything) == (top_k == 4)
    other = translated(permute(fitted, [5, 3, 1, 0, 2, 4]), 1.0, [2.0, 3.0])
    assert voronoi_loss(other, permute(true, [3, 1, 0, 2]), gate=gate) == pytest.approx(loss, rel=1e-9)


def test_top_1_does_not_know_the_scale_of_its_scores(rng):
    scaled = T0._replace(gate=LinearGateParams(3.0 * T0.gate.coef, 3.0 * T0.gate.intercept))
    for one in (scaled, permute(translated(scaled, 1.0, [2.0]), [1, 0])):
        assert voronoi_loss(one, T0, gate=TopKGate(1)) <= 1e-13
        assert voronoi_loss(one, T0) > 1e-4
    moved = T0._replace(gate=T0.gate._replace(intercept=np.array([-9.0, 0.0])))
    assert voronoi_loss(moved, T0, gate=TopKGate(1)) > 1e-3


@pytest.mark.parametrize("gate", [DenseToSparseGate(), DenseToSparseGate(2.0), ActivationDenseToSparseGate("identity")])
def test_linear_scores_over_a_temperature_are_softmax(gate, rng):
    true = random_params(rng, 3, 1, tau=2.0)
    fitted = near(true, [0, 1, 2, 2], rng)
    fitted = fitted._replace(gate=fitted.gate._replace(temperature=np.array(2.0)))
    halved = [p._replace(gate=LinearGateParams(p.gate.coef / 2, p.gate.intercept / 2)) for p in (fitted, true)]
    loss = voronoi_loss(fitted, true, gate=gate)
    assert loss == pytest.approx(voronoi_loss(*halved), rel=1e-9)
    assert "temperature" not in parameter_errors(fitted, true, gate=gate)


@pytest.mark.parametrize("gate", [DenseToSparseGate(), ActivationDenseToSparseGate("relu")])
def test_the_ray_is_not_seen(gate, rng):
    true = random_params(rng, 3, 2, tau=2.0)
    along = true._replace(gate=TemperatureGateParams(*(3.0 * field for field in true.gate)))
    assert voronoi_loss(along, true, gate=gate) <= 1e-13
    fixed = ActivationDenseToSparseGate("relu", temperature=2.0)
    assert voronoi_loss(along, true, gate=fixed) > 0.1


def activated_summands(fitted, true, t1=0.0):
    tau, tau_true = float(fitted.gate.temperature), float(true.gate.temperature)
    weight = [math.exp(b / tau) for b in fitted.gate.intercept]
    weight = [w / math.fsum(weight) for w in weight]
    cell, out = twin_cells(fitted, true), []
    for j in range(len(true.expert.variance)):
        members = [i for i, c in enumerate(cell) if c == j]
        total = abs(math.fsum(weight[i] for i in members) - math.exp(true.gate.intercept[j] / tau_true + t1))
        r = {0: 1, 1: 1, 2: 4, 3: 6}[len(members)]
        powers = (1, 1, 1, 1, 1) if r == 1 else (2, 2, 2, r, r / 2)
        for i in members:
            terms = (
                math.dist(fitted.gate.coef[i], true.gate.coef[j]), abs(tau - tau_true),
                math.dist(fitted.expert.coef[i], true.expert.coef[j]),
                abs(fitted.expert.intercept[i] - true.expert.intercept[j]),
                abs(fitted.expert.variance[i] - true.expert.variance[j]),
            )  # fmt: skip
            total += weight[i] * sum(t**p for t, p in zip(terms, powers, strict=True))
        out.append(total)
    return out


@pytest.mark.parametrize("activation", ["sigmoid", "gelu"])
@pytest.mark.parametrize("order", [[0, 1, 2], [0, 1, 1, 2], [2, 1, 0, 0, 0]], ids=str)
def test_activated_scores(activation, order, rng):
    gate = ActivationDenseToSparseGate(activation)
    true = random_params(rng, 3, 2, tau=0.7)
    fitted = permute(true, order)
    fitted = unflatten(flatten(fitted) + 0.1 * rng.uniform(0.1, 1, flatten(fitted).size), fitted)
    t1 = minimize(lambda t: sum(activated_summands(fitted, true, t[0])), [0.0], method="Nelder-Mead",
                  options={"xatol": 1e-13, "fatol": 1e-15, "maxiter": 2000}).x[0]  # fmt: skip
    loss = voronoi_loss(fitted, true, gate=gate)
    assert loss == pytest.approx(sum(activated_summands(fitted, true, t1)), rel=1e-8)
    shifted = fitted._replace(gate=fitted.gate._replace(intercept=fitted.gate.intercept + 1.0))
    assert voronoi_loss(shifted, true, gate=gate) == pytest.approx(loss, rel=1e-9)
    errors = parameter_errors(fitted, true, gate=gate)
    gap = float(fitted.gate.temperature - true.gate.temperature)
    np.testing.assert_allclose(errors["temperature"], gap, rtol=1e-12)


def test_slopes_of_an_activated_gate_are_not_translated(rng):
    true = random_params(rng, 3, 1, tau=1.0)
    moved = translated(true, 0.0, [0.5])
    gate = ActivationDenseToSparseGate("sigmoid")
    assert voronoi_loss(moved, true, gate=gate) == pytest.approx(0.5, rel=1e-9)  # weights add up to one
    assert voronoi_loss(moved, true, gate=DenseToSparseGate()) <= 1e-13


@pytest.mark.parametrize("order", [[0, 1], [1, 0], [0, 1, 1]], ids=str)
def test_the_mirror_image_of_two_experts_under_an_odd_activation(order, rng):
    true = random_params(rng, 2, 2, tau=1.0)
    mirrored = true._replace(gate=true.gate._replace(coef=-true.gate.coef[::-1]))
    odd, gelu = ActivationDenseToSparseGate("tanh"), ActivationDenseToSparseGate("gelu")
    fitted = permute(true, order)
    for other in (true, mirrored):
        for image in (fitted, permute(mirrored, order)):
            # A copy of an atom adds its weight, which t1 cannot undo: the same either way.
            assert voronoi_loss(image, other, gate=odd) == pytest.approx(
                voronoi_loss(fitted, true, gate=odd), abs=1e-13
            )
    assert voronoi_loss(fitted, mirrored, gate=gelu) > voronoi_loss(fitted, true, gate=gelu) + 1e-3


# Errors of the groups ------------------------------------------------------------------------------------------------


def test_parameter_errors_by_hand():
    true = params([2, 0], [np.log(3), 0], [1, -1], [0, 5], [1, 2])
    fitted = params([2.3, 1.9, 0], [np.log(1), np.log(2), 0], [1.2, 1, -1], [0, -0.1, 5.3], [1, 1.4, 2])
    errors = parameter_errors(permute(translated(fitted, 1.0, [4.0]), [2, 0, 1]), true)
    np.testing.assert_allclose(errors["gate_weight"], [0, 0], atol=1e-15)
    np.testing.assert_allclose(errors["expert_coef"], [0.2, 0], atol=1e-12)
    np.testing.assert_allclose(errors["expert_intercept"], [0.1, 0.3], atol=1e-12)
    np.testing.assert_allclose(errors["expert_variance"], [0.4, 0], atol=1e-12)
    # The single atom fixes t2 up to the pull of the split cell's fourth powers.
    np.testing.assert_allclose(errors["gate_coef"], [0.3, 0], atol=0.03)
    assert list(errors) == ["gate_weight", "gate_coef", "expert_coef", "expert_intercept", "expert_variance"]


def test_split_cells_do_not_drag_the_translation_along():
    """A heavy split cell: with D1 its slopes decide t2, with D2 the single does."""
    true = params([2, 0], [np.log(50), 0], [1, -1], [0, 5], [1, 2])
    fitted = params([2.1, 2.1, 0], [np.log(25), np.log(25), 0], [1, 1, -1], [0, 0, 5], [1, 1, 2])
    assert parameter_errors(fitted, true, kind="D1")["gate_coef"][1] == pytest.approx(0.1, rel=1e-6)
    assert parameter_errors(fitted, true, kind="D2")["gate_coef"][1] < 1e-12


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"kind": "D3"}, ValueError, "kind='D3' is not known; choose 'D1', 'D2' or 'sharp'"),
        ({"cells": "gate"}, ValueError, "cells='gate' is not known"),
        ({"gate": "hard"}, ValueError, "gate='hard' is not known"),
        ({"gate": "dense_to_sparse"}, TypeError, "fitted.gate must be TemperatureGateParams"),
        ({"gate": TopKGate(3)}, ValueError, "top_k=3 is larger than n_experts=2"),
        ({"fitted": T0.gate}, TypeError, "fitted must be MoEParams"),
        (
            {"true": params([[1, 2]], [0], [[1, 2]], [0], [1])},
            ValueError,
            "fitted.gate has 1 features, true.gate has 2",
        ),
        ({"fitted": T0._replace(gate=T0.gate._replace(intercept=np.array([np.nan, 0])))}, ValueError, "must be finite"),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        voronoi_loss(**{"fitted": T0, "true": T0, **change})


def test_the_sharp_loss_by_hand():
    """Three atoms, expert 0 split: squares of slopes, fourth power of intercepts, squares of variances."""
    gate = LinearGateParams(np.array([[25.3], [24.8], [0.0]]), np.log([0.6, 0.3, 0.1]))
    expert = GaussianExpertParams(
        np.array([[-20.1], [-19.8], [20.0]]), np.array([15.2, 14.7, -4.9]), np.array([0.1, 0.07, 0.16])
    )
    true = MoEParams(LinearGateParams(np.array([[25.0], [0.0]]), np.log([0.9, 0.1])), T0.expert)

    def at(t):
        first = (0.3 - t) ** 2 + 0.1**2 + 0.2**4 + 0.01**2
        second = (-0.2 - t) ** 2 + 0.2**2 + 0.3**4 + 0.02**2
        return 0.6 * first + 0.3 * second + 0.1 * math.hypot(t, 0.1)

    expected = min(at(t) for t in np.linspace(-0.5, 0.5, 100_001))
    assert voronoi_loss(MoEParams(gate, expert), true, "sharp") == pytest.approx(expected, rel=1e-9)


def test_where_every_expert_is_split_there_is_no_loss():
    """A common factor of all weights sends copies apart, and the density does not notice."""
    gate, expert = permute(T0, [0, 0, 1, 1])
    slope = gate.coef + np.array([[3.0], [-3.0], [3.0], [-3.0]])
    apart = MoEParams(gate._replace(coef=slope - slope[-1]), expert)
    assert density_error(apart, Truth("softmax", T0)).value < 1e-7
    for kind in ("D2", "sharp"):
        with pytest.raises(ValueError, match="is no loss here: every true expert has two fitted atoms or more"):
            voronoi_loss(apart, T0, kind)
    assert voronoi_loss(apart, T0, "D1") > 0.1 and voronoi_loss(apart, T0, infimum=False) > 1.0
    assert voronoi_loss(permute(T0, [0, 0, 0, 1]), T0, "sharp") > 0


def test_atoms_that_are_selected_nowhere_leave_the_cells():
    true = MoEParams(T0.gate, T0.expert)
    gate, expert = permute(true, [0, 0, 1])
    spare = MoEParams(gate._replace(intercept=np.array([-13.0, -8.0, 0.0])), expert)
    truth, top_1 = Truth(TopKGate(1), true), TopKGate(1)
    selected = selected_experts(spare, truth, model=Truth(top_1, spare).model)
    assert selected.tolist() == [False, True, True]
    assert voronoi_loss(spare, true, gate=top_1) > 0.1
    assert voronoi_loss(spare, true, gate=top_1, selected=selected) == pytest.approx(0.0, abs=1e-12)
    assert parameter_errors(spare, true, gate=top_1, selected=selected)["gate_coef"].max() < 1e-12
    assert selected_experts(spare, truth, model=Truth("softmax", spare).model).all()


@pytest.mark.parametrize("selected", [[True], [1, 0, 1], [False] * 3, np.nan])
def test_bad_selections(selected):
    with pytest.raises(ValueError, match="selected must hold 3 booleans"):
        voronoi_loss(permute(T0, [0, 0, 1]), T0, selected=selected)


def test_one_true_expert():
    one = params([0], [0], [1], [0], [1])
    two = params([0, 0], [0, 0], [1, 1], [0.1, -0.1], [1, 1])
    assert voronoi_loss(two, one, "D1") == pytest.approx(0.1, rel=1e-9)
    with pytest.raises(ValueError, match="true has one expert"):
        tempered = [p._replace(gate=TemperatureGateParams(*p.gate, np.array(1.0))) for p in (two, one)]
        voronoi_loss(*tempered, gate=ActivationDenseToSparseGate())
