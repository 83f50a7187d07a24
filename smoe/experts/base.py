"""The contract of an expert family: its response, densities, additive statistics, M-step, derivatives."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from smoe.families.base import Support
from smoe.fields import averaged, relabelled
from smoe.params import fold, n_rows, unflatten
from smoe.validation import check_response

__all__ = ["Evaluated", "Expert", "Support"]


class Evaluated(NamedTuple):
    """What one pass asks of experts at its rows and parameters: log densities, and functions of what is left.

    ``suffstats(resp)``, ``row_scores()`` and ``curvature(resp, stats)`` return what the methods of `Expert` do.
    """

    log_prob: np.ndarray
    suffstats: Callable
    row_scores: Callable
    curvature: Callable


def _check_successes(name, y, trials):
    """Raise ValueError unless all successes, where they are whole numbers, are at most the trials."""
    wrong = y > trials
    if wrong.any():
        without = "" if np.ndim(trials) else ", one per row without trials_feature"
        first = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"y: {name} counts successes in trials{without}; {int(wrong.sum())} of {len(y)} rows have more "
            f"successes than trials, the first is row {first} with {y[first]:g}."
        )


class Expert(BaseEstimator):
    """Densities f_k(y|x), one per expert, of one family. Holds hyper-parameters only.

    Methods take `smoe.features.Rows`: ``rows.Z`` is the design (n_terms, m), ``rows.y`` the response (m,), with the
    rows on the last axis, ``rows.offset``, ``rows.trials`` and ``rows.event`` (m,) or None. Log densities and
    responsibilities are (n_experts, m). A family implements

    * ``init_params(n_experts, n_features)``, parameters of the right shape;
    * ``from_elements(rows, weight, elements)``, expert k fitted to the few rows ``elements[k]``, for starts;
    * ``log_prob(rows, params)``, the log densities;
    * ``suffstats(rows, params, resp)``, a named tuple that adds up over rows;
    * ``m_step(stats, params)``, the maximiser of the expected log-likelihood or a step towards it, and
      ``score(stats, params)``, its gradient;
    * ``mean(rows, params)``, ``variance(rows, params)``, ``sample(rows, label, params, rng)``;
    * ``unscale(params, shift, scale, y_shift, y_scale)``, parameters for (x, y) from those for ((x - shift) / scale,
      (y - y_shift) / y_scale); for y only as far as ``units`` says that it may be changed.

    It may implement

    * ``row_scores(rows, params)``, the gradient of log f_k by expert k's own entries in flat order (shared ones as if
      they were its own), (n_experts, n_entries, m), and ``curvature(rows, params, resp, stats)``, the sum of resp times
      minus its second derivative, (n_experts, n_entries, n_entries): they unlock Newton and standard errors;
    * ``mean_scores(rows, params)``, the gradient of expert k's mean by its own entries, (n_experts, n_entries, m), for
      confidence intervals of the mean;
    * ``cdf(rows, params, upper=False)`` at ``rows.y`` (the upper tail's probability on request) and
      ``ppf(rows, q, params, upper=False)``, the points with mass q, a number or (m,), below or above them;
    * ``log_cdf(rows, params, upper=False)``, if the logarithm of ``cdf`` loses far tails, and ``normal(rows, params)``,
      if the densities are normal given x: quantiles then are fast, and modes and densest regions exact;
    * ``evaluated(rows, params)``, if log densities and derivatives are cheaper together;
    * ``mean_of(rows, params, chosen)``, the means of the experts chosen (top_k, m) for each row;
    * ``natural_units(params)``, the natural unit of each entry.

    Attributes
    ----------
    fields : dict of str to smoe.fields.Field
        What each array of the parameters is: its axes and bounds.
    support : Support
        Which responses it takes.
    units : {"affine", "similar", "positive", "none"}
        What a fit may do to y: shift and scale it, of several responses each by itself; the same with one scale for all
        responses; scale it only; or nothing.
    slow_fields : tuple of str
        Fields whose over-specified estimates are slower than those of the others.
    linear : bool
        Whether x enters through ``coef @ x`` alone, so that fits may work on linear combinations of nearly collinear
        columns.
    similar : slice
        With units "similar" the responses that share a scale; others have their own.
    takes_missing : bool
        Whether responses may be missing, NaN, and are integrated out.
    takes_trials : bool
        Whether y counts successes in ``rows.trials`` trials.
    takes_events : bool
        Whether rows may be right-censored: where ``rows.event`` is zero, ``log_prob`` is the log survival function.
    classes : array or None
        Labels of the codes that it sees in place of classes, in their order.
    axis_labels : dict of str to list of str
        What the places along an axis of its own are called; numbers if it is not there.
    concave : bool
        Whether one expert has one maximum, so that one start is enough.
    rows_per_term : int
        Rows for each coefficient that starts fit an expert to.
    exact_m_step : bool
        Whether ``m_step`` is the maximiser; else EM shortens the experts' step, too, where it does not climb.

    Notes
    -----
    What predictive distributions ask of a family depends on ``support.kind``:

    * "real", "integers": what is listed above. ``log_prob`` and ``cdf`` are asked within the support only, of whole
      numbers if these are meant;
    * "classes": y holds codes 0, 1, ..., and ``class_log_proba(rows, params)`` returns the log probabilities of all
      classes, (n_experts, n_classes, m). No ``mean``, ``variance``, ``cdf`` or ``ppf`` is asked for;
    * "vectors": y is (q, m) here and (n_samples, q) for users, and ``axis_labels["response"]`` are the names of the
      responses. ``mean`` is (n_experts, q, m), ``mean_scores`` (n_experts, q, n_entries, m), ``variance`` are
      covariance matrices (n_experts, q, q, m), ``sample`` returns (q, m); ``normal`` returns mean and covariance
      matrices if the densities are normal, which marginal and conditional distributions need. No ``cdf`` or ``ppf`` is
      asked for.
    """

    fields: dict = {}
    support = Support()
    units = "affine"
    slow_fields = ("intercept",)
    linear = False
    classes: Any = None
    concave = False
    axis_labels: dict = {}
    rows_per_term = 1
    exact_m_step = True
    similar = slice(None)
    takes_missing = False
    takes_trials = False
    takes_events = False

    @property
    def name(self):
        """What summaries call it."""
        return type(self).__name__

    def check(self):
        """Raise ValueError or TypeError for settings that make no sense."""

    def bind(self, y):
        """Return the family that knows what it must of the response as users pass it, such as its classes: itself."""
        return self

    def read(self, y):
        """Return the response as fits see it, floats."""
        return check_response(y)

    def write(self, y):
        """Return responses (m,) or (q, m) as users pass them: what undoes ``read``."""
        return np.asarray(y).T

    def check_response(self, y, trials=None, event=None):
        """Raise ValueError unless every response lies in the support, and is at most the number of trials."""
        if event is not None and not self.takes_events:
            raise ValueError(
                f"event_feature: {self.name} takes no censored responses; 'weibull', 'log_logistic', 'log_normal' do."
            )
        if trials is not None and not self.takes_trials:
            raise ValueError(f"trials_feature: {self.name} counts no successes in trials.")
        if self.takes_trials:
            _check_successes(self.name, y, 1.0 if trials is None else trials)
        wrong = ~self.support.contains(y)
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"y: {self.name} takes {self.support}; {int(wrong.sum())} of {len(y)} rows do not hold such, "
                f"the first is row {first} with {y[first]:g}."
            )

    def init_params(self, n_experts, n_features):
        """Return parameters of the right shape."""
        raise self._missing("init_params")

    def from_elements(self, rows, weight, elements):
        """Return parameters with expert k fitted to the few rows ``elements[k]``."""
        raise self._missing("from_elements")

    def log_prob(self, rows, params):
        """Return the log densities, (n_experts, m)."""
        raise self._missing("log_prob")

    def suffstats(self, rows, params, resp):
        """Return a named tuple of sums over rows, weighted by resp."""
        raise self._missing("suffstats")

    def evaluated(self, rows, params):
        """Return what one pass asks for, as ``Evaluated``."""
        methods = self.suffstats, self.row_scores, self.curvature
        return Evaluated(self.log_prob(rows, params), *(partial(method, rows, params) for method in methods))

    def m_step(self, stats, params):
        """Return parameters of higher expected log-likelihood: its maximiser if ``exact_m_step``."""
        raise self._missing("m_step")

    def m_information(self, stats, params):
        """Return what M-steps under a penalty take for minus the second derivative, in flat order.

        Here the curvature of families whose statistics say it all, as moments do.
        """
        own = self.curvature(None, params, None, stats)
        k, size = own.shape[:2]
        out = np.zeros((k, size, k, size))
        out[np.arange(k), :, np.arange(k)] = own
        return fold(fold(out.reshape(k * size, -1), params), params, axis=1)

    def score(self, stats, params):
        """Return the gradient of the expected log-likelihood, shaped like the parameters."""
        raise self._missing("score")

    def pullback(self, rows, params, resp):
        """Return the sum over rows of resp times the gradient of log f_k, shaped like the parameters.

        Here from gradients row by row; a family that has less to store overrides it.
        """
        own = np.einsum("kem,km->ke", self.row_scores(rows, params), resp)
        return unflatten(fold(own.ravel(), params), params)

    def mean(self, rows, params):
        """Return the means of y, (n_experts, m)."""
        raise self._missing("mean")

    def variance(self, rows, params):
        """Return the variances of y, (n_experts, m)."""
        raise self._missing("variance")

    def residual(self, rows, params):
        """Return by what rows of one expert may be told apart where it is split in two, (n_experts, m)."""
        return rows.y - self.mean(rows, params)

    def sample(self, rows, label, params, rng):
        """Draw y for each row from the expert named by its label, (m,)."""
        raise self._missing("sample")

    def unscale(self, params, shift, scale, y_shift, y_scale):
        """Return parameters for (x, y) from those for ((x - shift) / scale, (y - y_shift) / y_scale)."""
        raise self._missing("unscale")

    def _missing(self, method):
        return TypeError(f"{type(self).__name__} must implement {method}.")

    def free(self, params):
        """Return parameters-shaped booleans: every entry is estimated."""
        return type(params)(*(np.ones(np.shape(field), dtype=bool) for field in params))

    def permute(self, params, order):
        """Relabel the experts; some may be left out or repeated, and what all share stays."""
        return relabelled(params, self.fields, order)

    def in_terms_of(self, fields, params):
        """Return the parameters by name, as a family with these fields would call them."""
        return params._asdict()

    def merge(self, params, groups, load):
        """Return parameters with one expert per group: the load-weighted mean of its members."""
        return averaged(params, self.fields, groups, load)

    def chance_terms(self, n_features):
        """Return how many coefficients an expert's mean has, or None.

        A number says that the density grows without bound as an expert passes through few rows, as where a dispersion
        can vanish; experts on few rows are then charged what a line through the best-fitting rows gains by chance, see
        `smoe.chance.chance`. None says that densities are bounded.
        """
        return None

    def mean_of(self, rows, params, chosen):
        """Return the means of each row's chosen experts, (top_k, m)."""
        return np.take_along_axis(self.mean(rows, params), chosen, axis=0)

    def log_cdf(self, rows, params, upper=False):
        """Return the logarithms of ``cdf``, (n_experts, m)."""
        with np.errstate(divide="ignore"):
            return np.log(self.cdf(rows, params, upper))

    def normal(self, rows, params):
        """Return means and standard deviations (n_experts, m) if the densities are normal, else None."""
        return None

    def natural_units(self, params):
        """Return parameters-shaped natural units, in which solvers and certificates measure steps."""
        return type(params)(*(np.ones(np.shape(field)) for field in params))

    @property
    def floors(self):
        """The floors by field: of variances, scales or dispersions that a collapse takes to zero."""
        return {name: f.lower for name, f in self.fields.items() if f.lower > 0 and not f.attained}

    def at_bound(self, params):
        """Return which experts have a parameter on its floor: they have collapsed."""
        n_experts = n_rows(params)
        out = np.zeros(n_experts, dtype=bool)
        for name, floor in self.floors.items():
            field = np.atleast_1d(getattr(params, name))
            out |= (field <= floor * (1 + 1e-2)).reshape(len(field), -1).any(axis=1)
        return out

    def remark_on_floor(self, params):
        """Say in words which responses have lost their variance, or nothing."""
        return ""
