"""Slow, obvious twins of what smoe computes: plain loops over rows, no code shared with smoe.

Rows are rows here: X is (n, d), responsibilities are (n, n_experts). Derivatives are central differences, in the
user's natural parameters.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np


def softmax(values):
    """exp(v_i) / sum_j exp(v_j) of a list."""
    top = max(values)
    terms = [math.exp(v - top) for v in values]
    return [t / math.fsum(terms) for t in terms]


def log_sum_exp(values):
    top = max(values)
    return top if math.isinf(top) else top + math.log(math.fsum(math.exp(v - top) for v in values))


def linear_scores(x, gate):
    """b1_i'x + b0_i, expert by expert."""
    return [
        math.fsum([*(c * v for c, v in zip(coef, x, strict=True)), b])
        for coef, b in zip(gate.coef, gate.intercept, strict=True)
    ]


def gaussian_means(x, expert):
    return [
        math.fsum([*(c * v for c, v in zip(coef, x, strict=True)), b])
        for coef, b in zip(expert.coef, expert.intercept, strict=True)
    ]


def gaussian_log_density(y, x, expert):
    """log N(y; a_i'x + b_i, v_i), expert by expert."""
    return [
        -0.5 * ((y - mean) ** 2 / variance + math.log(2.0 * math.pi * variance))
        for mean, variance in zip(gaussian_means(x, expert), np.asarray(expert.variance).tolist(), strict=True)
    ]


def vector_log_density(y, x, expert):
    """Each response is normal about its regression on x and the residuals of those before it, expert by expert."""
    out = []
    for coef, b, variance, slopes in zip(
        expert.coef, expert.intercept, expert.variance, expert.regression, strict=True
    ):
        residuals, total, slopes = [], 0.0, iter(slopes)
        for j, value in enumerate(y):
            residuals.append(value - math.fsum([*(c * v for c, v in zip(coef[j], x, strict=True)), b[j]]))
            innovation = residuals[j] - math.fsum([next(slopes) * residuals[i] for i in range(j)])
            total -= 0.5 * (innovation**2 / variance[j] + math.log(2.0 * math.pi * variance[j]))
        out.append(total)
    return out


def tempered_scores(x, params):
    """Linear scores over a temperature."""
    return [score / float(params.temperature) for score in linear_scores(x, params)]


def sigmoid_scores(x, params):
    """Logistic function of the slope part plus the intercept, over a temperature."""
    slopes = linear_scores(x, params._replace(intercept=[0.0] * len(params.intercept)))
    tau = float(params.temperature)
    levels = [1 / (1 + math.exp(-u)) if u > 0 else 1 - 1 / (1 + math.exp(u)) for u in slopes]  # exp(u) cannot overflow
    return [(level + float(b)) / tau for level, b in zip(levels, params.intercept, strict=True)]


def quadratic_scores(x, gate):
    """Linear scores, and a coefficient for each product of two features."""
    linear, d = linear_scores(x, gate), len(x)
    return [
        math.fsum([u, *(float(c[i, j]) * x[i] * x[j] for i in range(d) for j in range(d))])
        for u, c in zip(linear, gate.curvature, strict=True)
    ]


def normalised_sigmoids(x, gate):
    return [-log_sum_exp([0.0, -u]) for u in linear_scores(x, gate)]


def laplace_scores(x, gate):
    """Intercepts minus distances times the sharpness, with the default smoothing."""
    squares = [[m * (v - w) ** 2 for m, v, w in zip(gate.metric[0], x, c, strict=True)] for c in gate.centre]
    rho = [math.sqrt(math.fsum([*row, 0.1**2])) for row in squares]
    return [b - float(gate.sharpness) * r for b, r in zip(gate.intercept, rho, strict=True)]


def ordered_scores(x, gate):
    """Intervals of the logistic law: F(u) - F(v) is 2 sinh((u - v) / 2) over 2 cosh(u / 2) and 2 cosh(v / 2)."""
    eta = math.fsum([*(c * v for c, v in zip(gate.coef[0], x, strict=True)), float(gate.intercept)])
    at_place = sorted(range(len(gate.place)), key=lambda i: gate.place[i])
    gaps = [float(gate.gap[expert]) for expert in at_place[1:-1]]
    cuts = [math.fsum([*gaps[:n], -eta]) for n in range(len(at_place) - 1)]
    ends = [-log_sum_exp([0.5 * c, -0.5 * c]) for c in cuts]
    inner = [g / 2 + math.log(-math.expm1(-g)) + u + v for g, u, v in zip(gaps, ends[1:], ends, strict=False)]
    outer = [0.5 * cuts[0] + ends[0], -0.5 * cuts[-1] + ends[-1]] if cuts else [0.0]
    by_place = dict(zip(at_place, [outer[0], *inner, *outer[1:]], strict=True))
    return [by_place[expert] for expert in range(len(at_place))]


def adjacent_scores(x, gate):
    """Log odds of each place against the lowest, step by step."""
    index = math.fsum(c * v for c, v in zip(gate.coef[0], x, strict=True))
    return [math.fsum([b, *[index] * int(place)]) for b, place in zip(gate.intercept, gate.place, strict=True)]


def tree_scores(x, gate):
    """Log probabilities of a balanced binary tree: at each node its left half against its right half."""
    u, on_leaf = linear_scores(x, gate), sorted(range(len(gate.place)), key=lambda i: gate.place[i])
    scores = [0.0] * len(u)

    def descend(leaves, log_proba):
        if len(leaves) == 1:
            scores[leaves[0]] = log_proba
            return
        half = (len(leaves) + 1) // 2
        odds = u[leaves[half - 1]]
        descend(leaves[:half], log_proba - log_sum_exp([0.0, -odds]))
        descend(leaves[half:], log_proba - log_sum_exp([0.0, odds]))

    descend(on_leaf, 0.0)
    return scores


def conditional_poisson_scores(x, gate, top_k=2, sharpness=1.0):
    """Score plus log inclusion probability, by all sets of experts; sharpness one unless told otherwise."""
    u = linear_scores(x, gate)
    sets = list(itertools.combinations(range(len(u)), min(top_k, len(u))))
    chances = [sharpness * math.fsum(u[i] for i in chosen) for chosen in sets]
    with_each = [[c for c, chosen in zip(chances, sets, strict=True) if i in chosen] for i in range(len(u))]
    return [s + log_sum_exp(mine) - log_sum_exp(chances) for s, mine in zip(u, with_each, strict=True)]


def plackett_luce_scores(x, gate, top_k=2, temperature=1.0):
    """Log of the weights averaged over all orders in which experts can be drawn."""
    u = linear_scores(x, gate)
    terms = [[] for _ in u]
    for drawn in itertools.permutations(range(len(u)), min(top_k, len(u))):
        left, chance = list(range(len(u))), 0.0
        for i in drawn:
            chance += u[i] / temperature - log_sum_exp([u[j] / temperature for j in left])
            left.remove(i)
        for i in drawn:
            terms[i].append(chance + u[i] - log_sum_exp([u[j] for j in drawn]))
    return [log_sum_exp(mine) for mine in terms]


# Twins by the name of the class that they imitate.
SCORES = {
    "TreeGate": tree_scores,
    "OrderedGate": ordered_scores,
    "AdjacentGate": adjacent_scores,
    "ConditionalPoissonTopKGate": conditional_poisson_scores,
    "PlackettLuceTopKGate": plackett_luce_scores,
    "NormalisedSigmoidGate": normalised_sigmoids,
    "LaplaceGate": laplace_scores,
    "GaussianGate": quadratic_scores,  # with full covariances
    "SoftmaxGate": linear_scores,
    "DenseToSparseGate": tempered_scores,
    "ActivationDenseToSparseGate": sigmoid_scores,  # with its default activation
}
LOG_DENSITY = {"GaussianExpert": gaussian_log_density, "MultivariateGaussianExpert": vector_log_density}


class Twin(NamedTuple):
    """A mixture of experts from the scores of a row and the log densities of a row."""

    scores: object = linear_scores
    log_density: object = gaussian_log_density

    def _log_joint(self, params, x_gate, x, y):
        proba = softmax(self.scores(x_gate, params.gate))
        density = self.log_density(y, x, params.expert)
        return [math.log(p) + f if p > 0 else -math.inf for p, f in zip(proba, density, strict=True)]

    def proba(self, params, X):
        return np.array([softmax(self.scores(x, params.gate)) for x in X])

    def row_loglik(self, params, X, y, X_gate=None):
        X_gate = X if X_gate is None else X_gate
        return np.array([log_sum_exp(self._log_joint(params, *row)) for row in zip(X_gate, X, y, strict=True)])

    def loglik(self, params, X, y, weight=None, X_gate=None):
        weight = np.ones(len(y)) if weight is None else weight
        rows = self.row_loglik(params, X, y, X_gate)
        return math.fsum(w * row for w, row in zip(weight, rows, strict=True))

    def resp(self, params, X, y, X_gate=None):
        X_gate = X if X_gate is None else X_gate
        return np.array([softmax(self._log_joint(params, *row)) for row in zip(X_gate, X, y, strict=True)])

    def q(self, params, resp, X, y, weight=None):
        """Expected complete-data log-likelihood."""
        weight = np.ones(len(y)) if weight is None else weight
        total = 0.0
        for x, response, r, w in zip(X, y, resp, weight, strict=True):
            for r_i, joint in zip(r, self._log_joint(params, x, x, response), strict=True):
                total += w * r_i * joint if r_i > 0 else 0.0
        return total

    def score(self, params, X, y, weight=None, X_gate=None, **steps):
        return gradient(lambda p: self.loglik(p, X, y, weight, X_gate), params, **steps)

    def hessian(self, params, X, y, weight=None, X_gate=None, **steps):
        return hessian(lambda p: self.loglik(p, X, y, weight, X_gate), params, **steps)


SOFTMAX_GAUSSIAN = Twin()


def least_squares(X, y, weight):
    """Weighted least squares with intercept: slopes, intercept and ML variance."""
    design = np.column_stack([X, np.ones(len(y))])
    root = np.sqrt(weight)
    line = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
    variance = sum(w * (v - z @ line) ** 2 for z, v, w in zip(design, y, weight, strict=True)) / sum(weight)
    return line[:-1], line[-1], variance


def gaussian_m_step(X, y, resp, weight):
    """One EM iteration's experts: slopes, intercepts and variances."""
    return tuple(map(np.array, zip(*(least_squares(X, y, weight * r) for r in resp.T), strict=True)))


def gaussian_moments(params, x_gate, x):
    """Mean and variance of y given one row."""
    proba = softmax(linear_scores(x_gate, params.gate))
    means = gaussian_means(x, params.expert)
    mean = math.fsum(p * m for p, m in zip(proba, means, strict=True))
    second = math.fsum(p * (v + m * m) for p, m, v in zip(proba, means, params.expert.variance, strict=True))
    return mean, second - mean**2


# Derivatives by differences ------------------------------------------------------------------------------------------


def entries(params, path=()):
    """Where the numbers of nested named tuples are, in flat order: expert by expert, then those that all share."""
    if isinstance(params[0], tuple):
        return [place for name in params._fields for place in entries(getattr(params, name), (*path, name))]
    arrays = {name: np.asarray(field) for name, field in zip(params._fields, params, strict=True)}
    n_experts = max(len(a) for a in arrays.values() if a.ndim)
    own = [
        (*path, name, (k, *index))
        for k in range(n_experts)
        for name, a in arrays.items()
        if len(a.shape) and len(a) == n_experts
        for index in np.ndindex(a.shape[1:])
    ]
    shared = {name: a for name, a in arrays.items() if not a.ndim or len(a) != n_experts}
    return own + [(*path, name, index) for name, a in shared.items() for index in np.ndindex(a.shape)]


def value_at(params, place):
    *names, index = place
    for name in names:
        params = getattr(params, name)
    return float(np.asarray(params)[index])


def moved(params, place, step):
    """The parameters with one number moved by a step."""
    name, *rest = place
    if len(rest) > 1:
        return params._replace(**{name: moved(getattr(params, name), rest, step)})
    field = np.array(getattr(params, name), dtype=float)
    field[rest[0]] += step
    return params._replace(**{name: field})


def gradient(f, params, step=1e-3, unit=None):
    """Derivative of f (an array or a number) by each entry, on axis 0: five-point differences."""
    places = entries(params)
    steps = step * (np.ones(len(places)) if unit is None else unit)
    return np.array([_slope(f, params, place, h) for place, h in zip(places, steps, strict=True)])


def _slope(f, params, place, h):
    at = {j: np.asarray(f(moved(params, place, j * h))) for j in (-2, -1, 1, 2)}
    return (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * h)


def hessian(f, params, step=2e-3, unit=None, places=None):
    """Second derivative of a number by all or some entries, each pair extrapolated from two step lengths."""
    places = entries(params) if places is None else places
    steps = step * (np.ones(len(places)) if unit is None else unit)
    out = np.zeros((len(places), len(places)))
    for i, j in zip(*np.triu_indices(len(places)), strict=True):
        coarse, fine = (_bend(f, params, places[i], places[j], c * steps[i], c * steps[j]) for c in (2, 1))
        out[i, j] = out[j, i] = (4 * fine - coarse) / 3
    return out


def _bend(f, params, a, b, h, g):
    def at(s, t):
        return f(moved(moved(params, a, s * h), b, t * g))

    return (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4 * h * g)
