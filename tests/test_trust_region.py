"""Newton's trust region: the step in the ball is the model's minimum there; steps of EM shorten the way on a ridge."""

import numpy as np
import pytest

from smoe.datasets import make_moe
from smoe.experts import GaussianExpert
from smoe.gates import SoftmaxGate
from smoe.mixture import MixtureOfExperts
from smoe.rows import ArraySource, Blocks, standardise
from smoe.solvers import Newton, trust_region
from smoe.solvers.trust_region import in_ball

MODEL = MixtureOfExperts(SoftmaxGate(), GaussianExpert())


def assert_minimum_in_ball(gradient, hessian, radius):
    """Moré and Sorensen: (H + s) p = -g, H + s positive semidefinite, s >= 0, and s > 0 only on the sphere."""
    step, gain = in_ball(gradient, hessian, radius)
    length, size = np.linalg.norm(step), np.abs(hessian).max()
    assert length <= 1.002 * radius
    residual = -(gradient + hessian @ step)
    shift = residual @ step / length**2 if length else 0.0
    np.testing.assert_allclose(residual, shift * step, atol=1e-8 * (np.linalg.norm(gradient) + size * length))
    assert shift >= -1e-8 * size and np.linalg.eigvalsh(hessian)[0] + shift >= -1e-8 * size
    assert shift <= 1e-8 * size or length > 0.998 * radius
    np.testing.assert_allclose(gain, -(gradient @ step + 0.5 * step @ hessian @ step), rtol=1e-8)


@pytest.mark.parametrize("radius", [1e-3, 0.3, 1.0, 50.0])
@pytest.mark.parametrize("low", [-5.0, -1e-6, 1e-6, 1.0])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_step_is_the_minimum_in_the_ball(n, low, radius, rng):
    for _ in range(10):
        vectors = np.linalg.qr(rng.normal(size=(n, n)))[0]
        values = np.concatenate([[low], rng.uniform(0.1, 100.0, n - 1)])
        assert_minimum_in_ball(rng.normal(size=n), (vectors * values) @ vectors.T, radius)


@pytest.mark.parametrize("radius", [0.01, 10.0])
def test_step_in_the_hard_case(radius):
    assert_minimum_in_ball(np.array([0.0, 1.0]), np.diag([-1.0, 2.0]), radius)


def test_no_gradient_leads_down_from_a_saddle():
    assert_minimum_in_ball(np.zeros(2), np.diag([-1.0, 2.0]), 0.5)


def over_specified():
    """Three experts for two."""
    moe = make_moe(2000, n_experts=2, random_state=0)
    columns = np.arange(1)
    source = ArraySource(moe.data, moe.target)
    scaling = standardise(MODEL, source, columns, columns)
    params = scaling.from_units(MODEL, moe.params)
    three = type(params)(*(type(part)(*(field[[0, 1, 1]] for field in part)) for part in params))
    near = three.expert._replace(intercept=three.expert.intercept + [0.0, 0.2, -0.2])
    return Blocks(MODEL, source, scaling), three._replace(expert=near)


def test_em_shortens_the_way_along_a_ridge(monkeypatch):
    blocks, start = over_specified()
    with_em = Newton(max_iter=200).solve(MODEL, blocks, start)
    monkeypatch.setattr(trust_region, "_back_on_ridge", lambda objective, theta, radius: theta)
    alone = Newton(max_iter=200).solve(MODEL, blocks, start)
    assert with_em.converged and alone.converged
    np.testing.assert_allclose(with_em.loglik, alone.loglik, atol=1e-6)
    assert with_em.n_iter < alone.n_iter
