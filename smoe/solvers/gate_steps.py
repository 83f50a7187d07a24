"""The gate's part of an M-step."""

from smoe._kernels.gate_steps import damped_step

__all__ = ["newton_gate_step"]


def newton_gate_step(chart, stats, params):
    """Return one Newton step (Fisher scoring) on the expected log-likelihood, in the gate's chart."""
    gradient = chart.gradient(stats.gate_score, params)
    if not gradient.size:
        return gradient
    return damped_step(gradient, chart.information(stats.gate_information, params))
