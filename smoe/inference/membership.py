"""Which expert a row belongs to, and how surely: of rows, and of the fit as a whole."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from smoe._kernels.posterior import entropies
from smoe.hints import Data, Model
from smoe.inference.covariance import Covariance
from smoe.inference.delta import DeltaMethod, normal_quantile
from smoe.inference.estimates import chosen_covariance
from smoe.inference.rows import membership_gradient, pieces
from smoe.inference.table import Table
from smoe.optional import needed
from smoe.validation import MISSING, check_mixture

__all__ = ["Classification", "Membership", "classification_table", "membership"]


class Membership(DeltaMethod):
    """Probabilities of the experts, (n_samples, n_experts), and their standard errors, those of the estimates.

    Attributes
    ----------
    estimate, std_err : ndarray of shape (n_samples, n_experts)
        Standard errors are NaN where ``reason`` says so.
    reason : str
        Why some standard errors are NaN, or nothing.
    """

    def interval(self, coverage: float = 0.95) -> np.ndarray:
        """Return the interval of this confidence (coverage), normal on the scale of log odds, (..., 2)."""
        proba, odds = self.estimate, self.estimate * (1.0 - self.estimate)
        with np.errstate(divide="ignore"):
            centre = logit(proba)
        half = normal_quantile(coverage) * self.std_err / np.where(odds > 0, odds, 1.0)
        ends = [np.where(odds > 0, expit(centre + sign * half), proba) for sign in (-1.0, 1.0)]
        return np.stack(ends, axis=-1)


def membership(
    model: Model, X: Data, y: ArrayLike | None = None, *, covariance: Covariance | None = None
) -> Membership:
    r"""Return the probability of each expert for each row, with standard errors by the delta method.

    .. math:: r_k = \frac{\pi_k(x) f_k(y|x)}{\sum_j \pi_j(x) f_j(y|x)}, \qquad
              \nabla r_k = r_k \Big(\nabla c_k - \sum_j r_j \nabla c_j\Big), \qquad c_k = \log \pi_k f_k

    A probability says how surely a row belongs to an expert if the parameters are known; the standard error says how
    surely the probability is known.

    Parameters
    ----------
    model : MoERegressor or FittedMixture
        Fitted.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,), default=None
        With it responsibilities, without it the gate's probabilities.
    covariance : Covariance or None, default=None
        What ``model.covariance(...)`` has returned; None for that of the fit.

    Returns
    -------
    Membership
        ``estimate``, ``std_err`` (n_samples, n_experts), ``interval(coverage)`` and ``reason``.

    Warns
    -----
    ConvergenceWarning
        The fit is not certified.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> from smoe.inference import membership
    >>> X, y = load_engel(return_X_y=True)
    >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
    >>> found = membership(model, [[1000.0], [1500.0]])
    >>> found.estimate.round(2)
    array([[0.98, 0.02],
           [0.07, 0.93]])
    >>> found.interval(0.9)[0].round(2)
    array([[0.03, 1.  ],
           [0.  , 0.97]])
    """
    fit = check_mixture(model)
    blocks = fit.blocks(X, MISSING if y is None else y)
    found = chosen_covariance(fit, covariance)
    responsible = fit.model.gate_proba if y is None else fit.model.responsibilities
    proba = blocks.source.spread(blocks.map(responsible, fit.params)).T

    def errors(block, p):
        parts = []
        for piece in pieces(block, p):
            gradient = membership_gradient(fit.model, piece, p, given_y=y is not None)
            slopes = found.change.T @ gradient.reshape(len(gradient), -1)
            parts.append(found.std_err(slopes, given_support=True).reshape(gradient.shape[1:]))
        return np.concatenate(parts, axis=1)

    error = blocks.source.spread(blocks.map(errors, fit.params)).T
    return Membership(proba, error, found.reason if np.isnan(error).any() else "")


@dataclass(frozen=True, eq=False, repr=False)
class Classification:
    """How well the rows tell their experts; ``print`` it, or take ``to_frame()``, ``to_latex()``, ``to_markdown()``.

    Attributes
    ----------
    n_rows : ndarray of shape (n_experts,)
        Rows, or groups, (sum of weights) whose most probable expert this is.
    mean : ndarray of shape (n_experts, n_experts)
        Mean responsibilities of these rows, an assigned expert on each line; NaN where there are no rows. The diagonal
        is one if nothing is in doubt.
    entropy : float
        One minus the relative entropy of the responsibilities: 1 if every row has its expert, 0 if none has.
    what : str
        "rows", or "groups" where the fit has ``group_feature``.
    """

    n_rows: np.ndarray
    mean: np.ndarray
    entropy: float
    what: str = "rows"

    def table(self) -> Table:
        """Return it as a `Table`."""
        k = len(self.n_rows)
        pairs = enumerate(zip(self.n_rows, self.mean, strict=True))
        rows = [(f"expert {i}", [f"{n:g}", *(format(r, ".3f") for r in mean)]) for i, (n, mean) in pairs]
        last = [("entropy", [f"{self.entropy:.4f}", *[""] * k])]
        heads = [self.what, *(f"expert {i}" for i in range(k))]
        return Table(
            "Mean responsibilities by assigned expert", heads, [("assigned to", rows), (f"all {self.what}", last)]
        )

    def __str__(self):
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self):
        return self.table()._repr_html_()

    def to_latex(self) -> str:
        """Return a LaTeX ``tabular``."""
        return self.table().to_latex()

    def to_markdown(self) -> str:
        """Return a Markdown table."""
        return self.table().to_markdown()

    def to_frame(self) -> Any:
        """Return a pandas DataFrame of ``n_rows`` and ``mean``, a line for each assigned expert."""
        pd = needed("pandas", "to_frame()")
        names = [f"expert {i}" for i in range(len(self.n_rows))]
        frame = pd.DataFrame(self.mean, index=names, columns=names)
        frame.insert(0, self.what, self.n_rows)
        return frame


def classification_table(
    model: Model, X: Data, y: ArrayLike | None, *, sample_weight: ArrayLike | None = None
) -> Classification:
    r"""Return mean responsibilities by assigned expert, and the entropy of all.

    .. math:: 1 + \frac{\sum_i \sum_k r_{ik} \log r_{ik}}{n \log K}

    A row is assigned to its most probable expert, of equal ones the first. The entropy comes from the responsibilities
    and not from assignments; for one expert it is one.

    Parameters
    ----------
    model : MoERegressor or FittedMixture
        Fitted.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    sample_weight : array-like of shape (n_samples,), default=None

    Returns
    -------
    Classification

    References
    ----------
    Ramaswamy, V., DeSarbo, W. S., Reibstein, D. J. and Robinson, W. T. (1993). An empirical pooling approach for
    estimating marketing mix elasticities with PIMS data. Marketing Science 12, 103-124.

    Examples
    --------
    >>> from smoe import SoftmaxMoERegressor
    >>> from smoe.datasets import load_engel
    >>> from smoe.inference import classification_table
    >>> X, y = load_engel(return_X_y=True)
    >>> classification_table(SoftmaxMoERegressor(2, random_state=0).fit(X, y), X, y)
    Mean responsibilities by assigned expert
    ========================================
                       rows  expert 0  expert 1
    <BLANKLINE>
    assigned to
      expert 0          195     0.971     0.029
      expert 1           40     0.053     0.947
    <BLANKLINE>
    all rows
      entropy        0.8797
    """
    fit = check_mixture(model)
    blocks = fit.blocks(X, y, sample_weight)
    resp = blocks.map(fit.model.responsibilities, fit.params)
    return _classification(resp, np.array(blocks.source.weight), f"{blocks.what}s")


def _classification(resp, weight, what="rows"):
    """Return the `Classification` of responsibilities (n_experts, n) of rows with weights (n,)."""
    k = len(resp)
    assigned = np.eye(k)[resp.argmax(axis=0)] * weight[:, None]
    rows = assigned.sum(axis=0)
    mean = np.full((k, k), np.nan)
    np.divide(assigned.T @ resp.T, rows[:, None], out=mean, where=rows[:, None] > 0)
    spread = entropies(resp, weight).sum() / (weight.sum() * np.log(k)) if k > 1 else 0.0
    return Classification(rows, mean, 1.0 - float(spread), what)
