"""The contract of an expert family: densities, additive statistics, M-step, derivatives."""

import numpy as np
from sklearn.base import BaseEstimator

__all__ = ["Expert"]


class Expert(BaseEstimator):
    """Densities f_k(y|x), one per expert, of one family. Holds hyper-parameters only.

    Arrays have the rows on the last axis: a design Z is (n_terms, m), y is (m,), log densities and responsibilities
    are (n_experts, m). A family implements

    * ``init_params(n_experts, n_features)``, parameters of the right shape;
    * ``from_elements(Z, y, weight, rows)``, expert k fitted exactly to the few rows ``rows[k]``, for starts;
    * ``log_prob(Z, y, params)``, the log densities;
    * ``suffstats(Z, y, params, resp)``, a named tuple that adds up over rows;
    * ``m_step(stats, params)``, the maximiser of the expected log-likelihood, and ``score(stats, params)``, its
      gradient;
    * ``row_scores(Z, y, params)``, the gradient of log f_k by expert k's own entries in flat order,
      (n_experts, n_entries, m), and ``curvature(Z, y, params, resp)``, the sum of resp times minus its second
      derivative, (n_experts, n_entries, n_entries): they unlock Newton and standard errors;
    * ``mean(Z, params)``, ``variance(Z, params)``, ``sample(Z, label, params, rng)``;
    * ``mean_scores(Z, params)``, the gradient of expert k's mean by its own entries, (n_experts, n_entries, m), for
      confidence intervals of the mean;
    * ``cdf(Z, y, params, upper=False)`` (the upper tail's probability on request) and
      ``ppf(Z, q, params, upper=False)``, the points with mass q, a number or (m,), below or above them;
    * ``log_cdf(Z, y, params, upper=False)``, if the logarithm of ``cdf`` loses far tails, and ``normal(Z, params)``,
      if the densities are normal given x: quantiles then are fast, and modes and densest regions exact;
    * ``mean_of(Z, params, chosen)``, the means of the experts chosen (top_k, m) for each row;
    * ``unscale(params, shift, scale, y_shift, y_scale)`` and ``units(params)``, the natural unit of each entry.

    Attributes
    ----------
    lower : dict
        Fields of the parameters that are bounded below, with their bound.
    discrete : bool
        Whether y takes whole numbers only.
    """

    lower = {}
    discrete = False

    def check(self):
        """Raise ValueError or TypeError for settings that make no sense."""

    def free(self, params):
        """Return parameters-shaped booleans: every entry is estimated."""
        return type(params)(*(np.ones(np.shape(field), dtype=bool) for field in params))

    def chance_terms(self, n_features):
        """Return how many coefficients an expert's mean has, or None.

        A number says that the density grows without bound as an expert passes through few rows, as where a dispersion
        can vanish; experts on few rows are then charged what a line through the best-fitting rows gains by chance, see
        `smoe.chance.chance`. None says that densities are bounded.
        """
        return None

    def mean_of(self, Z, params, chosen):
        """Return the means of each row's chosen experts, (top_k, m)."""
        return np.take_along_axis(self.mean(Z, params), chosen, axis=0)

    def log_cdf(self, Z, y, params, upper=False):
        """Return the logarithms of ``cdf``, (n_experts, m)."""
        with np.errstate(divide="ignore"):
            return np.log(self.cdf(Z, y, params, upper))

    def normal(self, Z, params):
        """Return means and standard deviations (n_experts, m) if the densities are normal, else None."""
        return None

    def units(self, params):
        """Return parameters-shaped natural units, in which solvers and certificates measure steps."""
        return type(params)(*(np.ones(np.shape(field)) for field in params))

    def at_bound(self, params):
        """Return which experts have a parameter on its lower bound."""
        touching = np.zeros(len(params[0]), dtype=bool)
        for name, bound in self.lower.items():
            touching |= getattr(params, name) <= bound * (1 + 1e-2)
        return touching
