"""Whether a fit is a maximum, and if not, why not, in words."""

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse.csgraph import connected_components

from smoe.chance import Load, is_exact, prices
from smoe.closing import closing, shares
from smoe.params import flatten
from smoe.solvers.separation import Limit, diverging, newton_step, separating_experts, undecided_groups
from smoe.solvers.working_set import is_wide, where_used
from smoe.validation import remark_on_response

__all__ = ["SEPARATES", "Certificate", "Checked", "certify", "usage"]

_PSD = 1e-9  # per row and in natural units: a curvature below minus this is a saddle
SINGULAR = 1e-11  # share of the largest curvature that is rounding
_VANISHING = 1e-6  # a score norm per row at which a gate that still grows has saturated
_LONG_STEP = 1e-2  # relative to the gate's size
_UNMOVED = 1e-3  # logits: a shorter step moves no row
_TINY = 1e-6  # a step along which everything is linear
_HESITANT = 0.01  # of the rows: a gate that is undecided on fewer may lose nothing by being steeper
_STEEPER = (1e3, 1e6)
LARGEST = 1000  # with more free parameters than this the curvature is not looked at

SEPARATES = "gate separates the data: its coefficients diverge while the log-likelihood converges"
_SEPARATES_RESPONSES = {  # by their kind
    "classes": " separates the classes: its coefficients diverge while the log-likelihood converges",
    "integers": " is sure of some counts (zero, or all trials): its coefficients diverge while the log-likelihood "
    "converges",
}
_SINGULAR = "singular information: probably more experts than the data support"


class Checked(NamedTuple):
    """An expert on so few rows that they may have been chosen: distinct rows, of how many, and what speaks for it.

    Where rows are grouped, groups are counted.

    ``loss`` is what the log-likelihood loses without the expert, the gate renormalised and nothing fitted again, and
    ``chance`` what few rows of one line gain by chance.
    """

    expert: int
    rows: float
    n_rows: int
    loss: float
    chance: float
    what: str = "row"

    @property
    def passed(self):
        """Whether the expert gains more than a chance line."""
        return self.loss >= self.chance

    def __str__(self):
        share = f"{self.rows:.1f} of {self.n_rows} {self.what}s, leaving it out costs {self.loss:.1f} in log-likelihood"
        gained = f"few {self.what}s of one line gain up to {self.chance:.1f} by chance"
        return f"{share}, {'and' if self.passed else 'so'} {gained}"


class Reason(NamedTuple):
    """Why a fit is not certified: words, and the experts concerned, if there are any, with words that follow them."""

    words: str
    experts: tuple = ()
    then: str = ""


class Certificate(NamedTuple):
    """The verdict on a fit: ``valid``, the reasons in words, and whether an expert collapsed or is empty.

    ``exact`` says that all rows lie on lines, none of few rows: what has collapsed, has not by chance.

    ``price`` is what the experts on few rows are charged (see ``smoe.chance``), in units of the log-likelihood, and
    ``checked`` what was found out about each of them.

    ``flat`` says that all that is wrong are directions that the data do not determine: singular information, or a gate
    that separates all rows or some, which ``separates`` says.
    """

    valid: bool
    status: str
    degenerate: bool
    flat: bool = False
    separates: bool = False
    price: float = 0.0
    checked: tuple = ()
    reasons: tuple = ()
    exact: bool = False

    @property
    def spurious(self):
        """Whether an expert collapsed or is empty, and not because all rows lie on lines."""
        return self.degenerate and not self.exact

    def permuted(self, order):
        """Return the same for experts in another order, as `smoe.params.permute` does."""
        name = np.argsort(order)
        checked = sorted(one._replace(expert=int(name[one.expert])) for one in self.checked)
        reasons = tuple(one._replace(experts=tuple(sorted(name[list(one.experts)]))) for one in self.reasons)
        return self._replace(status=_said(reasons) or self.status, checked=tuple(checked), reasons=reasons)

    def noted(self, words):
        """Return the same verdict with a remark."""
        reasons = (*(self.reasons or [Reason(self.status)]), Reason(words))
        return self._replace(status=_said(reasons), reasons=reasons)

    def named(self, separation):
        """Return the same with words for what separates that name columns and experts."""
        words = separation or SEPARATES
        reasons = tuple(one._replace(words=words) if one.words == SEPARATES else one for one in self.reasons)
        return self._replace(status=_said(reasons) or self.status, reasons=reasons)

    def lost(self, reported, found):
        """Return what is left of the verdict where parameters in the user's units do not hold what was found."""
        words = f"parameters in the units of X and y have the log-likelihood {reported:.6g}, the fit {found:.6g}"
        reasons = (*self.reasons, Reason(f"{words}: centre and scale X and y"))
        return self._replace(valid=False, flat=False, status=_said(reasons), reasons=reasons)


def certify(model: Any, blocks: Any, fit: Any, tol: float) -> Certificate:
    """Return the `Certificate` of a fit: score norm, curvature, collapse, emptiness and separation are looked at.

    The maximum is certified when the score norm per row is at most ``tol``, the observed information is positive
    definite up to rounding, no variance, scale or dispersion sits on its floor, no expert is empty, one on few rows
    gains more than a chance line, the gate does not separate the data, and no expert its classes or counts. Rows are
    distinct rows: repeated and weighted ones count once.

    Parameters
    ----------
    model : MixtureOfExperts
    blocks : Blocks
        The data.
    fit : Fit
        What a solver returned.
    tol : float
        Largest score norm per row.
    """
    found = (fit.closing or closing(model, blocks, fit.params)).shares
    load, overlap = Load(found.rows, found.weight), found.overlap
    price = prices(model, blocks, fit.params, load)
    reasons, checked, doubtful = _degeneracies(model, blocks, fit.params, load), (), ()
    degenerate = bool(reasons)
    reasons += _eventless(found, blocks.what)
    if not fit.converged:
        diagnosis = model.gate.diagnosis(fit.params.gate)
        reasons += [Reason(fit.status)] + ([Reason(diagnosis)] if diagnosis else [])
    chart = model.chart(fit.params)
    n_rows = round(blocks.n_distinct * blocks.rows_per_group)
    few = n_rows < chart.n_free
    if few:
        reasons.append(Reason(f"fewer rows ({n_rows}) than free parameters ({chart.n_free})"))
    if not degenerate and not few:
        checked = _checked(model, blocks, fit, load, price)
        doubtful = [one for one in checked if not one.passed]
        reasons += [Reason("expert ", (one.expert,), f" may be a chance line: {one}") for one in doubtful]
    stationary, shape, groups = fit.score_norm <= max(tol, _VANISHING), [], None
    if not degenerate and model.gate.smooth:
        if stationary and not model.active_penalties:
            groups = undecided_groups(overlap)
        if groups is not None:
            shape = [SEPARATES]
        elif chart.n_free <= LARGEST:
            shape = _curvature_reasons(*_of_use(model, blocks, fit), stationary=stationary)
    elif not degenerate and not model.active_penalties and _runs_off(model, blocks, fit.params, overlap):
        shape = [SEPARATES]
    separates = model.gate.smooth and shape == [SEPARATES]
    flat = stationary and not few and not doubtful and (separates or shape == [_SINGULAR])
    shape = [Reason(words) if isinstance(words, str) else words for words in shape]
    reasons = (*reasons, *(one for one in shape if one not in reasons))
    unseen = f" (curvature not looked at: {chart.n_free} parameters)" if chart.n_free > LARGEST else ""
    status, total = _said(reasons) or fit.status + unseen, float(price.excess.sum())
    exact = is_exact(model, fit.params, load, total)
    return Certificate(not reasons, status, degenerate, flat, separates, total, checked, reasons, exact)


def _runs_off(model, blocks, params, overlap):
    """Whether a gate that selects experts may be as steep as one likes between some that rows select together.

    Then the log-likelihood rises for ever, by ever less. It is looked at far out on the ray, for groups of experts
    between which few rows are undecided: a gate that loses nothing by being a million times as steep has no maximum.
    """
    together, doubt = blocks.sum(_pairs, params, model, blocks)
    linked = overlap + doubt + doubt.T > _HESITANT * blocks.n_distinct
    groups = connected_components(linked)[1]
    here = blocks.sum(model.loglik, params)
    least = here - SINGULAR * abs(here)

    def rises(i, j):
        level = _level(model, blocks, params, groups, i, j)
        rays = (model.gate.steeper(params.gate, groups == groups[i], i, j, level, factor) for factor in _STEEPER)
        return np.isfinite(level) and all(blocks.sum(model.loglik, params._replace(gate=g)) >= least for g in rays)

    return any(rises(*pair) for pair in np.argwhere((together > 0) & (groups[:, None] < groups)))


def _level(model, blocks, params, groups, i, j):
    """Return midway where the difference of two scores parts the rows of their groups, NaN where it does not."""

    def visit(block, params):
        resp = model.posterior(block, params)[1]
        scores = model.gate.dense().scores(block.gate_Z, params.gate)
        one, other = (resp[groups == groups[k]].sum(axis=0) for k in (i, j))
        gap, theirs = scores[i] - scores[j], one + other > 0.5
        first = one > other
        return np.array([np.where(theirs & first, gap, np.inf), np.where(theirs & ~first, gap, -np.inf)])

    high, low = blocks.map_rows(visit, params)
    high, low = high.min(), low.max()
    return 0.5 * (high + low) if high > low and np.isfinite([high, low]).all() else np.nan


def _pairs(block, params, model, blocks):
    """On how many rows pairs of experts are selected together, and probability of one where the other has the row."""
    proba, resp, _ = model.posterior(block, params)
    unit = blocks.unit_of(block)
    chosen = np.isfinite(model.gate.scores(block.gate_Z, params.gate)).astype(float)
    return np.array([(chosen * unit) @ chosen.T, (proba * unit) @ resp.T])


def _said(reasons):
    return "; ".join(words + _listed(experts) + then for words, experts, then in reasons)


def _degeneracies(model, blocks, params, load):
    """Say which experts have collapsed, and onto which response if it is one, and which are empty."""
    reasons = []
    collapsed = np.flatnonzero(model.expert.at_bound(params.expert))
    empty = np.flatnonzero(load.rows < 1.0)
    if len(collapsed):
        of_y = _remark(blocks, params) if model.expert.support.kind == "real" else ""
        remark = of_y or model.expert.remark_on_floor(params.expert)
        then = f"): {remark}" if remark else ")"
        reasons.append(Reason(f"{' or '.join(model.expert.floors)} at its floor (expert ", tuple(collapsed), then))
    if len(empty):
        then = f" is responsible for less than one {blocks.what})"
        reasons.append(Reason("empty expert (expert ", tuple(empty), then))
    return reasons


def _eventless(found, what):
    """Say which experts have rows that are censored and no event: nothing bounds their times."""
    without = np.flatnonzero((found.seen < 1.0) & (found.rows >= 1.0))
    then = (
        f" is responsible for less than one event): nearly all its {what}s are censored, and nothing bounds its times"
    )
    return [Reason("no event (expert ", tuple(without), then)] if len(without) else []


def _remark(blocks, params):
    def visit(block, _):
        y = block.raw.y[block.raw.rows]
        return np.array([y, np.ones(len(y)) if block.event is None else block.event])

    y, seen = blocks.map_rows(visit, params)
    return remark_on_response(y[seen > 0])


def _checked(model, blocks, fit, load, price):
    """Return a `Checked` of every expert that is charged more than BIC charges."""
    out, before = [], fit.loglik
    for k in np.flatnonzero(price.excess > 0):
        loss = before - blocks.sum(model.loglik_without, fit.params, int(k))
        chance = float(price.chance[k])
        out.append(Checked(int(k), float(load.rows[k]), blocks.n_distinct, float(loss), chance, blocks.what))
    return tuple(out)


def _listed(experts):
    return ", ".join(map(str, experts))


def _of_use(model, blocks, fit):
    """Return model, rows and fit in the columns in use, if few are: what is held at zero has no curvature."""
    if not is_wide(model, blocks.scaling):
        return model, blocks, fit
    model, blocks, params = where_used(model, blocks, fit.params)
    return model, blocks, fit._replace(params=params, curvature=None)


def _curvature_reasons(model, blocks, fit, stationary):
    params, total, chart = fit.params, blocks.total_weight, model.chart(fit.params)
    curvature = blocks.sum(model.curvature, params) if fit.curvature is None else fit.curvature
    if not chart.n_free:
        return []
    score = model.score(params, curvature, total)
    gradient = chart.gradient(score, params) / total
    hessian = chart.hessian(model.information(params, curvature, total), score, params) / total
    if not np.isfinite(hessian).all():
        return ["the observed information is not finite: rescale the data"]
    values, vectors = np.linalg.eigh(hessian)
    if values[0] < -_PSD:
        return [f"saddle point: the observed information has the eigenvalue {values[0]:.1e} per row"]
    singular, step = values[0] <= SINGULAR * values[-1], newton_step(hessian, gradient)
    grows = stationary and _gate_grows(params, chart, step) and _scores_grow(model, blocks, params, chart, step)
    if grows or (stationary and _some_diverge(model, blocks, params, chart, step, singular)):
        return [model.gate.diagnosis(params.gate) or SEPARATES]
    if stationary and (experts := separating_experts(model, blocks, chart, params, step)):
        return [Reason("expert ", experts, _SEPARATES_RESPONSES[model.expert.support.kind])]
    limit = model.gate.diagnosis(params.gate) if model.gate.names_limits else ""
    return [limit] if limit else [_SINGULAR] if singular else []


def _gate_grows(params, chart, step):
    """Whether the Newton step is long although the score has vanished, and all in the gate: it separates some rows."""
    entries = chart.spread(step)
    n_gate = flatten(params.gate).size
    gate, expert = np.linalg.norm(entries[:n_gate]), np.linalg.norm(entries[n_gate:])
    return gate > max(_LONG_STEP * np.linalg.norm(flatten(params.gate)), 10.0 * expert)


def _scores_grow(model, blocks, params, chart, step):
    """Whether some row's scores grow along the step. Along the ray of slopes and temperature none does."""
    length = np.linalg.norm(step)
    moved = chart.unpack(chart.pack(params) + step * (_TINY / length))

    def growth(block, gates):
        here, there = (model.gate.scores(block.gate_Z, gate) for gate in gates)
        return np.ptp(there - here, axis=0)

    return blocks.map(growth, (params.gate, moved.gate)).max() * (length / _TINY) > _UNMOVED


def _some_diverge(model, blocks, params, chart, step, singular):
    """Whether the gate separates some rows; they are looked at only if there is a sign of it."""
    longest = np.linalg.norm(step) * np.sqrt(len(blocks))  # no standardised column has a larger value
    if not singular and longest <= _UNMOVED:
        return False
    return diverging(model, blocks, chart, Limit.of(params, chart, step)).shape[1] > 0


def usage(model, blocks, params):
    """Return how the experts share any rows: the `Load` of each, and the groups that the gate separates, or None."""
    found = blocks.sum(shares, params, model, blocks)
    return Load(found.rows, found.weight), undecided_groups(found.overlap)
