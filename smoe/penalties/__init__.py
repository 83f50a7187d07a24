"""Penalties: what fits take off the log-likelihood. A new one is one file and one line here."""

from smoe.penalties.base import Penalty
from smoe.penalties.elastic_net import ElasticNet
from smoe.penalties.keep_zeros import KeepZeros
from smoe.penalties.pull import Pull
from smoe.penalties.ridge import Ridge
from smoe.penalties.uneven_use import UnevenUse
from smoe.penalties.variance_prior import VariancePrior

PENALTIES = {
    "elastic_net": ElasticNet,
    "keep_zeros": KeepZeros,
    "pull": Pull,
    "ridge": Ridge,
    "uneven_use": UnevenUse,
    "variance_prior": VariancePrior,
}

__all__ = ["PENALTIES", "ElasticNet", "KeepZeros", "Penalty", "Pull", "Ridge", "UnevenUse", "VariancePrior"]
