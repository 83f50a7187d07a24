"""Whether a fit is to be believed: residuals, use of the experts, agreement of the starts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kstest, kurtosis, skew

from smoe._kernels.posterior import entropies
from smoe.diagnostics.problems import problems_of
from smoe.diagnostics.residuals import quantile_residuals, varies
from smoe.distribution.tabulated import given_earlier
from smoe.hints import Data, Model, Seed
from smoe.search import Agreement, agreement
from smoe.solvers.certificate import usage
from smoe.validation import check_generator, check_mixture

__all__ = ["Diagnosis", "diagnose"]

_MOST = 1_000_000  # rows that are looked at


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What `diagnose` found; ``print`` it.

    Attributes
    ----------
    residuals : ndarray of shape (n_samples,) or (n_samples, q)
        Quantile residuals, standard normal under the model; of several responses each given those before it, all
        independent under the model.
    pit : ndarray of shape (n_samples,) or (n_samples, q)
        Values of the model's distribution function at y, uniform under the model.
    fitted : ndarray of shape (n_samples,) or (n_samples, q)
        The model's means, or where these are infinite its medians; of classes the probability of the most likely one.
    uniformity : tuple of two float
        Statistic and p-value of the Kolmogorov-Smirnov test of ``pit``. On the data of the fit the p-value is too
        large, the parameters having been chosen to suit these rows; on others it is too small where these rows are not
        far fewer than those of the fit, since errors of estimation count too.
    moments : dict
        Of the residuals: mean, sd, skewness and excess kurtosis (0, 1, 0, 0 under the model).
    load : ndarray of shape (n_experts,)
        Rows that each expert is responsible for; weight 2 is the row twice.
    mass : ndarray of shape (n_experts,)
        Mean probability that the gate gives each expert.
    first : ndarray of shape (n_experts,)
        Share of rows on which the expert is the gate's first choice.
    collapsed : ndarray of bool, shape (n_experts,)
        Whether the expert's variance sits on its floor.
    separated : bool
        Whether the gate separates the data: there are groups of experts between which no row is undecided.
    entropy : float
        Mean entropy of the responsibilities over its largest value log k: 0 if y and x tell the expert of every row, 1
        if they tell nothing.
    n_finished, n_agree, n_higher, n_swaps : int
        Of the fit's starts: how many were finished, how many of these reached its log-likelihood to 0.001, and how many
        a higher one, at an end of less merit; then how many swaps of experts were made.
    status : str
        ``status_`` of the fit.
    problems : list of str
        What is wrong, and what to do.
    checked : tuple of Checked
        The fit's experts on few rows: ``expert``, ``rows``, ``n_rows``, ``loss`` (of the log-likelihood without the
        expert), ``chance`` (what few rows of one line gain by chance) and ``passed``.
    distinct : ndarray of shape (n_experts,)
        Distinct rows that each expert is responsible for: equal ones count once.
    what : str
        What experts are responsible for: "row" or "group".
    n_rows : int
        How many rows there were. Of more than a million rows a million are drawn, and all else here is about these.
    """

    residuals: np.ndarray
    pit: np.ndarray
    fitted: np.ndarray
    uniformity: tuple
    moments: dict
    load: np.ndarray
    mass: np.ndarray
    first: np.ndarray
    collapsed: np.ndarray
    separated: bool
    entropy: float
    n_finished: int
    n_agree: int
    n_higher: int
    n_swaps: int
    status: str
    problems: list
    checked: tuple = ()
    distinct: np.ndarray | None = None
    n_rows: int = 0
    what: str = "row"

    def __repr__(self):
        return f"Diagnosis({len(self.pit)} rows, {len(self.load)} experts, {len(self.problems)} problems)"

    def __str__(self):
        moments = ", ".join(f"{name} {value:.3g}" for name, value in self.moments.items())
        extreme = int(np.abs(self.residuals).argmax())
        row = extreme // (self.residuals.size // len(self.residuals))
        facts = [
            ("certificate", self.status),
            ("starts", str(Agreement(self.n_finished, self.n_agree, self.n_higher, self.n_swaps))),
            ("residuals", f"{moments}; largest {self.residuals.flat[extreme]:.3g} (row {row})"),
            ("PIT", "Kolmogorov-Smirnov {:.3g}, p = {:.2g}".format(*self.uniformity)),
            ("entropy", f"{self.entropy:.3g} (0: every {self.what} has its expert, 1: none has)"),
        ]
        facts[2:2] = [(f"few {one.what}s", f"expert {one.expert}: {one}") for one in self.checked]
        of = f" drawn from {self.n_rows}" * (self.n_rows > _MOST)
        title = f"Diagnosis of {len(self.load)} experts on {len(self.pit)} rows{of}"
        table = [f"{'expert':<11}{f'{self.what}s':>12}{'gate mass':>12}{'first choice':>14}"]
        columns = zip(self.load, self.mass, self.first, strict=True)
        table += [f"  {k:<9}{rows:>12.1f}{mass:>12.3f}{first:>14.3f}" for k, (rows, mass, first) in enumerate(columns)]
        found = [f"* {problem}" for problem in self.problems] or ["no problem found"]
        return "\n".join([title, "=" * len(title), *(f"{a:<11}  {b}" for a, b in facts), "", *table, "", *found])


def diagnose(
    model: Model,
    X: Data,
    y: ArrayLike | None = None,
    random_state: Seed = None,
    *,
    sample_weight: ArrayLike | None = None,
) -> Diagnosis:
    r"""Check a fit: residuals, PIT values, the use of the experts, the certificate, the agreement of the starts.

    .. math:: u_n = \sum_k \hat\pi_k(x_n) \hat F_k(y_n | x_n), \qquad r_n = \Phi^{-1}(u_n)

    are uniform and standard normal if the model is right. For families of whole numbers u is drawn uniformly between
    the distribution function below y and that at y, for censored rows between that at y and one. Where the fit has
    ``group_feature``, the distribution of a row is given the rows of its group that come before it (Rosenblatt 1952),
    so that residuals are independent if the model is right; ``load``, ``mass`` and ``entropy`` count groups. Tails are
    computed from their own side and as logarithms, so that residuals keep their digits however far y is. Of several
    responses each has residuals of its own, given those before it, and tests are of all of these. Classes are taken for
    the numbers 0, 1, ...: whatever their order, u is uniform if the model is right.

    Parameters
    ----------
    model : MoERegressor or FittedMixture
        Fitted.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, q)
        The data of the fit, or better others.
    random_state : int, Generator, RandomState or None, default=None
        Draws the randomised residuals of families of whole numbers, of classes and of censored rows: with the same
        seed the same residuals, row by row. Others need none.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights, which count rows in ``load``; rows of weight zero are left out. Whether an expert is empty
        and whether the gate separates is judged on distinct rows, as in the certificate. Residuals and their tests are
        of rows, whatever their weights.

    Returns
    -------
    Diagnosis

    Raises
    ------
    NotFittedError
        The model is not fitted.

    References
    ----------
    Dunn, P. K. and Smyth, G. K. (1996). Randomized quantile residuals. Journal of Computational and Graphical
    Statistics 5, 236-244.

    Czado, C., Gneiting, T. and Held, L. (2009). Predictive model assessment for count data. Biometrics 65, 1254-1261.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_faithful
    >>> X, y = load_faithful(return_X_y=True)
    >>> print(SoftmaxMoERegressor(2, random_state=0).fit(X, y).diagnose(X, y))
    Diagnosis of 2 experts on 272 rows
    ==================================
    certificate  converged
    starts       ... of 5 that were finished ended here...
    residuals    mean 0.00447, sd 0.961, skewness 0.0281, excess kurtosis 0.0654; largest 3.07 (row 5)
    PIT          Kolmogorov-Smirnov 0.0295, p = 0.97
    entropy      0.00459 (0: every row has its expert, 1: none has)
    <BLANKLINE>
    expert             rows   gate mass  first choice
      0                96.7       0.355         0.364
      1               175.3       0.645         0.636
    <BLANKLINE>
    no problem found
    """
    fit, rng = check_mixture(model), check_generator(random_state)
    rows = fit.blocks(X, y, sample_weight)
    blocks, mixture, params = _looked_at(fit, rows.source, rng), fit.model, fit.params
    distribution, (X, y, *_) = given_earlier(mixture, params, blocks), blocks.source.whole()
    pit, residuals = quantile_residuals(distribution, y, rng, fit.roles.event_of(X))
    load, groups = usage(mixture, blocks, params)
    mass, first, entropy = _use(mixture, blocks, params)
    starts = agreement(fit.starts, fit.loglik)
    found = Diagnosis(
        residuals=residuals,
        pit=pit,
        fitted=_fitted(distribution),
        uniformity=_uniformity(pit.ravel()),
        moments=_moments(residuals.ravel()),
        load=load.weight,
        distinct=load.rows,
        mass=mass,
        first=first,
        collapsed=_collapsed(fit, y),
        separated=groups is not None and mixture.gate.smooth,
        entropy=entropy,
        **starts._asdict(),
        status=fit.status,
        problems=[],
        checked=fit.certificate.checked,
        n_rows=len(rows),
        what=rows.what,
    )
    found.problems.extend(problems_of(fit, found, X, y))
    return found


def _fitted(distribution):
    mean = distribution.mean()
    if distribution.kind == "classes":
        return mean.max(axis=1)
    return mean if np.isfinite(mean).all() else distribution.median()


def _looked_at(fit, source, rng):
    """Return the rows of positive weight, or of very many rows some."""
    some = source.n_rows > _MOST
    raw = source.take(np.sort(rng.choice(source.n_rows, _MOST, replace=False))) if some else source.whole()
    X, y, weight = raw[:3]
    used = slice(None) if weight is None or (weight > 0).all() else weight > 0
    return fit.blocks_of(X[used], y[used], None if weight is None else weight[used], grouped=True)


def _use(model, blocks, params):
    """Return each expert's mean probability and share of first choices, and the relative entropy of all rows."""

    def visit(block, p):
        proba, resp, _ = model.posterior(block, p)
        first = np.bincount(proba.argmax(axis=0), minlength=len(proba))
        return np.array([proba.sum(axis=1), first, entropies(resp, np.ones(len(block)))])

    mass, first, entropy = blocks.sum(visit, params) / len(blocks)
    return mass, first, float(entropy.sum() / np.log(len(mass))) if len(mass) > 1 else 0.0


def _uniformity(pit):
    if np.isnan(pit).any():
        return np.nan, np.nan
    return tuple(map(float, kstest(pit, "uniform")))


def _collapsed(fit, y):
    """Which experts have a variance on the floor, which is a share of the variance of y."""
    expert, params, largest = fit.model.expert, fit.params.expert, max(np.abs(y).max(), np.finfo(float).tiny)
    scale = largest * (y / largest).std(axis=0)  # squares may leave float64
    if expert.units == "similar":
        scale = np.full_like(scale, np.sqrt(np.mean((scale / largest) ** 2)) * largest)
    if not np.all(scale > 0):
        return np.zeros(len(params[0]), dtype=bool)
    d = len(fit.expert_columns)
    return expert.at_bound(expert.unscale(params, np.zeros(d), np.ones(d), 0.0, 1.0 / scale))


def _moments(residuals):
    if not varies(residuals):
        return {
            "mean": float(residuals.mean()),
            "sd": float(residuals.std()),
            "skewness": np.nan,
            "excess kurtosis": np.nan,
        }
    values = residuals.mean(), residuals.std(), skew(residuals), kurtosis(residuals)
    return dict(zip(("mean", "sd", "skewness", "excess kurtosis"), map(float, values), strict=True))
