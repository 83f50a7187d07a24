"""Is the fit to be believed? Residuals that are normal under the model, use of the experts, agreement of the starts."""

from dataclasses import dataclass

import numpy as np
from scipy.special import entr, ndtri
from scipy.stats import kruskal, kstest, kurtosis, kurtosistest, norm, skew, skewtest
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from smoe.solvers.certificate import usage

__all__ = ["Diagnosis", "diagnose"]

_LEVEL = 0.005  # p-values below it are reported
_FEWEST = 20  # rows that tests of the residuals' shape need, or a group of rows
_MOST_GROUPS = 10
_AGREE = 1e-3  # nats between starts at one maximum
_ALONE = 0.5  # smaller shares of agreeing starts are reported
_MIXED = 0.9  # larger entropies are reported
_ROUNDING = 1e-9
_SMALLEST = np.finfo(float).smallest_subnormal  # its normal quantile is -38.5


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What `diagnose` found; ``print`` it.

    Attributes
    ----------
    residuals : ndarray of shape (n_samples,)
        Quantile residuals, standard normal under the model.
    pit : ndarray of shape (n_samples,)
        Values of the model's distribution function at y, uniform under the model.
    fitted : ndarray of shape (n_samples,)
        The model's means.
    uniformity : tuple of two float
        Statistic and p-value of the Kolmogorov-Smirnov test of ``pit``. On the data of the fit the p-value is too
        large, the parameters having been chosen to suit these rows; on others it is too small where these rows are not
        far fewer than those of the fit, since errors of estimation count too.
    moments : dict
        Of the residuals: mean, sd, skewness and excess kurtosis (0, 1, 0, 0 under the model).
    load : ndarray of shape (n_experts,)
        Rows that each expert is responsible for.
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
    n_finished, n_agree, n_higher : int
        Of the fit's starts: how many were finished, how many of these reached its log-likelihood to 0.001, and how many
        a higher one, at a degenerate end.
    status : str
        ``status_`` of the fit.
    problems : list of str
        What is wrong, and what to do.
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
    status: str
    problems: list

    def __repr__(self):
        return f"Diagnosis({len(self.pit)} rows, {len(self.load)} experts, {len(self.problems)} problems)"

    def __str__(self):
        moments = ", ".join(f"{name} {value:.3g}" for name, value in self.moments.items())
        extreme = int(np.abs(self.residuals).argmax())
        facts = [
            ("certificate", self.status),
            ("starts", f"{self.n_agree} of {self.n_finished} that were finished agree"),
            ("residuals", f"{moments}; largest {self.residuals[extreme]:.3g} (row {extreme})"),
            ("PIT", "Kolmogorov-Smirnov {:.3g}, p = {:.2g}".format(*self.uniformity)),
            ("entropy", f"{self.entropy:.3g} (0: every row has its expert, 1: none has)"),
        ]
        title = f"Diagnosis of {len(self.load)} experts on {len(self.pit)} rows"
        table = [f"{'expert':<11}{'rows':>12}{'gate mass':>12}{'first choice':>14}"]
        columns = zip(self.load, self.mass, self.first, strict=True)
        table += [f"  {k:<9}{rows:>12.1f}{mass:>12.3f}{first:>14.3f}" for k, (rows, mass, first) in enumerate(columns)]
        found = [f"* {problem}" for problem in self.problems] or ["no problem found"]
        return "\n".join([title, "=" * len(title), *(f"{a:<11}  {b}" for a, b in facts), "", *table, "", *found])


def diagnose(model, X, y, random_state=None):
    r"""Check a fit: residuals, PIT values, the use of the experts, the certificate, the agreement of the starts.

    .. math:: u_n = \sum_k \hat\pi_k(x_n) \hat F_k(y_n | x_n), \qquad r_n = \Phi^{-1}(u_n)

    are uniform and standard normal if the model is right. For families of whole numbers u is drawn uniformly between
    the distribution function below y and that at y. Tails are computed from their own side, so that residuals keep
    their digits, up to 38 in absolute value, where probabilities leave float64.

    Parameters
    ----------
    model : MoERegressor
        Fitted.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        The data of the fit, or better others.
    random_state : int, RandomState instance or None, default=None
        Draws the randomised residuals of families of whole numbers; others need none.

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
    starts       ... of 5 that were finished agree
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
    check_is_fitted(model)
    blocks, mixture, params = model._blocks(X, y), model._model, model.params_
    pit, residuals = _residuals(mixture, blocks, params, random_state)
    load, n_groups = usage(mixture, blocks, params)
    mass, first, entropy = _use(mixture, blocks, params)
    found = Diagnosis(
        residuals=residuals,
        pit=pit,
        fitted=blocks.map(mixture.mean, params),
        uniformity=tuple(map(float, kstest(pit, "uniform"))),
        moments=_moments(residuals),
        load=load,
        mass=mass,
        first=first,
        collapsed=_collapsed(model, blocks.source.y),
        separated=bool(n_groups > 1 and model.gate_.smooth),
        entropy=entropy,
        **_starts(model),
        status=model.status_,
        problems=[],
    )
    names = getattr(model, "feature_names_in_", [f"x{j}" for j in range(model.n_features_in_)])
    found.problems.extend(_problems_of_fit(model, found))
    found.problems.extend(_problems_of_residuals(found))
    found.problems.extend(_patterns(found, blocks.source.X, names))
    return found


def _residuals(model, blocks, params, random_state):
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


def _use(model, blocks, params):
    """Return each expert's mean probability and share of first choices, and the relative entropy of all rows."""

    def visit(block, p):
        proba, resp, _ = model.posterior(block, p)
        first = np.bincount(proba.argmax(axis=0), minlength=len(proba))
        return np.array([proba.sum(axis=1), first, entr(resp).sum(axis=1)])

    mass, first, entropy = blocks.sum(visit, params) / len(blocks)
    return mass, first, float(entropy.sum() / np.log(len(mass))) if len(mass) > 1 else 0.0


def _collapsed(model, y):
    """Which experts have a variance on the floor, which is a share of the variance of y."""
    expert, params, scale = model.expert_, model.params_.expert, y.std()
    if scale == 0:
        return np.zeros(model.n_experts, dtype=bool)
    d = len(model.expert_columns_)
    return expert.at_bound(expert.unscale(params, np.zeros(d), np.ones(d), 0.0, 1.0 / scale))


def _starts(model):
    """Count the starts that were finished, agree with the fit, or passed it."""
    ends = np.array([record.loglik for record in model.starts_])
    ends = ends[np.isfinite(ends)] - model.loglik_
    return {
        "n_finished": len(ends),
        "n_agree": int(np.sum(np.abs(ends) <= _AGREE)),
        "n_higher": int(np.sum(ends > _AGREE)),
    }


def _varies(values):
    """Whether values differ by more than rounding."""
    return values.std() > _ROUNDING * np.abs(values).max()


def _moments(residuals):
    if not _varies(residuals):
        return {
            "mean": float(residuals.mean()),
            "sd": float(residuals.std()),
            "skewness": np.nan,
            "excess kurtosis": np.nan,
        }
    values = residuals.mean(), residuals.std(), skew(residuals), kurtosis(residuals)
    return dict(zip(("mean", "sd", "skewness", "excess kurtosis"), map(float, values), strict=True))


def _problems_of_fit(model, found):
    """Say what is wrong with the fit itself."""
    if not model.converged_:
        yield f"the fit is not a certified maximum: {found.status}. Standard errors and tests need one."
    for k in np.flatnonzero(found.collapsed):
        yield f"expert {k} has collapsed on few rows (variance on its floor): use fewer experts or more starts."
    for k in np.flatnonzero(found.load < 1.0):
        yield f"expert {k} is responsible for less than one row: use fewer experts."
    if found.separated and "separates" not in found.status:
        yield "the gate separates these data: its coefficients have no maximum, compare its probabilities instead."
    if found.n_finished > 1 and found.n_agree < _ALONE * found.n_finished:
        yield f"{found.n_agree} of {found.n_finished} starts reached this maximum: raise n_init to be sure of it."
    if found.n_higher:
        yield f"{found.n_higher} starts ended higher, where an expert degenerates; such maxima are spurious."
    if found.entropy > _MIXED:
        yield "x and y hardly tell which expert a row comes from: the experts overlap, fewer may do (n_experts_test)."


def _problems_of_residuals(found):
    """Say how the residuals' distribution departs from what the model implies."""
    r, n = found.residuals, len(found.residuals)
    if (p := found.uniformity[1]) < _LEVEL:
        yield f"PIT values are not uniform (p = {p:.1g}): more experts or columns, or another family."
    if n >= _FEWEST and _varies(r):
        if (p := kurtosistest(r).pvalue) < _LEVEL:
            tails = "heavier" if found.moments["excess kurtosis"] > 0 else "lighter"
            yield f"tails are {tails} than the model's (p = {p:.1g}): more experts, or case-bootstrap standard errors."
        if (p := skewtest(r).pvalue) < _LEVEL:
            yield f"residuals are skew (p = {p:.1g}): more experts, transform y, or take another family."
    beyond = np.flatnonzero(2.0 * n * norm.sf(np.abs(r)) < _LEVEL)
    if len(beyond):
        rows = ", ".join(map(str, beyond[:5])) + (", ..." if len(beyond) > 5 else "")
        yield f"{len(beyond)} rows are out of every expert's reach (row {rows}): look at them."


def _patterns(found, X, names):
    """Say with what the residuals or their size change: the fitted mean, or a column of X."""
    r, n = found.residuals, len(found.residuals)
    n_groups = min(n // _FEWEST, _MOST_GROUPS)
    if n_groups < 2:
        return
    candidates = {"the fitted mean": found.fitted, **{f"column {a}": x for a, x in zip(names, X.T, strict=True)}}
    groups = {a: np.array_split(np.argsort(x, kind="stable"), n_groups) for a, x in candidates.items() if _varies(x)}
    for what, values in (("the residuals' mean", r), ("the residuals' spread", np.abs(r))):
        if not groups or not _varies(values):
            continue
        tests = {a: kruskal(*(values[rows] for rows in parts)).pvalue for a, parts in groups.items()}
        name = min(tests, key=tests.get)
        if (p := len(tests) * tests[name]) < _LEVEL:
            yield f"{what} changes with {name} (p = {p:.1g}): more columns or experts."
