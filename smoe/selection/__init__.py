"""How many experts: criteria along a growing path, the dendrogram of one over-fitted mixture, merging and dropping."""

from smoe.selection.criteria import SlopeHeuristic, slope_heuristic
from smoe.selection.likelihood_ratio import NExpertsTest, n_experts_test
from smoe.selection.merging import Reduced, drop_expert, merge_experts
from smoe.selection.meta import MoEClassifierSelect, MoERegressorSelect
from smoe.selection.select import Selection, select_n_experts
from smoe.selection.tree import Dendrogram, dendrogram

__all__ = [
    "Dendrogram",
    "MoEClassifierSelect",
    "MoERegressorSelect",
    "NExpertsTest",
    "Reduced",
    "Selection",
    "SlopeHeuristic",
    "dendrogram",
    "drop_expert",
    "merge_experts",
    "n_experts_test",
    "select_n_experts",
    "slope_heuristic",
]
