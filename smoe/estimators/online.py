"""Fits that are given their rows batch by batch and do not keep them."""

from dataclasses import dataclass, replace

import numpy as np

from smoe.rows import ArraySource
from smoe.solvers.online import OnlineEM, begin

__all__ = ["FirstRows", "first_rows", "reported"]

_FIRST = 2000  # rows that are fitted as a whole, and then left
_GROWTH = 2.0  # of the first rows, between fits of them

_STATUS = "online steps (partial_fit) have no certificate: MoERegressor(start=model.params_).fit(X, y) finishes them"


@dataclass(frozen=True, eq=False, repr=False)
class FirstRows:
    """The first rows, as long as there are few: all of them, and the weight of those that have been fitted."""

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    fitted: float = 0.0

    def __repr__(self):
        return f"FirstRows({len(self.X)} rows)"

    def taken(self, X, y, weight):
        """Return these and more rows."""
        pairs = (self.X, X), (self.y, y), (self.weight, weight)
        return FirstRows(*(np.concatenate(pair) for pair in pairs), self.fitted)

    def due(self, n_experts):
        """Whether these rows should be fitted, or fitted again."""
        enough = len(self.y) >= max(2, n_experts)
        return enough and (self.complete or self.weight.sum() >= _GROWTH * self.fitted)

    @property
    def complete(self):
        """Whether they are so many that online steps can begin."""
        return self.weight.sum() >= _FIRST


def first_rows(rows, fit, scaling):
    """Return the state after a fit of the first rows: these, or online EM if they are many enough."""
    if not rows.complete:
        return replace(rows, fitted=rows.weight.sum())
    for view, columns in ((scaling.gate, fit.gate_columns), (scaling.expert, fit.expert_columns)):
        if not view.kept.all():
            names = [fit.columns.named()[j] for j in columns[~view.kept]]
            raise ValueError(
                f"columns {names} of X are constant or linear combinations of others in the first {len(rows.X)} rows, "
                "from which partial_fit takes its coordinates: shuffle the rows, or leave these columns out."
            )
    params = scaling.from_units(fit.model, fit.params)
    return begin(fit.model, ArraySource(rows.X, rows.y, rows.weight), scaling, fit.roles, params, fit.loglik)


def reported(fit, state):
    """Return the `FittedMixture` of a state, from that of the fit of the first rows: no certificate, no errors."""
    certificate = fit.certificate._replace(valid=False, status=_STATUS, flat=False, reasons=())
    if not isinstance(state, OnlineEM):
        return replace(fit, certificate=certificate)
    params = state.scaling.to_user(state.model, state.average)
    n_free = len(fit.covariance.factor)
    none = np.zeros((n_free, 0))
    unknown = {"params": params, "factor": none, "null": np.eye(n_free), "jumps": none, "reason": _STATUS}
    return replace(
        fit,
        params=params,
        loglik=state.loglik,
        objective=state.loglik,
        n_rows=state.total_weight,
        entropy=np.nan,
        certificate=certificate,
        covariance=replace(fit.covariance, **unknown),
        score_norm=state.score_norm,
        n_iter=state.n_steps,
        trace=np.array([state.loglik]),
    )
