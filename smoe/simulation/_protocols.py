"""What the named studies need beside the library: starts, solvers, a gate with a free temperature, and losses."""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from smoe.chance import merit
from smoe.estimators import MoERegressor
from smoe.experts import GaussianExpertParams
from smoe.gates import DenseToSparseGate, SoftmaxGate, TreeGateParams
from smoe.params import MoEParams, n_experts_of, permute
from smoe.penalties import ElasticNet
from smoe.rows import Blocks
from smoe.simulation._near_truth import near_truth
from smoe.simulation.density import density_error
from smoe.simulation.voronoi import parameter_errors, voronoi_cells, voronoi_loss
from smoe.solvers import EM, EMNewton, Solver

__all__ = [
    "AllSplits",
    "ConstantGate",
    "EMByLoglik",
    "FreeTemperatureGate",
    "RuledLasso",
    "along_the_ray",
    "by_split",
    "class_copies",
    "class_density",
    "class_spread",
    "copies",
    "density",
    "expert_loss",
    "gate_scale",
    "mean_error",
    "normal_start",
    "published_d2",
    "ray",
    "shared_start",
    "smallest_load",
    "support",
]

_NODES = 500


class EMByLoglik(Solver):
    """EM that stops when the log-likelihood changes by a share of ``rtol`` or less, as published programs do.

    The change is relative to the log-likelihood in the user's units, the one that such a program sees. Where EM stops
    so is seldom a maximum, and the certificate says so.

    Parameters
    ----------
    max_iter : int, default=2000
        Largest number of iterations.
    tol : float, default=1e-8
        Score norm per row of a certified fit; it stops nothing here.
    rtol : float, default=1e-6
        The relative change at which EM stops.
    """

    requires = ("gate.information",)

    def __init__(self, max_iter=2000, tol=1e-8, rtol=1e-6):
        self.max_iter = max_iter
        self.tol = tol
        self.rtol = rtol

    def _run(self, model, blocks, params):
        offset = blocks.loglik_offset
        fit = EM(0, 0.0).solve(model, blocks, params)
        trace, limit = [fit.loglik], "iteration limit"
        while len(trace) <= self.max_iter:
            fit = EM(1, 0.0).solve(model, blocks, fit.params)
            trace.append(fit.loglik)
            if abs(trace[-1] - trace[-2]) <= self.rtol * abs(trace[-2] - offset):
                limit = f"relative change of the log-likelihood at most {self.rtol:g}"
                break
        converged = fit.score_norm <= self.tol
        status = "converged" if converged else f"{limit}: score norm per row {fit.score_norm:.1e} > {self.tol:.1e}"
        return fit._replace(n_iter=len(trace) - 1, converged=converged, status=status, trace=np.asarray(trace))


class AllSplits(Solver):
    """Climbs from every way in which additional experts can double the true ones, and returns the highest maximum.

    The likelihood of an over-specified model has a maximum for each way of splitting, and which of them is the highest
    is a matter of chance: a climb from one of them, drawn at random, finds *a* maximum. Takes parameters near the truth
    with the true experts last, such as those of `smoe.simulation.near_truth`.

    There may be higher maxima further from the truth, where an expert takes a few rows of its own. Seen with three
    experts for two (16 data sets of 2,000 and 20,000 rows): other noise of the same size led to the same maximum in 13;
    noise six times as large to a higher one in 2 and to a lower one in some 4. With four experts for two it was half.

    Parameters
    ----------
    n_true : int
        Number of true experts.
    solver : Solver or None, default=None
        What climbs, None for `EMNewton`.
    spread : float, default=0.05
        Standard deviation of the noise that parts the copies, in the solvers' coordinates: for experts, in residual
        standard deviations.
    tol : float, default=1e-8
        Score norm per row of the default climb.
    """

    def __init__(self, n_true, solver=None, spread=0.05, tol=1e-8):
        self.n_true = n_true
        self.solver = solver
        self.spread = spread
        self.tol = tol

    def _run(self, model, blocks, params):
        climb = EMNewton(tol=self.tol) if self.solver is None else self.solver
        fits = [climb.solve(model, blocks, begin) for begin in self._begins(model, params)]
        return max(fits, key=lambda fit: merit(model, blocks, fit))

    def _begins(self, model, params):
        """Yield the copies of the true experts, parted by noise that is the same in every run."""
        extra = n_experts_of(params) - self.n_true
        true = np.arange(extra, extra + self.n_true)
        for split in combinations_with_replacement(true, extra):
            copies = permute(params, [*split, *true])
            chart, rng = model.chart(copies), np.random.default_rng(0)
            yield chart.unpack(chart.pack(copies) + self.spread * rng.normal(size=chart.n_free))


class FreeTemperatureGate(DenseToSparseGate):
    """The dense-to-sparse gate with slopes, intercepts and temperature all free, as if the ray were not there.

    `DenseToSparseGate` reports the point of the ray at temperature one. Here a fit ends wherever on the ray its path
    from the start meets it, and the information matrix is singular along it.
    """

    on_ray = False
    log_linear = False  # the temperature is free

    def canonical(self, params):
        """Pin the last slope and intercept to zero; leave the temperature where it is."""
        return params._replace(coef=params.coef - params.coef[-1], intercept=params.intercept - params.intercept[-1])

    def diagnosis(self, params):
        """Return nothing: the ray is known, and no limit."""
        return ""


class ConstantGate(SoftmaxGate):
    """A softmax gate whose slopes are held at zero: weights that do not depend on x."""

    def free(self, params):
        """All intercepts but the last."""
        free = super().free(params)
        return free._replace(coef=np.zeros_like(free.coef))


@dataclass(eq=False, repr=False)
class RuledLasso(MoERegressor):
    """The lasso on experts and gate with weights ``rule`` sqrt(log d / n), as theory has them."""

    rule: float = 1.0

    def fit(self, X, y, sample_weight=None):
        """Fit with the weight that this many rows and columns ask for."""
        alpha = self.rule * np.sqrt(np.log(X.shape[1]) / len(X))
        self.penalty = ElasticNet(alpha, alpha)
        return super().fit(X, y, sample_weight)


def along_the_ray(truth, n_experts, n, rng, spread=0.5):
    """Return `near_truth`, moved along the ray by a factor exp(N(0, spread^2)) whose law is the same for every n."""
    start, factor = near_truth(truth, n_experts, n, rng), np.exp(spread * rng.normal())
    return start._replace(gate=type(start.gate)(*(factor * field for field in start.gate)))


def density(params, truth, model=None):
    """Return the Hellinger distance of the densities, averaged over x; of too few experts by the truth's model."""
    return density_error(params, truth, model=model if _takes(model, params) else None).value


def _takes(model, params):
    """Whether the model has a gate for so many experts; the truth, on which losses are tried, may have fewer."""
    try:
        return model is not None and model.gate.check(n_experts_of(params)) is None
    except ValueError:
        return False


def ray(params, truth):
    """Return the errors of the raw slope and temperature; the density knows their ratio only."""
    one, other = params.gate, truth.params.gate
    return {
        "gate_coef": np.linalg.norm(one.coef - other.coef),
        "temperature": abs(one.temperature - other.temperature),
    }


def by_split(params, truth):
    """Return D2 and the errors of the parameters under the name of the split, such as ``{"2+1": {...}}``.

    "2+1" says that two fitted atoms have true expert 0 as their nearest, and one has expert 1. Fits that split
    different experts have losses of different size, decades apart; a median over both is that of neither. Where all are
    split, D2 is no loss and is left out.
    """
    sizes = _split(params, truth)
    loss = {} if sizes.min() > 1 else {"D2": voronoi_loss(params, truth.params, "D2", gate=truth.model.gate)}
    return {_name(sizes): {**loss, **parameter_errors(params, truth.params, gate=truth.model.gate)}}


def copies(params, truth, split):
    """Return the largest distance of gate slopes within a cell, and the sharp loss where it is one, for this split."""
    sizes = _split(params, truth)
    if _name(sizes) != split:
        return {}
    cells, slope = voronoi_cells(params, truth.params, gate=truth.model.gate), params.gate.coef
    within = [slope[cells == j] for j in range(truth.n_experts)]
    out = {"apart": max(float(np.linalg.norm(own - own.mean(axis=0), axis=1).max()) for own in within)}
    return out if sizes.min() > 1 else {**out, "sharp": voronoi_loss(params, truth.params, "sharp")}


def gate_scale(params, truth):
    """Return the largest entry of the gate's slopes, the last expert's at zero."""
    return float(np.abs(params.gate.coef).max())


def expert_loss(params, truth, power=4.0, model=None):
    """Return a Voronoi loss of the experts and their mean probabilities, for any gate and family with a dispersion.

    On a split cell slopes and dispersions count with their squares and intercepts with ``power``, weighted with the
    mean probability of the atom; what the probabilities of a cell miss of the truth's is added.
    """
    fitted = model if _takes(model, params) else truth.model
    expert, load = _experts_and_loads(params, truth, fitted)
    true, true_load = _experts_and_loads(truth.params, truth, truth.model)
    cell = ((expert[:, None] - true) ** 2).sum(axis=2).argmin(axis=1)
    gap = np.abs(expert - true[cell])
    gap[:, -2] **= np.where(np.bincount(cell)[cell] > 1, 0.5 * power, 1.0)  # the squares below make it the power
    squares = (gap**2).sum(axis=1)
    term = np.where(np.bincount(cell)[cell] > 1, squares, np.sqrt(squares))
    missed = np.abs(np.bincount(cell, load, len(true)) - true_load)
    return float(load @ term + missed.sum())


def smallest_load(params, truth):
    """Return the smallest mean probability of an expert."""
    return float(_experts_and_loads(params, truth, truth.model)[1].min())


def mean_error(params, truth, model):
    """Return the root mean square over x of the error of the mean of y given x; of the truth's own parameters zero."""
    x = _nodes(truth)
    model = model if len(params.expert) == len(model.expert.fields) else truth.model
    one, other = (
        Blocks.plain(owner, x).map_rows(owner.mean, values)
        for owner, values in ((model, params), (truth.model, truth.params))
    )
    return float(np.sqrt(np.mean((one - other) ** 2)))


def normal_start(truth, n_experts, n, rng):
    """Return `near_truth` for normal experts, where the truth has t noise."""
    start = near_truth(truth, n_experts, n, rng)
    coef, intercept, scale = start.expert[:3]
    return start._replace(expert=GaussianExpertParams(coef, intercept, scale**2))


def shared_start(truth, n_experts, n, rng):
    """Return the truth of one shared and two routed experts with noise, the shared one halved as often as is asked."""
    start, extra = near_truth(truth, truth.n_experts, n, rng), n_experts - truth.n_experts
    atoms = [0] * (extra + 1) + [1, 2]
    expert = permute(start.expert, atoms)
    coef = expert.coef + 0.05 * n**-0.083 * rng.normal(size=expert.coef.shape)  # the copies apart
    intercept = np.append(np.zeros(extra), start.gate.intercept)  # the group's last row has its odds against the others
    slopes = np.vstack([np.zeros((extra, coef.shape[1])), start.gate.coef])
    return MoEParams(TreeGateParams(slopes, intercept, np.arange(float(n_experts))), expert._replace(coef=coef))


def class_density(params, truth):
    """Return the Hellinger distance of the probabilities of classes, averaged over x."""
    one, other = (np.einsum("km,kcm->cm", *_classes(p, truth)) for p in (params, truth.params))
    return float(np.sqrt(0.5 * ((np.sqrt(one) - np.sqrt(other)) ** 2).sum(axis=0)).mean())


def class_spread(params, truth):
    """Return how far fitted experts are from the nearest true one: mean squares of class probabilities, weighted.

    The square is averaged over x, the weight is the mean probability of the fitted expert.
    """
    return float(_class_spreads(params, truth)[0].sum())


def class_copies(params, truth):
    """Return what the copies of the expert that is split are of `class_spread`, under the name of the split."""
    term, cell = _class_spreads(params, truth)
    sizes = np.bincount(cell, minlength=truth.n_experts)
    return {_name(sizes): float(term[cell == sizes.argmax()].sum())}


def _class_spreads(params, truth):
    """Return each fitted expert's term of `class_spread`, and its nearest true expert."""
    (proba, own), (_, true) = (_classes(p, truth) for p in (params, truth.params))
    gap = ((own[:, None] - true) ** 2).sum(axis=2).mean(axis=2)
    return proba.mean(axis=1) * gap.min(axis=1), gap.argmin(axis=1)


def _classes(params, truth):
    """Probabilities of experts (k, m), and their probabilities of classes (k, n_classes, m), at nodes of x."""
    model, block = truth.model, Blocks.plain(truth.model, _nodes(truth)).take(slice(None))
    return model.gate_proba(block, params), np.exp(model.expert.class_log_proba(block.rows, params.expert))


def support(params, truth):
    """Return what a sparse fit found: slopes per true slope, the share of the true ones missed, errors of slopes."""
    found = [_slopes(params), _slopes(permute(params, [1, 0]))]
    true = _slopes(truth.params)
    fitted = min(found, key=lambda slopes: np.linalg.norm(slopes - true))
    kept, wanted = fitted != 0, true != 0
    return {
        "kept": kept.sum() / wanted.sum(),
        "missed": (wanted & ~kept).sum() / wanted.sum(),
        "false": (kept & ~wanted).sum() / wanted.sum(),
        "error": np.linalg.norm(fitted - true),
    }


def _slopes(params):
    """Slopes of two experts, and of the odds of the first, in rows."""
    return np.vstack([params.expert.coef, params.gate.coef[0] - params.gate.coef[1]])


def _nodes(truth):
    """Quantiles of one feature, (m, 1)."""
    return truth.covariate_law.ppf((np.arange(_NODES) + 0.5) / _NODES)[:, None]


def _experts_and_loads(params, truth, model):
    """Slopes, intercept and dispersion of each expert in a row, and their mean probabilities."""
    x = _nodes(truth)
    proba = Blocks.plain(model, x).map_rows(model.gate_proba, params)
    coef, intercept, dispersion = (np.asarray(field, dtype=float) for field in params.expert[:3])
    return np.column_stack([coef, intercept, dispersion]), proba.mean(axis=1)


def _split(params, truth):
    return np.bincount(voronoi_cells(params, truth.params, gate=truth.model.gate), minlength=truth.n_experts)


def _name(sizes):
    return "+".join(map(str, sizes))


def published_d2(params, truth):
    return voronoi_loss(params, truth.params, "D2", cells="all", gate=truth.model.gate, infimum=False)
