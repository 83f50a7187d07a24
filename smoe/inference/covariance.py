"""Covariance of the estimates: from the observed information, robust to a wrong model, or to dependence in groups."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from smoe.inference.directions import root_n_directions, separation
from smoe.inference.rows import cluster_products, score_products
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, coordinates, flatten, unflatten
from smoe.rows import Blocks
from smoe.solvers.certificate import LARGEST, SINGULAR
from smoe.solvers.working_set import where_used
from smoe.threads import driving

__all__ = ["KINDS", "WEIGHTS", "Covariance", "covariance"]

KINDS = ("observed", "sandwich", "cluster")
WEIGHTS = ("frequency", "sampling")
_LOST = 1e-6  # share of a direction that lies where nothing is known


@dataclass(frozen=True, eq=False, repr=False)
class Covariance:
    r"""Covariance matrix of the estimated parameters, in the user's units.

    Attributes
    ----------
    kind : {"observed", "sandwich", "cluster"}
    entries : list of smoe.fields.Entry
        What the entries of the parameters are, in the order of ``summary().to_frame()``.
    reason : str
        Why some standard errors are NaN, or nothing. Entries that the gate's convention pins to zero are not mentioned.
    params : MoEParams
        The estimates.
    change : ndarray of shape (n_entries, n_free)
        What free coordinates of even scale do to the entries.
    factor : ndarray of shape (n_free, rank)
        The covariance of the free coordinates is ``factor @ factor.T``.
    null : ndarray of shape (n_free, n_lost)
        Orthonormal directions in these coordinates that the data do not determine.
    jumps : ndarray of shape (n_free, n_jumps)
        Orthonormal directions along which the likelihood jumps (the gate's, if it is top-K).
    separation : str
        Along which columns and between which experts the gate separates the data, in words, or nothing.
    remarks : tuple of str
        What else its name says: weights, the number of groups, a correction.
    """

    kind: str
    entries: list
    reason: str
    params: MoEParams
    change: np.ndarray
    factor: np.ndarray
    null: np.ndarray
    jumps: np.ndarray
    separation: str = ""
    remarks: tuple = ()

    def __repr__(self):
        return f"Covariance({self.kind!r}, {', '.join([f'{len(self.entries)} entries', *self.remarks])})"

    @property
    def label(self) -> str:
        """What the standard errors come from, in words."""
        return ", ".join(["observed information" if self.kind == "observed" else self.kind, *self.remarks])

    @property
    def names(self) -> list[str]:
        """The entries' names: "gate 0: x0", "expert 1: variance", ..."""
        return [entry.name for entry in self.entries]

    @property
    def standard_errors(self) -> MoEParams:
        """Standard errors shaped like the parameters, NaN for entries that are pinned or not estimated."""
        error = self.std_err(self.change.T)
        return unflatten(np.where(error > 0, error, np.nan), self.params)

    @property
    def matrix(self) -> np.ndarray:
        """The covariance matrix (n_entries, n_entries); rows and columns without standard error are NaN."""
        error, root = flatten(self.standard_errors), self.change @ self.factor
        with np.errstate(over="ignore", under="ignore"):  # squares of extreme units leave float64
            scaled = root / error[:, None]
            return error[:, None] * (scaled @ scaled.T) * error

    def std_err(self, gradient: np.ndarray, given_support: bool = False) -> np.ndarray:
        """Return the standard errors of functions from their gradient by the free coordinates, (n_free, n_functions).

        NaN where a function depends on directions that are not determined, or along which the likelihood jumps. With
        ``given_support`` the latter does not matter: the function sees the gate only where it is smooth.
        """
        unit = np.maximum(np.abs(gradient).max(axis=0, initial=0.0), np.finfo(float).tiny)
        gradient = gradient / unit  # squares of extreme units leave float64
        size = np.linalg.norm(gradient, axis=0)
        error = np.linalg.norm(self.factor.T @ gradient, axis=0)
        unknown = self.null if given_support else np.hstack([self.null, self.jumps])
        lost = np.linalg.norm(unknown.T @ gradient, axis=0) > _LOST * size
        return np.where(lost, np.nan, error * unit)


@driving
def covariance(
    model: MixtureOfExperts,
    blocks: Blocks,
    params: MoEParams,
    certificate: Any,
    entries: list,
    kind: str = "observed",
    groups: np.ndarray | None = None,
    weights: str = "frequency",
    correction: bool | str = False,
    curvature: Any = None,
) -> Covariance:
    r"""Return the `Covariance` of estimates, from the rows that they were fitted to.

    With H minus the second derivative of the log-likelihood and s the score of a row of weight w,

    .. math:: H^{-1}, \qquad H^{-1} \Big(\sum w\, s s^\top\Big) H^{-1}, \qquad
              H^{-1} \Big(\sum_g s_g s_g^\top\Big) H^{-1}, \quad s_g = \sum_{rows\ of\ g} w\, s

    for the kinds "observed", "sandwich" and "cluster". With sampling weights the sandwich has :math:`w^2\, s s^\top`.

    Parameters
    ----------
    model : MixtureOfExperts
    blocks : Blocks
        The rows, in working coordinates.
    params : MoEParams
        In working coordinates.
    certificate : Certificate
        Of the fit.
    entries : list of smoe.fields.Entry
    kind : {"observed", "sandwich", "cluster"}, default="observed"
    groups : array of int, shape (n_samples,), or None
        Group of each row, numbered from zero, for "cluster".
    weights : {"frequency", "sampling"}, default="frequency"
        Whether a weight is the number of times that a row counts, or of the units that it stands for.
    correction : bool, default=False
        Whether to multiply by G / (G - 1), G the number of groups, or of rows for "sandwich".
    curvature : Curvature or None, default=None
        That of all rows at these parameters, if it is known: it saves a pass.

    References
    ----------
    White, H. (1982). Maximum likelihood estimation of misspecified models. Econometrica 50, 1-25.

    Liang, K.-Y. and Zeger, S. L. (1986). Longitudinal data analysis using generalized linear models. Biometrika 73,
    13-22.
    """
    chart, user, scaling = model.chart(params), blocks.scaling.to_user(model, params), blocks.scaling
    change = _change(model, scaling, chart, params)
    nothing, every = np.zeros((chart.n_free, 0)), np.eye(chart.n_free)
    bare = partial(Covariance, kind, entries, params=user, change=change)
    unknown = partial(bare, factor=nothing, null=every, jumps=nothing)
    if reason := _nothing_known(model, certificate, chart):
        return unknown(reason)
    model, blocks, params = where_used(model, blocks, params)
    chart, curvature = model.chart(params), None if blocks.scaling is not scaling else curvature
    curvature = blocks.sum(model.curvature, params) if curvature is None else curvature
    information = chart.information(model.information(params, curvature, blocks.total_weight), params)
    if not np.isfinite(information).all():
        return unknown("the observed information is not finite: rescale the data")
    held = _on_bounds(model, params, chart)
    information[held], information[:, held] = 0.0, 0.0
    along = root_n_directions(model, blocks, params, chart, curvature, certificate)
    if certificate.separates and not along.diverging.shape[1]:
        return unknown(f"not a certified maximum: {certificate.status}")
    words = separation(along.diverging, change, user, entries) if certificate.separates else ""
    factor, singular = _inverse_root(information, along.known)
    if kind == "sandwich":
        products = score_products(model, blocks, params, 2 if weights == "sampling" else 1)
        factor = _sandwich(factor, chart.information(products, params))
    elif kind == "cluster":
        factor = _sandwich(factor, chart.information(cluster_products(model, blocks, params, groups), params))
    inflation, remarks = _sources(blocks, kind, groups, weights, correction, chart.n_free)
    remarks += tuple(penalty.given for penalty in model.active_penalties if penalty.given)
    factor = factor * np.sqrt(inflation)
    lost = np.hstack([along.lost, singular])
    null = np.hstack([along.diverging, lost])
    found = bare("", factor=factor, null=null, jumps=along.jumps, separation=words, remarks=remarks)
    bounds = _named_bounds(entries, chart, held)
    singular = lost[:, np.linalg.norm(change @ lost, axis=0) > 0]
    return _with_reason(found, "; ".join(filter(None, [words, along.note, bounds])), model, scaling, singular)


def _on_bounds(model, params, chart):
    """Return which free coordinates are on a bound where a maximum may lie: they are taken for known there."""
    lower, _, _, attained = coordinates(model.expert, params.expert)[1:]
    on = attained & (flatten(params.expert) <= lower)
    return np.concatenate([np.zeros(len(flatten(params.gate)), dtype=bool), on])[chart.free]


def _named_bounds(entries, chart, held):
    names = [entries[i].name for i in np.flatnonzero(chart.free)[held]]
    return f"{', '.join(names)} on the bound: the others' standard errors are given that" if names else ""


def _sources(blocks, kind, groups, weights, correction, df):
    """Return the factor for small samples, and what to say of the independent contributions to the score."""
    sampling, clustered = weights == "sampling", kind == "cluster"
    n = len(blocks) if sampling else blocks.total_weight
    n_groups = int(groups.max()) + 1 if clustered else n
    remarks = [f"{n_groups} groups"] if clustered else []
    remarks += ["sampling weights"] if sampling else []
    inflation, words = 1.0, ""
    if correction:
        inflation, words = n_groups / (n_groups - 1.0), "G / (G - 1)" if clustered else "n / (n - 1)"
    if isinstance(correction, str):
        if n <= df:
            raise ValueError(f"correction='df' needs more rows than free parameters, got {n:g} rows and {df}.")
        inflation *= (n - 1.0) / (n - df)
        words = f"{words} (n - 1) / (n - df)" if clustered else "n / (n - df)"
    return inflation, tuple([*remarks, *([f"times {words}"] if words else [])])


def _nothing_known(model, certificate, chart):
    """Say why there is no covariance at all, or nothing."""
    if not (certificate.valid or certificate.flat):
        return f"not a certified maximum: {certificate.status}"
    for penalty in model.active_penalties:
        if penalty.moves_estimates:
            return f"the {penalty.words} moves the estimates away from the maximum of the likelihood"
    if chart.n_free > LARGEST:
        return f"{chart.n_free} free parameters: the information of more than {LARGEST} is not inverted"
    return ""


def _change(model, scaling, chart, params):
    """Derivative of the user's parameters by the free coordinates of the chart, (n_entries, n_free)."""

    def moved(flat):
        return flatten(scaling.to_units(model, unflatten(flat, params)))

    origin = moved(np.zeros(len(chart.free)))
    units = [moved(chart.spread(one)) - origin for one in np.eye(chart.n_free)]  # units change by an affine map
    return np.reshape(units, (chart.n_free, len(origin))).T * chart.slope(params)


def _inverse_root(information, basis):
    """Return a factor of the inverse information within the span of a basis, and the directions without information."""
    values, vectors = np.linalg.eigh(basis.T @ information @ basis)
    sound = values > SINGULAR * max(values[-1], 0.0)
    return basis @ (vectors[:, sound] / np.sqrt(values[sound])), basis @ vectors[:, ~sound]


def _sandwich(root, products):
    """Return a factor of root root' products root root'."""
    values, vectors = np.linalg.eigh(root.T @ products @ root)
    return root @ (vectors * np.sqrt(np.maximum(values, 0.0)))


def _with_reason(found, note, model, scaling, singular):
    """Add in words why standard errors are missing."""
    notes = [note] if note else []
    dropped = {"gate": ~scaling.gate.kept, "expert": ~scaling.expert.kept}
    aliased = [e.name for e in found.entries if e.feature is not None and dropped[e.part][e.feature]]
    if aliased:
        notes.append(f"constant columns or linear combinations of others: {', '.join(aliased)}")
    if singular.shape[1]:
        touched = np.linalg.norm(found.change @ singular, axis=1) > _LOST * np.linalg.norm(found.change, axis=1)
        involved = ", ".join(np.array(found.names)[touched])
        notes.append(f"the data do not determine {singular.shape[1]} direction(s) which involve {involved}")
    return replace(found, reason="; ".join(notes))
