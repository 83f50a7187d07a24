"""Data drawn from a random or given mixture of experts."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from smoe.experts import GaussianExpert, GaussianExpertParams
from smoe.gates import GATES, Gate
from smoe.hints import Seed
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, n_experts_of
from smoe.registry import resolve
from smoe.rows import Blocks
from smoe.validation import check_callable, check_floats, check_generator, check_number, check_params

__all__ = ["make_moe"]

_ATTEMPTS = 100_000
_GLANCE = 200  # rows that tell at once that an expert is hardly used


def make_moe(
    n_samples: int = 1000,
    n_features: int = 1,
    n_experts: int = 2,
    *,
    params: MoEParams | None = None,
    gate: Any = "softmax",
    covariates: Callable | None = None,
    min_share: float = 0.05,
    random_state: Seed = None,
) -> Bunch:
    r"""Draw data from a Gaussian mixture of experts and return them with the truth.

    x is uniform on :math:`[-1, 1]^d` unless ``covariates`` says otherwise. A random truth has gate slopes and
    intercepts N(0, 9), expert slopes and intercepts N(0, 9) and noise standard deviations uniform on [0.3, 0.8]; it
    is drawn again until every expert has produced at least ``min_share`` of the rows. Gates with a temperature have
    slopes N(0, 16), intercepts N(0, 1) and, where it is learned, a temperature between 0.3 and 2, uniform on the log
    scale; whatever else a gate has is N(0, 9), too.

    Parameters
    ----------
    n_samples, n_features, n_experts : int
        Sizes; ``n_features`` and ``n_experts`` are those of ``params`` if that is given.
    params : MoEParams or None, default=None
        The truth, None for a random one.
    gate : str or Gate, default="softmax"
    covariates : callable or None, default=None
        ``covariates(n_samples, rng)`` returns x of shape (n_samples, n_features), with a NumPy generator as ``rng``.
    min_share : float, default=0.05
        Smallest share of rows of an expert of a random truth.
    random_state : int, Generator, RandomState or None, default=None

    Returns
    -------
    Bunch
        ``data`` (n_samples, n_features), ``target`` (n_samples,), ``label`` (the expert each row came from),
        ``params`` (the truth), ``loglik`` (the truth's log-likelihood of these data: a fit below it is no maximum).

    Raises
    ------
    ValueError, TypeError
        An argument that makes no sense; the message names it.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import make_moe
    >>> moe = make_moe(500, n_features=2, n_experts=3, random_state=0)
    >>> model = SoftmaxMoERegressor(3, random_state=0).fit(moe.data, moe.target)
    >>> model.loglik_ >= moe.loglik
    True
    """
    check_number(n_samples, "n_samples", 1, integer=True)
    rng = check_generator(random_state)
    if covariates is not None:
        check_callable(covariates, "covariates", "n_samples and rng")
    model = MixtureOfExperts(resolve(gate, GATES, Gate, "gate"), GaussianExpert())
    if params is not None:
        return _draw(model, check_params(model, params), n_samples, covariates, rng)
    check_number(n_features, "n_features", 1, integer=True)
    check_number(n_experts, "n_experts", 1, integer=True)
    model.gate.check(n_experts)
    _check_share(min_share, n_experts, n_samples)
    for _ in range(_ATTEMPTS):
        truth = _random_truth(model, n_experts, n_features, rng)
        few = _draw(model, truth, min(n_samples, _GLANCE), covariates, rng).label
        if np.bincount(few, minlength=n_experts).min() < 0.5 * min_share * len(few):
            continue  # most truths fail at a glance
        data = _draw(model, truth, n_samples, covariates, rng)
        if np.bincount(data.label, minlength=n_experts).min() >= min_share * n_samples:
            return data
    raise ValueError(f"no truth with every expert on min_share={min_share} of the rows in {_ATTEMPTS} draws; lower it.")


def _check_share(min_share, n_experts, n_samples):
    """Raise unless so many experts can have this share of the rows each."""
    check_number(min_share, "min_share", 0.0, high=1.0)
    if n_experts * np.ceil(min_share * n_samples) > n_samples:
        raise ValueError(
            f"min_share={min_share}: {n_experts} experts cannot have that share of {n_samples} rows each; lower it."
        )


def _random_truth(model, k, d, rng):
    gate = model.gate.init_params(k, d)
    if hasattr(gate, "temperature"):
        tau = np.exp(rng.uniform(np.log(0.3), np.log(2.0))) if model.gate.learns else gate.temperature
        gate = type(gate)(rng.normal(0, 4, (k, d)), rng.normal(0, 1, k), np.array(tau))
    else:
        fields = model.gate.fields
        held = {name for name, field in fields.items() if field.fixed or field.bounded}
        drawn = {n: rng.normal(0, 3, a.shape) for n, a in gate._asdict().items() if n not in held}
        gate = gate._replace(**drawn)
    variance = rng.uniform(0.3, 0.8, k) ** 2
    expert = GaussianExpertParams(rng.normal(0, 3, (k, d)), rng.normal(0, 3, k), variance)
    return MoEParams(model.gate.canonical(gate), expert)


def _draw(model, params, n, covariates, rng):
    n_features = np.shape(params.expert.coef)[1]
    X = rng.uniform(-1, 1, (n, n_features)) if covariates is None else check_floats(covariates(n, rng), "covariates")
    if X.shape != (n, n_features):
        raise ValueError(f"covariates must return an array of shape {(n, n_features)}, got {X.shape}.")
    drawn = Blocks.plain(model, X).map(lambda b, p: np.array(model.sample(b, p, rng)), params)
    y, label = drawn[0], drawn[1].astype(int)
    loglik = float(Blocks.plain(model, X, y).sum(model.loglik, params))
    return Bunch(data=X, target=y, label=label, params=params, loglik=loglik, n_experts=n_experts_of(params))
