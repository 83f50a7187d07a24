"""Small real data sets with origin and licence, and generators of data."""

from ._make import make_moe
from ._real import load_engel, load_ethanol, load_faithful, load_mcycle

__all__ = ["load_engel", "load_ethanol", "load_faithful", "load_mcycle", "make_moe"]
