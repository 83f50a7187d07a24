"""How many experts and which features: criteria along paths of fits, dendrograms, merging and dropping."""

from smoe.selection.criteria import SlopeHeuristic, slope_heuristic
from smoe.selection.likelihood_ratio import NExpertsTest, n_experts_test
from smoe.selection.merging import Reduced, drop_expert, merge_experts
from smoe.selection.meta import MoEClassifierPath, MoEClassifierSelect, MoERegressorPath, MoERegressorSelect
from smoe.selection.penalty_path import ElasticNetPath, elastic_net_path
from smoe.selection.select import Selection, select_n_experts
from smoe.selection.tree import Dendrogram, dendrogram

__all__ = [
    "Dendrogram",
    "ElasticNetPath",
    "MoEClassifierPath",
    "MoEClassifierSelect",
    "MoERegressorPath",
    "MoERegressorSelect",
    "NExpertsTest",
    "Reduced",
    "Selection",
    "SlopeHeuristic",
    "dendrogram",
    "drop_expert",
    "elastic_net_path",
    "merge_experts",
    "n_experts_test",
    "select_n_experts",
    "slope_heuristic",
]
