"""Parameters: named tuples of arrays, of the shapes that a model gives them."""

from smoe.fields import check_part, n_features_of
from smoe.params import MoEParams, n_experts_of

__all__ = ["check_params"]


def check_params(model, params, argument="params"):
    """Return the parameters of a model as float arrays.

    Parameters
    ----------
    model : MixtureOfExperts
    params : MoEParams
        With the same features for the gate and for the experts.
    argument : str
        What to call them in messages.

    Raises
    ------
    ValueError, TypeError
        Parameters that do not belong to the model, or are not finite.
    """
    if not isinstance(params, MoEParams):
        raise TypeError(f"{argument} must be MoEParams(gate, expert), got {type(params).__name__}.")
    for side, part in params._asdict().items():
        if not hasattr(part, "_fields"):
            raise TypeError(f"{argument}.{side} must be a named tuple of arrays, got {type(part).__name__}.")
    k, fields = n_experts_of(params), model.fields
    d = n_features_of(params.expert, fields.expert) or n_features_of(params.gate, fields.gate)
    if k == 0:
        raise ValueError(f"{argument}.expert: there must be an expert, got parameters of none.")
    model.gate.check(k)
    model.expert.check()
    parts = zip(params, model.init_params(k, d, d), fields, params._fields, strict=True)
    return MoEParams(*(check_part(part, wanted, own, f"{argument}.{side}") for part, wanted, own, side in parts))
