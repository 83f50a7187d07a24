"""What several test modules need: registry entries, random parameters, small problems."""

import warnings
from dataclasses import replace

import numba
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import naive
from smoe import MoERegressor
from smoe.experts import EXPERTS
from smoe.features import Rows, design
from smoe.gates import GATES
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten, unflatten
from smoe.rows import ArraySource, Blocks, Scaling


def _one_of_each(registry):
    """One family of each shape: to mixtures and solvers all that have the same kinds of parameters look alike.

    Poisson stands for its kind: a mixture of single trials is too flat for small problems. A share of zeros and the
    gate trade in these, so that families with one have tests of their own.
    """
    shapes = {}
    for name in sorted(registry, key=lambda name: name != "poisson"):
        if name.startswith("zero_inflated"):
            continue
        expert = registry[name]()
        kinds = tuple(str((field.axes, field.lower > 0, field.attained)) for field in expert.fields.values())
        shapes.setdefault((expert.exact_m_step, expert.units, kinds), name)
    return list(shapes.values())


def sampled(values, n=1):
    """The first n of the values for every run, the others for `make sweep` alone."""
    later = (value if isinstance(value, tuple) else (value,) for value in values[n:])
    return [*values[:n], *(pytest.param(*value, marks=pytest.mark.sweep) for value in later)]


SMOOTH = [name for name in GATES if GATES[name]().smooth]
INFORMED = [name for name in SMOOTH if hasattr(GATES[name](), "information")]
BATTERY = [*EXPERTS]  # families that are tested
# Every gate with one family, every family with one gate: gates and families do not know each other.
_NUMBERS = {name: kind for name, kind in EXPERTS.items() if kind().support.kind != "classes"}  # these have means
WITH_SOFTMAX = [("softmax", name) for name in _one_of_each(_NUMBERS) if name != "gaussian"]
PAIRS = [(gate, "gaussian") for gate in GATES] + WITH_SOFTMAX

SMOOTH_PAIRS = [(gate, "gaussian") for gate in INFORMED] + WITH_SOFTMAX


def expert_of(name):
    """A family, that of classes with three of them, that of vectors with two coordinates."""
    expert = EXPERTS[name]()
    responses = {"classes": np.arange(3), "vectors": np.zeros((1, 2))}
    return expert.bind(responses[expert.support.kind]) if expert.support.kind in responses else expert


def from_python(function):
    """A function that kernels alone can call, as one that Python can."""
    return numba.njit(lambda *args: function(*args), error_model="numpy")


def estimable(params, fields):
    """Which entries in flat order are not fixed: derivatives by the others are nobody's business."""
    fixed = [
        type(part)(*(np.full(np.shape(a), own[n].fixed) for n, a in part._asdict().items()))
        for part, own in zip(params, fields, strict=True)
    ]
    return flatten(MoEParams(*fixed)) == 0


def lower_of(family):
    """Fields that are bounded below, with their bound."""
    return {name: field.lower for name, field in family.fields.items() if np.isfinite(field.lower)}


def frozen(params):
    """The same parameters in arrays that refuse to be written to."""
    if isinstance(params[0], tuple):
        return type(params)(*map(frozen, params))
    fields = [np.array(field, dtype=float) for field in params]
    for field in fields:
        field.setflags(write=False)
    return type(params)(*fields)


def perturbed(params, lower, rng, spread=1.0, free=None):
    """Move every (free) entry at random; fields that are bounded below stay above their bound."""
    bound = flatten(type(params)(*(np.full(np.shape(f), lower.get(n, -np.inf)) for n, f in params._asdict().items())))
    flat, noise = flatten(params), spread * rng.normal(size=len(bound))
    bounded = np.isfinite(bound)
    noise *= 1.0 if free is None else flatten(free)
    above = bound[bounded] + (flat - bound)[bounded] * np.exp(0.5 * noise[bounded])
    flat += noise
    flat[bounded] = above
    return frozen(unflatten(flat, params))


def random_gate(gate, k, d, rng, spread=1.0, pinned=True):
    """Random parameters of a gate; with ``pinned`` those that its convention pins stay at their first value."""
    params = gate.init_params(k, d)
    return perturbed(params, lower_of(gate), rng, spread, gate.free(params) if pinned else None)


def random_expert(expert, k, d, rng, spread=1.0):
    return perturbed(expert.init_params(k, d), lower_of(expert), rng, spread)


class Problem:
    """Data drawn from a random truth of any gate and family, in one set of coordinates."""

    def __init__(self, gate, expert, n=40, k=3, d=2, seed=0, spread=1.0, weighted=False):
        rng = np.random.default_rng(seed)
        self.rng, self.k, self.d = rng, k, d
        self.model = MixtureOfExperts(GATES[gate](), expert_of(expert))
        self.X = rng.uniform(-1, 1, (n, d))
        self.truth = MoEParams(
            random_gate(self.model.gate, k, d, rng, spread), random_expert(self.model.expert, k, d, rng, spread)
        )
        self.weighted, self.weight = weighted, rng.uniform(0.5, 2.0, n) if weighted else np.ones(n)
        self.scaling = Scaling.identity(np.arange(d), np.arange(d))
        block = Blocks(self.model, ArraySource(self.X), self.scaling).take(slice(None))
        self.y = self.model.sample(block, self.truth, rng)[0].T
        self.twin = twin(self.model)

    @property
    def blocks(self):
        return Blocks(self.model, ArraySource(self.X, self.y, self.weight if self.weighted else None), self.scaling)

    @property
    def block(self):
        return self.blocks.take(slice(None))

    def near_truth(self, spread=0.3):
        gate, expert = self.model.gate, self.model.expert
        return MoEParams(
            perturbed(self.truth.gate, lower_of(gate), self.rng, spread, gate.free(self.truth.gate)),
            perturbed(self.truth.expert, lower_of(expert), self.rng, spread),
        )

    def loglik(self, params):
        return self.twin.loglik(params, self.X, self.y, self.weight)


def wearing(expert, params, X):
    """An estimator that answers as if it had been fitted with these experts and a gate that prefers none."""
    k = len(params[0])
    y = np.random.default_rng(0).normal(size=len(X))
    model = quietly(MoERegressor(k, random_state=0, max_iter=1).fit, X, y)
    gate = model.gate_.init_params(k, X.shape[1])
    return altered(model, model=model.fitted_.model._replace(expert=expert), params=MoEParams(gate, params))


def altered(estimator, /, **fields):
    """The same estimator, which answers as if its fit had left these fields."""
    estimator.fitted_ = replace(estimator.fitted_, **fields)
    return estimator


def twin(model):
    """The naive twin of a model; a gate or family without one is asked row by row."""

    def scores(x, params):
        return model.gate.scores(design(np.reshape(x, (-1, 1))), params)[:, 0].tolist()

    def log_density(y, x, params):
        Z = design(np.reshape(x, (-1, 1)))
        return model.expert.log_prob(Rows(Z, np.array([y]).T), params)[:, 0].tolist()

    return naive.Twin(
        naive.SCORES.get(type(model.gate).__name__, scores),
        naive.LOG_DENSITY.get(type(model.expert).__name__, log_density),
    )


# scikit-learn's checks that call score_samples(X). Here it is the density of y given x, and there is none without y.
WITHOUT_Y = (
    "check_methods_subset_invariance",
    "check_methods_sample_order_invariance",
    "check_dataframe_column_names_consistency",
)


def for_check(estimator, check):
    """Return the estimator, without ``score_samples`` for the checks that call it as if it needed no y."""
    if check.func.__name__ not in WITHOUT_Y:
        return estimator

    class Hidden(type(estimator)):
        @property
        def score_samples(self):
            raise AttributeError("score_samples")

        def __getattr__(self, name):
            if name == "score_samples":
                raise AttributeError(name)
            return super().__getattr__(name)

    return Hidden(**estimator.get_params(deep=False))


def assert_close(actual, desired, rtol=1e-9, atol=1e-12):
    """Compare arrays or nested named tuples field by field."""
    if isinstance(desired, tuple) and hasattr(desired, "_fields"):
        assert type(actual) is type(desired)
        for one, other in zip(actual, desired, strict=True):
            assert_close(one, other, rtol, atol)
    elif desired is None:
        assert actual is None
    else:
        np.testing.assert_allclose(actual, desired, rtol, atol)


def assert_derivative(actual, desired, tol=1e-7):
    """Compare with differences, whose errors are shares of the largest entry."""
    np.testing.assert_allclose(actual, desired, rtol=0, atol=tol * max(1.0, np.abs(desired).max(initial=0.0)))


def quietly(fit, *args, **kwargs):
    """Call, not minding that a fit is no certified maximum; every other warning stays an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit(*args, **kwargs)


def distribution_function(log_density, centre, sd, low=-np.inf, n=40001, reach=15.0):
    """Integrate a density over a grid: the distribution function as a callable, and its value at the far end."""
    grid = np.linspace(max(centre - reach * sd, low + 1e-9 * sd), centre + reach * sd, n)
    density = np.exp(log_density(grid))
    total = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
    return (lambda y: np.interp(y, grid, total)), total[-1]


def interrupt_of_compiled_code(cause=None):
    """The error that comes out of compiled code when Ctrl-C, or another signal whose handler raises, hits it."""
    inner, outer = SystemError("returned a result with an exception set"), SystemError("the same again")
    inner.__cause__, outer.__cause__ = cause or KeyboardInterrupt(), inner
    return outer


def mixed(n=150, d=5):
    """Two experts with slopes in column 1, told apart by column 0."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    which = X[:, 0] > rng.logistic(scale=0.3, size=n)
    return X, np.where(which, 1 + 2 * X[:, 1], -1 - 2 * X[:, 1]) + 0.5 * rng.normal(size=n)
