"""The rows and parameters of a fitted estimator in working coordinates, and fitted estimators at given parameters."""

import warnings
from typing import NamedTuple

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams
from smoe.rows import Blocks
from smoe.solvers import EM
from smoe.starts import FromParams

__all__ = ["Working", "at_params", "working"]


class Working(NamedTuple):
    """Model, rows and parameters, all in the standardised coordinates that fits work in."""

    model: MixtureOfExperts
    blocks: Blocks
    params: MoEParams

    @property
    def offset(self):
        """What the log-likelihood in working coordinates exceeds that in the user's units by."""
        return self.blocks.loglik_offset

    def to_units(self, params):
        """Return parameters in the user's units, in the gate's canonical form."""
        return self.blocks.scaling.to_user(self.model, params)


def working(estimator, X, y, sample_weight=None):
    """Return a fitted estimator's `Working` on these rows; rows of weight zero are left out."""
    fit = estimator.fitted_
    blocks, _ = fit.working_blocks(X, y, sample_weight)
    return Working(fit.model, blocks, blocks.scaling.from_units(fit.model, fit.params))


def at_params(estimator, params, X, y, sample_weight=None, solve=False):
    """Return a copy fitted from parameters in the user's units: right there, or after its own solver has climbed."""
    kept = {name: getattr(estimator, name) for name in ("start", "n_init", "solver", "warm_start")}
    new = clone(estimator).set_params(n_experts=len(params.expert[0]))
    new.set_params(start=FromParams(params), n_init=1, warm_start=False)
    if not solve:
        new.set_params(solver=EM(max_iter=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # status_ has it, and callers say what matters
        new.fit(X, y, sample_weight=sample_weight)
    return new.set_params(**kept)
