"""Residuals that are standard normal, and PIT values that are uniform, if the model is right."""

import numpy as np
from scipy.special import ndtri
from sklearn.utils import check_random_state

__all__ = ["quantile_residuals", "varies"]

_ROUNDING = 1e-9
_SMALLEST = np.finfo(float).smallest_subnormal  # its normal quantile is -38.5


def quantile_residuals(model, blocks, params, random_state):
    """Return PIT values and quantile residuals, each computed from the nearer tail."""
    rng = np.random.default_rng(check_random_state(random_state).randint(2**31, size=4))
    lower, upper = blocks.map(_discrete_tails if model.expert.discrete else _tails, params, model, rng)
    below = lower < upper
    near = ndtri(np.maximum(np.minimum(lower, upper), _SMALLEST))
    return np.where(below, lower, 1.0 - upper), np.where(below, near, -near)


def _tails(block, params, model, rng, shift=0.0):
    """Probabilities up to y - shift and beyond it, (2, m)."""
    proba, expert = model.gate_proba(block, params), model.expert
    tails = [expert.cdf(block.expert_Z, block.y - shift, params.expert, upper) for upper in (False, True)]
    return np.array([(proba * tail).sum(axis=0) for tail in tails])


def _discrete_tails(block, params, model, rng):
    """The same up to a point that is drawn between y - 1 and y."""
    position = rng.random(len(block))
    return position * _tails(block, params, model, rng) + (1.0 - position) * _tails(block, params, model, rng, 1.0)


def varies(values):
    """Whether values differ by more than rounding."""
    return values.std() > _ROUNDING * np.abs(values).max()
