"""One step of EM, of any length: where it leads is for its callers to judge."""

from smoe._kernels.gate_steps import damped_step
from smoe.params import MoEParams, chart_of, flatten
from smoe.solvers.proximal import proximal_step

__all__ = ["em_step", "newton_gate_step"]


def newton_gate_step(chart, stats, params):
    """Return one Newton step (Fisher scoring) on the expected log-likelihood, in the gate's chart."""
    gradient = chart.gradient(stats.gate_score, params)
    if not gradient.size:
        return gradient
    return damped_step(gradient, chart.information(stats.gate_information, params))


def em_step(model, params, stats, total):
    """Return the function of t that gives the parameters after the share t of a step of EM.

    The gate takes Newton's step. So do experts without an exact M-step, and all under a penalty or constraints; experts
    with one are given it whole, as it climbs by itself.

    Parameters
    ----------
    model : MixtureOfExperts
    params : MoEParams
    stats : Statistics
        Of a pass at these parameters.
    total : float
        Sum of the weights.
    """
    if model.kinked is not None:
        return proximal_step(model, params, stats, total)
    if not model.plain:
        return _joint_step(model, params, stats, total)
    chart = chart_of(model.gate, params.gate)
    gate = _along(chart, params.gate, newton_gate_step(chart, stats, params.gate))
    end = model.expert.m_step(stats.expert, params.expert)
    if model.expert.exact_m_step:
        return lambda t: MoEParams(gate(t), end)
    return lambda t: MoEParams(gate(t), _towards(model.expert, params.expert, end, t))


def _towards(owner, params, end, t):
    if t == 1.0:  # nearly always, and no chart is needed
        return end
    chart = chart_of(owner, params)
    return _along(chart, params, chart.pack(end) - chart.pack(params))(t)


def _along(chart, params, step):
    here = chart.pack(params)
    return lambda t: chart.unpack(here + t * step)


def _joint_step(model, params, stats, total):
    """Newton's step on the expected log-likelihood less penalties, gate and experts apart."""
    score = model.score(params, stats, total)
    n_gate = flatten(params.gate).size
    bends = model.penalty_curvature(params, stats, total)
    own = stats.gate_information, model.expert.m_information(stats.expert, params.expert)
    spans = slice(None, n_gate), slice(n_gate, None)
    charts, parts = (model.gate_chart(params.gate), model.expert_chart(params.expert)), []
    for part, chart, slope, information, span in zip(params, charts, score, own, spans, strict=True):
        hessian = chart.hessian(information + bends[span, span], slope, part)
        parts.append(_along(chart, part, damped_step(chart.gradient(slope, part), hessian)))
    return lambda t: MoEParams(*(part(t) for part in parts))
