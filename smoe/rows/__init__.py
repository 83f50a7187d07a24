"""Rows: where they are, how they are visited, and the coordinates in which fits see them."""

from smoe.rows.blocks import Block, Blocks, OneBlock
from smoe.rows.missing import drop_missing
from smoe.rows.scaling import Scaling, View, standardise
from smoe.rows.source import ArraySource, Raw, Source

__all__ = [
    "ArraySource",
    "Block",
    "Blocks",
    "OneBlock",
    "Raw",
    "Scaling",
    "Source",
    "View",
    "drop_missing",
    "standardise",
]
