"""Small real data sets with origin and licence, and generators of data."""

from ._make import make_moe
from ._real import load_biochemists, load_engel, load_ethanol, load_faithful, load_health, load_insurance, load_mcycle

__all__ = [
    "load_biochemists",
    "load_engel",
    "load_ethanol",
    "load_faithful",
    "load_health",
    "load_insurance",
    "load_mcycle",
    "make_moe",
]
