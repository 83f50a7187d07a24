"""What a bootstrap found."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from smoe.optional import needed
from smoe.params import MoEParams, flatten
from smoe.validation import check_callable, check_index, check_level

__all__ = ["BootstrapResult"]


@dataclass(frozen=True, eq=False, repr=False)
class BootstrapResult:
    """All refits of a bootstrap, and what follows from them.

    Refits without certificate are kept. They matter: to leave them out (``certified_only=True``) makes errors look
    smaller where the model is fragile, to keep them lets a gate that separated one data set, with its huge
    coefficients, rule the standard errors; percentile intervals hardly mind. Refits that raised an error have NaN
    parameters and are left out of every summary.

    Attributes
    ----------
    estimate : MoEParams
        The original's parameters.
    params : MoEParams
        Those of the refits in the original's order of experts, stacked: replicates on axis 0 of every field.
    logliks : ndarray of shape (n_resamples,)
        Log-likelihood of each refit on its own data set.
    statuses : list of str
        ``status_`` of each refit, or the error that it raised.
    certified : ndarray of bool, shape (n_resamples,)
    kind : str
    names : list of str
        Of the entries in flat order.
    """

    estimate: MoEParams
    params: MoEParams
    logliks: np.ndarray
    statuses: list
    certified: np.ndarray
    kind: str
    names: list

    def __repr__(self):
        return f"BootstrapResult({self.kind}, {len(self.logliks)} refits, {self.n_failed} without certificate)"

    @property
    def n_failed(self) -> int:
        """Number of refits without the certificate of a maximum, those that raised an error included."""
        return int(np.sum(~self.certified))

    @property
    def reasons(self) -> Counter:
        """How often each reason kept a refit from its certificate, the most frequent first."""
        return Counter(s for s, ok in zip(self.statuses, self.certified, strict=True) if not ok)

    def _kept(self, certified_only):
        """Indices of the refits that summaries use."""
        kept = np.flatnonzero(np.isfinite(self.logliks) & (self.certified | (not certified_only)))
        if len(kept) < 2:
            why = f"; the others: {self.reasons.most_common(1)[0][0]}" if self.reasons else ""
            raise ValueError(f"n_resamples: {len(kept)} refits are too few to summarise, two are needed{why}.")
        return kept

    def _summary(self, summarise, certified_only):
        """Summarise each entry over the refits; NaN where an entry is pinned and never varies."""
        kept = self._kept(certified_only)

        def one(values):
            values = values[kept]
            fixed = np.all(values == values[0], axis=0)
            out = summarise(values)
            return np.where(fixed if out.ndim == fixed.ndim else fixed[..., None], np.nan, out)

        return _by_field(one, self.params)

    def standard_errors(self, certified_only: bool = False) -> MoEParams:
        """Return standard deviations over the refits, shaped like the parameters; NaN for pinned entries."""
        return self._summary(lambda values: values.std(axis=0, ddof=1), certified_only)

    def bias(self, certified_only: bool = False) -> MoEParams:
        """Return the mean over the refits minus the estimate, shaped like the parameters; NaN for pinned entries."""
        mean = self._summary(lambda values: values.mean(axis=0), certified_only)
        return _by_field(np.subtract, mean, self.estimate)

    def interval(self, coverage: float = 0.95, certified_only: bool = False) -> MoEParams:
        """Return percentile intervals: parameters whose fields have low and high on one more axis, the last.

        Parameters
        ----------
        coverage : float, default=0.95
        certified_only : bool, default=False
            Leave out refits without certificate.

        Returns
        -------
        MoEParams
            NaN for pinned entries.

        Raises
        ------
        ValueError
            A coverage outside (0, 1), or fewer than two refits to summarise.
        """
        tails = _tails(coverage)
        return self._summary(lambda values: np.moveaxis(np.quantile(values, tails, axis=0), 0, -1), certified_only)

    def statistic(self, function: Callable, certified_only: bool = False) -> np.ndarray:
        """Return any function of the parameters at each refit, stacked: (n_kept, ...).

        Parameters
        ----------
        function : callable
            Takes `smoe.params.MoEParams`, returns a number or an array.
        certified_only : bool, default=False
            Leave out refits without certificate.

        Examples
        --------
        The interval of the difference of two slopes:

        >>> import numpy as np
        >>> from smoe import SoftmaxMoERegressor
        >>> from smoe.datasets import load_faithful
        >>> from smoe.inference import bootstrap
        >>> X, y = load_faithful(return_X_y=True)
        >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
        >>> result = bootstrap(model, X, y, n_resamples=50, random_state=0)
        >>> difference = result.statistic(lambda params: params.expert.coef[1, 0] - params.expert.coef[0, 0])
        >>> np.quantile(difference, [0.025, 0.975]).shape
        (2,)
        """
        check_callable(function, "function", "parameters")
        return np.array([function(self.replicate(i)) for i in self._kept(certified_only)])

    def replicate(self, i: int) -> MoEParams:
        """Return the parameters of refit i, counted from zero."""
        i = check_index(i, "i", len(self.logliks), "the bootstrap", "refit")
        return _by_field(lambda values: values[i], self.params)

    def to_frame(self, coverage: float = 0.95, certified_only: bool = False) -> Any:
        """Return a pandas DataFrame with columns estimate, bias, std_err, ci_low, ci_high (of this coverage).

        Its rows are called as those of ``model.summary().to_frame()``, such as "gate 0: x1" and "expert 1: variance".

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        pd = needed("pandas", "to_frame()")
        ends = self.interval(coverage, certified_only)
        low, high = (_by_field(lambda values, end=end: values[..., end], ends) for end in (0, 1))
        found = self.estimate, self.bias(certified_only), self.standard_errors(certified_only), low, high
        columns = "estimate", "bias", "std_err", "ci_low", "ci_high"
        return pd.DataFrame(dict(zip(columns, map(flatten, found), strict=True)), self.names)


def _by_field(function, *params):
    """Apply a function to the fields of parameters."""
    parts = [
        type(part)(*(np.asarray(function(*fields)) for fields in zip(part, *others, strict=True)))
        for part, *others in zip(*params, strict=True)
    ]
    return MoEParams(*parts)


def _tails(coverage):
    tail = (1.0 - check_level(coverage, "coverage")) / 2.0
    return [tail, 1.0 - tail]
