"""Elastic nets of many weights: a path of fits from no slope at all to many, and the choice among them."""

import warnings
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import indexable

from smoe.estimators.base import rows_of
from smoe.hints import Data, Seed
from smoe.optional import needed
from smoe.penalties import PENALTIES, ElasticNet, KeepZeros, Penalty
from smoe.registry import resolve
from smoe.selection.select import check_estimator, checked_folds, drawn_folds, parts_of, rows_at
from smoe.selection.working import at_params, working
from smoe.validation import check_choice, check_floats, check_generator, check_number, check_weights

__all__ = ["PATH_CRITERIA", "ElasticNetPath", "elastic_net_path"]

PATH_CRITERIA = ("ebic", "bic", "aic", "cv")

_GATE_SHARE = 0.7  # of the experts' weight: the noise of the gate's score is as much less for two experts
_WITHOUT_SLOPES = 1e8  # a factor at which no slope is left
_LEAST_L1 = 1e-3  # the share of absolute values from which the largest weight of a ridge is taken
_MOST_ALPHAS = 1000
_ABOVE = 1.0 + 1e-6  # the largest weight, rounded up: variances have been fitted
_MANY = 50  # columns from which small weights let in noise alone
_EPS = {True: 0.1, False: 1e-3}  # the smallest factor, of the largest: with many columns and with few
_MOST = 0.125  # degrees of freedom per row at which a path of many columns ends
_FEW_STARTS, _FEW_STEPS = 5, 100  # of the fit without slopes, which may be on a ridge
_SAME = 1e-6  # difference per row of objectives at one maximum


class _Data(NamedTuple):
    X: object
    y: object
    weight: object


@dataclass(frozen=True, eq=False)
class ElasticNetPath:
    """Fits under elastic nets of several weights, and the choice among them.

    Attributes
    ----------
    best_index_ : int
        Which was chosen.
    best_estimator_ : MoERegressor or MoEClassifier
        That fit; of relaxed paths its refit without penalty, with standard errors given the selected slopes.
    alphas_ : ndarray of shape (n_alphas, 2)
        ``alpha_expert`` and ``alpha_gate`` of each fit.
    estimators_ : tuple of MoERegressor or MoEClassifier
        The penalised fits.
    refits_ : tuple of MoERegressor or MoEClassifier, or None
        Those without penalty on the same slopes.
    criterion : str
        Name of the criterion.
    table : dict of str to tuple
        Columns ``alpha_expert``, ``alpha_gate``, ``n_slopes`` (that are not zero), ``objective`` (of the penalised fit,
        in units of the log-likelihood); then, of the refits if there are any, ``df``, ``loglik``, ``criterion``
        (smaller is better), ``criterion_error`` (its standard error over the folds, or NaN), ``converged`` and
        ``status``.
    status : str
        Why there are fewer points than asked for, or "complete".
    sd : ndarray of shape (n_features,)
        Standard deviations of the columns of X, one for those that are constant.
    """

    best_index_: int
    criterion: str
    table: dict
    status: str
    sd: np.ndarray = field(repr=False)
    alphas_: np.ndarray = field(repr=False)
    estimators_: tuple = field(repr=False)
    refits_: tuple | None = field(repr=False, default=None)

    @property
    def best_estimator_(self) -> Any:
        """The fit that was chosen, or its refit."""
        return (self.refits_ or self.estimators_)[self.best_index_]

    def slopes(self, side: str) -> np.ndarray:
        """Return the penalised slopes along the path, (n_alphas, n_experts, ..., n_features).

        Parameters
        ----------
        side : {"gate", "expert"}
        """
        check_choice(side, "side", ("gate", "expert"))
        return np.array([fit.fitted_.array(f"{side}_coef") for fit in self.estimators_])

    def scales(self, side: str) -> np.ndarray:
        """Return the standard deviations of the columns that the gate or the experts see.

        Parameters
        ----------
        side : {"gate", "expert"}
        """
        check_choice(side, "side", ("gate", "expert"))
        return self.sd[getattr(self.estimators_[0], f"{side}_columns_")]

    def to_frame(self) -> Any:
        """Return the table as a pandas data frame, one row per pair of weights."""
        return needed("pandas", "to_frame()").DataFrame(self.table)

    def __str__(self):
        heads = f"{'alpha_expert':>13}{'alpha_gate':>13}{'slopes':>8}{'df':>6}{'loglik':>14}{self.criterion:>14}"
        rows = zip(*(self.table[name] for name in _PRINTED), strict=True)
        lines = [
            f"{expert:>13.4g}{gate:>13.4g}{n:>8}{df:>6}{loglik:>14.3f}{value:>14.3f}"
            f"{'<' if i == self.best_index_ else ' '} {status}"
            for i, (expert, gate, n, df, loglik, value, status) in enumerate(rows)
        ]
        return "\n".join([f"{heads}  certificate", *lines])


_PRINTED = ("alpha_expert", "alpha_gate", "n_slopes", "df", "loglik", "criterion", "status")


def elastic_net_path(
    estimator: Any,
    X: Data,
    y: ArrayLike | None,
    *,
    alphas: ArrayLike | None = None,
    n_alphas: int = 20,
    eps: float | None = None,
    criterion: str = "ebic",
    relax: bool = True,
    one_se: bool = False,
    cv: Any = 5,
    sample_weight: ArrayLike | None = None,
    random_state: Seed = None,
) -> ElasticNetPath:
    r"""Fit elastic nets of several weights, from no slope to many, and choose one by a criterion.

    The weights are those of the estimator's `smoe.penalties.ElasticNet` times a factor: its ``alpha_expert`` and
    ``alpha_gate`` say in which proportion, at what factor is for the path to find. Each fit begins where the one before
    ended, first from the fit without slopes downwards, then, from a search of its own at the smallest weights, upwards.
    Where the two differ that of the smaller BIC (extended for "ebic") is kept: the penalty weighs on strong slopes, so
    that large weights alone may speak for a mixture without them.

    Parameters
    ----------
    estimator : MoERegressor or MoEClassifier
        What is fitted. It is not changed. Without an elastic net among its penalties it is given
        ``ElasticNet(1.0, 0.7)``.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    alphas : array-like of shape (n_alphas, 2), default=None
        Pairs of ``alpha_expert`` and ``alpha_gate``, in any order, a curve or a grid, in place of the factors.
    n_alphas : int, default=20
        Number of factors, evenly spaced by their logarithms from the smallest at which there is no slope.
    eps : float, default=None
        The smallest factor as a share of the largest; None for 0.1 with more than 50 columns, else 0.001.
    criterion : {"ebic", "bic", "aic", "cv"}, default="ebic"
        - "bic": :math:`-2\ell + \mathrm{df} \log n`, the degrees of freedom being the slopes that are not zero,
          intercepts and variances, plus twice the price of experts on few rows (see `select_n_experts`); "aic" has two
          in place of log n;
        - "ebic": BIC plus :math:`2 \log \binom{p}{s}` for s of p penalised slopes: with many columns BIC lets in noise;
        - "cv": minus twice the held-out log-likelihood, scaled to all rows. Fits to parts begin where those to all rows
          have ended.
    relax : bool, default=True
        Whether each fit is followed by one without penalty on the same slopes (`smoe.penalties.KeepZeros`), which then
        is judged and kept: without shrinkage the criterion need not weigh bias against noise.
    one_se : bool, default=False
        Whether to take, in place of the least value of "cv", the largest weights whose value is at most one standard
        error above it.
    cv : int, splitter or iterable, default=5
        Folds of the criterion "cv".
    sample_weight : array-like of shape (n_samples,), default=None
    random_state : int, Generator, RandomState or None, default=None
        Draws folds and, if the estimator has no ``random_state`` of its own, starts.

    Returns
    -------
    ElasticNetPath

    Raises
    ------
    ValueError, TypeError
        An argument that makes no sense; the message names it.

    Warns
    -----
    ConvergenceWarning
        The chosen fit is no certified maximum.

    Notes
    -----
    With more than 50 columns a path with factors of its own ends where a fit has more than one degree of freedom for
    eight rows; ``status`` says so. The degrees of freedom are a heuristic: in mixtures they are not known.

    References
    ----------
    Chen, J. and Chen, Z. (2008). Extended Bayesian information criteria for model selection with large model spaces.
    Biometrika 95, 759-771.

    Friedman, J., Hastie, T. and Tibshirani, R. (2010). Regularization paths for generalized linear models via
    coordinate descent. Journal of Statistical Software 33.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe import MoERegressor
    >>> from smoe.selection import elastic_net_path
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 6))
    >>> which = X[:, 0] > rng.logistic(scale=0.3, size=300)
    >>> y = np.where(which, 2 * X[:, 1], -2 * X[:, 1]) + 0.5 * rng.normal(size=300)
    >>> path = elastic_net_path(MoERegressor(2, n_init=3, random_state=0), X, y, n_alphas=6, eps=0.05)
    >>> best = path.best_estimator_
    >>> [np.flatnonzero(coef.any(axis=0)).tolist() for coef in (best.expert_coef_, best.gate_coef_)]
    [[1], [0]]
    """
    data, rng = _checked(estimator, X, y, sample_weight, criterion, one_se), check_generator(random_state)
    folds = checked_folds(cv) if criterion == "cv" else None
    if estimator.random_state is None:
        estimator = clone(estimator).set_params(random_state=int(rng.integers(2**31)))
    path = _Path(estimator, data, criterion)
    pairs, own = path.pairs(alphas, n_alphas, eps)
    order = np.argsort(-pairs.sum(axis=1), kind="stable")
    fits, status = path.both_ways(pairs[order], own)
    place = np.argsort(order, kind="stable") if alphas is not None else np.arange(len(fits))
    pairs, fits = pairs[order][: len(fits)][place], [fits[i] for i in place]
    refits = tuple(map(path.refit, fits)) if relax else None
    judged = refits or fits
    if folds is None:
        values, errors = np.array([path.value(fit) for fit in judged]), np.full(len(fits), np.nan)
    else:
        values, errors = path.held_out(pairs, fits, relax, drawn_folds(folds, path.expert, rng, path.groups))
    best = _chosen(values, errors, pairs, one_se)
    if not judged[best].converged_:
        warnings.warn(
            f"the chosen fit is no certified maximum: {judged[best].status_}", ConvergenceWarning, stacklevel=2
        )
    table = _tabulate(pairs, fits, judged, values, errors)
    return ElasticNetPath(best, criterion, table, status, path.sd, pairs, tuple(fits), refits)


def _checked(estimator, X, y, sample_weight, criterion, one_se):
    check_estimator(estimator)
    check_choice(criterion, "criterion", PATH_CRITERIA)
    if one_se and criterion != "cv":
        raise ValueError(f"one_se=True needs criterion='cv', whose values have standard errors; got {criterion!r}.")
    return _Data(*indexable(X, y), sample_weight)


class _Path:
    """What all fits of a path share: the estimator, its elastic net and other penalties, the rows."""

    def __init__(self, estimator, data, criterion):
        self.estimator, self.data, self.criterion = estimator, data, criterion
        *_, self.groups, self.expert = rows_of(estimator, data.X, data.y)
        given = [] if estimator.penalty is None else estimator.penalty
        choices = given if isinstance(given, list | tuple) else [given]
        penalties = [resolve(choice, PENALTIES, Penalty, "penalty") for choice in choices]
        nets = [one for one in penalties if isinstance(one, ElasticNet)]
        self.net = nets[0] if nets else ElasticNet(1.0, _GATE_SHARE)
        self.others = [one for one in penalties if not isinstance(one, ElasticNet)]
        self.net.check_weights()
        if not (self.net.alpha_expert or self.net.alpha_gate):
            raise ValueError(
                "penalty: alpha_expert and alpha_gate of the elastic net are both zero; they say in which proportion "
                "experts and gate have weights along the path."
            )

    def under(self, net):
        """Return the estimator with this net."""
        return clone(self.estimator).set_params(penalty=[net, *self.others])

    def net_at(self, pair):
        """Return the net with these weights."""
        return clone(self.net).set_params(alpha_expert=float(pair[0]), alpha_gate=float(pair[1]))

    def at(self, pair, params, data=None):
        """Return the fit with these weights that parameters lead to."""
        return at_params(self.under(self.net_at(pair)), params, *(data or self.data), solve=True)

    def refit(self, fit, data=None):
        """Return the fit without penalty on the slopes that are not zero."""
        return at_params(self.under(KeepZeros(self.net.group)), fit.params_, *(data or self.data), solve=True)

    def searched(self, net, **settings):
        """Return the fit with these weights that a search finds."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # status_ has it
            estimator = self.under(net).set_params(warm_start=False, **settings)
            return estimator.fit(self.data.X, self.data.y, sample_weight=self.data.weight)

    def pairs(self, alphas, n_alphas, eps):
        """Return the pairs of weights, and whether they are the path's own."""
        if alphas is not None:
            pairs = _checked_pairs(alphas)
            self.top = self.without_slopes()
            return pairs, False
        check_number(n_alphas, "n_alphas", 1, integer=True, high=_MOST_ALPHAS)
        if eps is not None:
            check_number(eps, "eps", np.finfo(float).tiny, high=1.0)
        self.top = self.without_slopes()
        factors = self.largest_factor() * np.geomspace(1.0, _EPS[self.many] if eps is None else eps, n_alphas)
        return factors[:, None] * [self.net.alpha_expert, self.net.alpha_gate], True

    def without_slopes(self):
        """Return the fit in which all penalised slopes are zero."""
        n_init = min(self.estimator.n_init, _FEW_STARTS) if self.estimator.n_init != "auto" else _FEW_STARTS
        pair = [_WITHOUT_SLOPES * (weight > 0) for weight in (self.net.alpha_expert, self.net.alpha_gate)]
        net = self.net_at(pair).set_params(l1_ratio=1.0)
        return self.searched(net, n_init=n_init, max_iter=self.estimator.max_iter or _FEW_STEPS)

    @property
    def sd(self):
        """The standard deviations of the columns of X; one where a column is constant or nobody sees it."""
        out, scaling = np.ones(self.top.n_features_in_), working(self.top, *self.data).blocks.scaling
        for view in scaling[:2]:
            out[view.columns] = view.scale
        return out

    @property
    def many(self):
        """Whether there are many columns."""
        return max(len(self.top.gate_columns_), len(self.top.expert_columns_)) > _MANY

    def largest_factor(self):
        """Return the smallest factor at which there is no slope."""
        model, blocks, params = working(self.top, *self.data)
        net = clone(self.net).set_params(l1_ratio=max(self.net.l1_ratio, _LEAST_L1)).bind(model, blocks.scaling)
        score = blocks.sum(model.gradient, params).score
        return _ABOVE * net.largest_factor(params, score, blocks.total_weight) or 1.0

    def both_ways(self, pairs, own):
        """Return the fits for weights that fall, and in words why there are fewer of them."""
        down, params = [], self.top.params_
        for pair in pairs:
            down.append(self.at(pair, params))
            params = down[-1].params_
            if own and self.many and down[-1].n_parameters_ > _MOST * down[-1].n_samples_:
                break
        ended = f"{len(down)} of {len(pairs)}: the last has more than {_MOST:g} degrees of freedom per row"
        status = ended if len(down) < len(pairs) else "complete"
        if self.estimator.n_experts == 1:  # one maximum
            return down, status
        fit, up = self.searched(self.net_at(pairs[len(down) - 1])), list(down)
        for i in range(len(down))[::-1]:
            fit = fit if i == len(down) - 1 else self.at(pairs[i], fit.params_)
            if abs(fit.fitted_.objective - down[i].fitted_.objective) <= _SAME * fit.n_samples_:
                break  # from here on both are one
            up[i] = min(down[i], fit, key=self.merit)
        return up, status

    def merit(self, fit):
        """Return what the better of two fits with the same weights has less of."""
        return fit.fitted_.certificate.spurious, self.value(fit, "ebic" if self.criterion == "ebic" else "bic")

    def value(self, fit, criterion=None):
        """Return the criterion of a fit; infinite where an expert has collapsed or is empty."""
        if fit.fitted_.certificate.spurious:
            return np.inf
        criterion = criterion or self.criterion
        if criterion == "aic":
            return fit.aic_
        bic = fit.bic_ + 2.0 * fit.fitted_.certificate.price
        return bic + self.choices(fit) if criterion == "ebic" else bic

    def choices(self, fit):
        """Return twice the logarithm of the number of ways to choose as many slopes, or groups of them."""
        n, n_all = _net_of(fit).n_choices(fit.params_)
        return 2.0 * float(gammaln(n_all + 1) - gammaln(n + 1) - gammaln(n_all - n + 1))

    def held_out(self, pairs, fits, relax, folds):
        """Return minus twice the held-out log-likelihood of each fit, scaled to all rows, and its standard error."""
        X, y, weight = self.data
        weight = check_weights(weight, len(y))
        parts, masses = [], []
        for rows, test in parts_of(folds, X, y, self.groups):
            train, held = (_Data(*(rows_at(one, at) for one in (X, y, weight))) for at in (rows, test))
            if held.weight.sum() > 0:
                found = [self.at(pair, fit.params_, train) for pair, fit in zip(pairs, fits, strict=True)]
                found = [self.refit(fit, train) for fit in found] if relax else found
                parts.append([self._loglik(fit, held) for fit in found])
                masses.append(held.weight.sum())
        if not parts:
            raise ValueError("cv holds out no rows of positive weight.")
        parts, masses = np.array(parts), np.array(masses)
        mean = parts.sum(axis=0) / masses.sum()
        spread = (parts / masses[:, None]).std(axis=0, ddof=1) if len(parts) > 1 else np.full(len(fits), np.nan)
        return -2.0 * weight.sum() * mean, 2.0 * weight.sum() * spread / np.sqrt(len(parts))

    def _loglik(self, fit, held):
        return -np.inf if fit.fitted_.certificate.spurious else fit.loglik(*held)


def _checked_pairs(alphas):
    pairs = check_floats(alphas, "alphas")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or not np.all((pairs >= 0) & np.isfinite(pairs)):
        raise ValueError("alphas must be pairs of alpha_expert and alpha_gate, zero or more, (n_alphas, 2).")
    return pairs


def _net_of(fit):
    return fit.fitted_.model.kinked


def _n_slopes(fit):
    return _net_of(fit).n_slopes(fit.params_)[0]


def _chosen(values, errors, pairs, one_se):
    best = int(np.argmin(values))
    if not np.isfinite(values[best]):
        raise ValueError(
            "no fit of the path is sound: in all of them an expert is empty or has collapsed; try larger "
            "alphas or fewer experts."
        )
    if not one_se or not np.isfinite(errors[best]):
        return best
    within = np.flatnonzero(values <= values[best] + errors[best])
    return int(within[np.argmax(pairs[within].sum(axis=1))])


def _tabulate(pairs, fits, judged, values, errors):
    return {
        "alpha_expert": tuple(map(float, pairs[:, 0])),
        "alpha_gate": tuple(map(float, pairs[:, 1])),
        "n_slopes": tuple(map(_n_slopes, fits)),
        "df": tuple(fit.n_parameters_ for fit in judged),
        "loglik": tuple(fit.loglik_ for fit in judged),
        "objective": tuple(fit.fitted_.objective for fit in fits),
        "criterion": tuple(map(float, values)),
        "criterion_error": tuple(map(float, errors)),
        "converged": tuple(fit.converged_ for fit in judged),
        "status": tuple(fit.status_ for fit in judged),
    }
