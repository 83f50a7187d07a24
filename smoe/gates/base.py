"""The contract of a gate: scores, their pullback, and what the density does not depend on."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from smoe._kernels.designs import predictors
from smoe._kernels.moments import covariance_weights, spread_pairs, weighted_grams
from smoe.fields import Field, averaged, n_features_of, relabelled
from smoe.params import flatten, n_rows

__all__ = ["Evaluated", "Gate", "LinearGate", "LinearGateParams"]


class Evaluated(NamedTuple):
    """What one pass asks of a gate at its rows and parameters: scores, and functions of what is left.

    ``pullback(R)`` and ``information(proba, weight, resp)`` return what the methods of `Gate` do.
    """

    scores: np.ndarray
    pullback: Callable
    information: Callable


class Gate(BaseEstimator):
    r"""Mixing weights :math:`\pi_k(x) = \mathrm{softmax}(s(x))_k`, over a support that may depend on x.

    A gate holds hyper-parameters only. Arrays have the rows on the last axis: a design Z is (n_terms, m), scores,
    probabilities and weights R are (n_experts, m).

    Attributes
    ----------
    fields : dict of str to smoe.fields.Field
        What each array of the parameters is: its axes and bounds.
    smooth : bool
        Whether the log-likelihood is twice differentiable in the parameters.
    remark : str
        What users must know about the estimates, added to ``status_``.
    default_solver : str
        Name of the solver that ``solver="auto"`` means.
    default_start : str
        Name of the start that ``start="auto"`` means.
    centred : bool
        Whether a shift of X can be undone by the parameters, so that fits may work on centred columns.
    constant_units : bool
        Whether `natural_units` are the same for all parameters.
    em_leads : bool
        Whether EM's step for the gate leads back to the ridges that Newton's steps leave.
    n_finished : int
        Starts that the search takes to the end.
    linear : bool
        Whether x enters through ``coef @ x`` alone, so that fits may work on linear combinations of nearly collinear
        columns. A gate that declares it leaves its slopes in ``coef`` to them.
    log_linear : bool
        Whether scores are linear in all free entries, so that their log-likelihood may have directions of recession.
    nested : bool
        Whether any probabilities of k experts are also some of k + 1.
    names_limits : bool
        Whether `diagnosis` tells by the parameters alone that they are on their way to a limit of the model.
    exchangeable : bool
        Whether experts have no places among the others: what is known of one can be compared with what is known of any.
    """

    fields: dict = {}
    remark = ""
    smooth = True
    default_solver = "em_newton"
    centred = True
    constant_units = True
    em_leads = True
    default_start = "elemental"
    n_finished = 5
    linear = False
    log_linear = False
    nested = True
    names_limits = False
    exchangeable = True

    def check(self, n_experts):
        """Raise ValueError or TypeError for settings that make no sense with this many experts."""

    def diagnosis(self, params):
        """Return in words what is wrong with parameters at which a solver gave up, or nothing."""
        return ""

    def init_params(self, n_experts, n_features):
        """Return parameters of a flat gate: every expert equally likely everywhere."""
        raise TypeError(f"{type(self).__name__} must implement init_params.")

    def scores(self, Z, params):
        """Return the scores (n_experts, m); -inf takes an expert off a row's support."""
        raise TypeError(f"{type(self).__name__} must implement scores.")

    def sparse_proba(self, Z, params):
        """Return probabilities and indices of the only experts that matter, both (top_k, m); None for a dense gate."""
        return None

    def pullback(self, Z, params, R):
        """Return the derivative of the sum of R * scores by the parameters, shaped like them.

        R may have leading axes; the fields then have them too. This one derivative serves EM (R = old responsibilities
        minus new probabilities) and maximum likelihood (R = responsibilities minus probabilities).
        """
        raise TypeError(f"{type(self).__name__} must implement pullback.")

    def row_pullback(self, Z, params, R):
        """Return the derivative of each row's sum of R * scores, (n_entries, m), entries in flat order.

        Here row after row, which works for every gate; a gate that has more to say overrides it.
        """
        rows = [self.pullback(Z[:, [i]], params, R[:, [i]]) for i in range(R.shape[1])]
        return np.array([flatten(row) for row in rows]).T.reshape(flatten(params).size, -1)

    def evaluated(self, Z, params):
        """Return what one pass asks for, as ``Evaluated``."""
        methods = self.pullback, self.information
        return Evaluated(self.scores(Z, params), *(partial(method, Z, params) for method in methods))

    def log_information(self, Z, params, proba, target, weight):
        """Return minus the second derivative of the sum over rows of weight target' log(proba), the target fixed."""
        expected = self.information(Z, params, target, weight)
        return self.information(Z, params, proba, weight, target) + expected

    def n_selected(self, n_experts):
        """Return how many experts have a positive probability on a row, at most."""
        return n_experts

    def selects_all(self, n_experts):
        """Whether all experts have a positive probability on every row."""
        return self.n_selected(n_experts) == n_experts

    def penalties(self):
        """Return the penalties that its settings ask for."""
        return ()

    def free(self, params):
        """Return parameters-shaped booleans: False where the gate's convention pins an entry."""
        fixed = {name for name, field in self.fields.items() if field.fixed}
        arrays = params._asdict().items()
        return type(params)(**{name: np.full(np.shape(array), name not in fixed) for name, array in arrays})

    def natural_units(self, params):
        """Return parameters-shaped natural units, in which solvers and certificates measure steps."""
        return type(params)(*(np.ones(np.shape(field)) for field in params))

    def canonical(self, params):
        """Return the representative of all parameters with the same density. Idempotent."""
        return params

    def permute(self, params, order):
        """Return the parameters of relabelled experts: expert i of the result is expert ``order[i]``."""
        return relabelled(params, self.fields, order)

    def log_mass(self, params):
        """Return the logarithms of the experts' weights where the features are zero, up to a constant, (n_experts,)."""
        raise TypeError(f"{type(self).__name__} must implement log_mass.")

    def with_log_mass(self, params, log_mass):
        """Return the parameters with other weights where the features are zero."""
        raise TypeError(f"{type(self).__name__} must implement with_log_mass.")

    def duplicate(self, params, i):
        """Return the same probabilities with one expert more: two of expert i, each with half of what it had."""
        out = self.permute(params, [*range(n_rows(params)), i])
        log_mass = np.array(self.log_mass(out))
        log_mass[[i, -1]] -= np.log(2.0)
        return self.with_log_mass(out, log_mass)

    def beside(self, params, lost, host):
        """Return the parameters without one expert, and with one more, the last, that shares what another one has."""
        kept = [i for i in range(n_rows(params)) if i != lost]
        return self.duplicate(self.permute(params, kept), kept.index(host))

    def scores_without(self, Z, params, lost):
        """Return the scores of all other experts, among which the lost one's probabilities are divided."""
        return np.delete(self.scores(Z, params), lost, axis=0)

    def merge(self, params, groups, load):
        """Return parameters with one expert per group: the load-weighted mean of its members, their masses added."""
        mass = self.log_mass(params)
        merged = np.array([np.logaddexp.reduce(mass[list(group)]) for group in groups])
        return self.with_log_mass(averaged(params, self.fields, groups, load), merged)

    def flat(self, params, share):
        """Return parameters like these whose probabilities are the shares (n_experts,) everywhere."""
        flat = self.init_params(len(share), n_features_of(params, self.fields))
        shared = {name: getattr(params, name) for name, field in self.fields.items() if field.shared}
        return self.with_log_mass(flat._replace(**shared), np.log(share))

    def gathered(self, params, overlap):
        """Return parameters in which experts that share most have places near each other, if they have places."""
        return params

    def inside(self, n_features):
        """Return the gate whose fits are the best place to begin from; None is the softmax gate."""
        return None

    def of_inside(self, params):
        """Return the parameters with the probabilities of the gate inside, if this gate contains it, or None."""
        return None

    def dense(self):
        """Return the smooth gate that stands for this one where its jumps are in the way: itself if it has none."""
        return self

    def apart(self, params, i, rng):
        """Return parameters in which expert i and its copy, the last one, differ where equal ranks have no meaning."""
        return params

    def unscale(self, params, shift, scale):
        """Return parameters for x from those for (x - shift) / scale."""
        raise TypeError(f"{type(self).__name__} must implement unscale.")


class LinearGateParams(NamedTuple):
    """Slopes ``coef`` (n_experts, n_features) and ``intercept`` (n_experts,) of a gate's linear scores."""

    coef: np.ndarray
    intercept: np.ndarray


class LinearGate(Gate):
    """What gates with scores b1_i'x + b0_i share; the last expert's row is pinned to zero."""

    fields = {"coef": Field(("expert", "feature"), gauge="expert"), "intercept": Field()}
    log_linear = True

    def init_params(self, n_experts, n_features):
        """Return zero slopes and intercepts."""
        return LinearGateParams(np.zeros((n_experts, n_features)), np.zeros(n_experts))

    def scores(self, Z, params):
        """Return b1_i'x + b0_i."""
        return predictors(params.coef, params.intercept, Z)

    def pullback(self, Z, params, R):
        """Return the sums of R x' and of R."""
        sums = R @ Z.T
        return LinearGateParams(sums[..., :-1], sums[..., -1])

    def row_pullback(self, Z, params, R):
        """Return the derivative of each row's sum of R * scores, (n_entries, m)."""
        return (R[:, None] * Z).reshape(-1, Z.shape[1])

    def information(self, Z, params, proba, weight, resp=None):
        """Return the sum over rows of weight J'(diag p - p p')J, with J the derivative of the scores.

        With ``resp`` the same of the responsibilities is subtracted, which makes it the gate's block of the observed
        information.
        """
        weights = covariance_weights(proba, weight)
        if resp is not None:
            weights -= covariance_weights(resp, weight)
        return self.assemble(weights, Z, len(proba))

    def assemble(self, weights, Z, n_experts):
        """Return the information matrix in flat order from the weights of the pairs i < j of experts, row by row."""
        return self.assembled(weighted_grams(weights, Z), n_experts)

    def assembled(self, grams, n_experts):
        """Return the same from the pairs' sums (n_pairs, n_terms, n_terms).

        Adding one number to every score changes nothing, so the blocks of the pairs give those of the diagonal.
        """
        return spread_pairs(grams, n_experts)

    def free(self, params):
        """Every row but the last."""
        free = super().free(params)
        free.coef[-1], free.intercept[-1] = False, False
        return free

    def canonical(self, params):
        """Subtract the last expert's row, which leaves every probability as it is."""
        return LinearGateParams(params.coef - params.coef[-1], params.intercept - params.intercept[-1])

    def log_mass(self, params):
        """Return the intercepts."""
        return params.intercept

    def with_log_mass(self, params, log_mass):
        """Return the parameters with other intercepts."""
        return params._replace(intercept=log_mass)

    def breaks(self, params):
        """Return the x at which two scores, or two slopes, of one feature are equal."""
        i, j = np.triu_indices(len(params.intercept), 1)
        tilt, gap = params.coef[i, 0] - params.coef[j, 0], params.intercept[i] - params.intercept[j]
        return np.append(-gap[tilt != 0] / tilt[tilt != 0], 0.0)

    def unscale(self, params, shift, scale):
        """Carry the shift in the intercepts and the scale in the slopes."""
        coef = params.coef / scale
        return LinearGateParams(coef, params.intercept - coef @ shift)
