"""Families: densities of y given linear predictors, point by point. A new family is one file and one line here."""

from smoe.families.base import Family, LinearParams, ScaleParams, Support
from smoe.families.binomial import Binomial
from smoe.families.dispersed import Dispersed, DispersionParams
from smoe.families.gamma import Gamma
from smoe.families.inverse_gaussian import InverseGaussian
from smoe.families.location_scale import LocationScale
from smoe.families.log_logistic import LogLogistic
from smoe.families.multinomial import ClassFamily, Multinomial
from smoe.families.negative_binomial import AlphaParams, NegativeBinomial
from smoe.families.ordinal import GapParams, Ordinal
from smoe.families.poisson import Poisson
from smoe.families.student_t import StudentT, StudentTParams
from smoe.families.transformed_gaussian import TransformedGaussian
from smoe.families.weibull import Weibull
from smoe.families.zero_inflated import (
    ZeroInflated,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
    ZeroShareAlphaParams,
    ZeroShareParams,
)

FAMILIES = {
    "binomial": Binomial,
    "gamma": Gamma,
    "inverse_gaussian": InverseGaussian,
    "log_logistic": LogLogistic,
    "log_normal": TransformedGaussian,
    "multinomial": Multinomial,
    "negative_binomial": NegativeBinomial,
    "ordinal": Ordinal,
    "poisson": Poisson,
    "student_t": StudentT,
    "weibull": Weibull,
    "zero_inflated_negative_binomial": ZeroInflatedNegativeBinomial,
    "zero_inflated_poisson": ZeroInflatedPoisson,
}

__all__ = [
    "AlphaParams",
    "Binomial",
    "FAMILIES",
    "ClassFamily",
    "Dispersed",
    "DispersionParams",
    "Family",
    "Gamma",
    "GapParams",
    "InverseGaussian",
    "LinearParams",
    "LocationScale",
    "LogLogistic",
    "Multinomial",
    "NegativeBinomial",
    "Ordinal",
    "Poisson",
    "ScaleParams",
    "StudentT",
    "StudentTParams",
    "Support",
    "TransformedGaussian",
    "Weibull",
    "ZeroInflated",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
    "ZeroShareAlphaParams",
    "ZeroShareParams",
]
