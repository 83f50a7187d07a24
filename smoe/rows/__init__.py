"""Rows: where they are, how they are visited, and the coordinates in which fits see them."""

from smoe.rows.blocks import Block, Blocks, OneBlock
from smoe.rows.counted import Counted
from smoe.rows.dask import DaskRows
from smoe.rows.grouped import Grouped, by_group
from smoe.rows.labelled import Labelled
from smoe.rows.missing import drop_missing
from smoe.rows.parquet import ParquetRows
from smoe.rows.scaling import Scaling, View, standardise
from smoe.rows.source import ArraySource, Raw, Source
from smoe.rows.survey import Survey, survey

__all__ = [
    "ArraySource",
    "Block",
    "Blocks",
    "Counted",
    "DaskRows",
    "Grouped",
    "Labelled",
    "OneBlock",
    "ParquetRows",
    "Raw",
    "Scaling",
    "Source",
    "Survey",
    "View",
    "by_group",
    "drop_missing",
    "standardise",
    "survey",
]
