"""Gates: the mixing weights of a mixture of experts. A new gate is one file and one line here."""

from smoe.gates.activation_dense_to_sparse import ActivationDenseToSparseGate, TemperatureGateParams
from smoe.gates.activations import ACTIVATIONS, Activation
from smoe.gates.adjacent import AdjacentGate, AdjacentGateParams
from smoe.gates.base import Gate, LinearGate, LinearGateParams
from smoe.gates.conditional_poisson import ConditionalPoissonTopKGate
from smoe.gates.dense_to_sparse import DenseToSparseGate
from smoe.gates.gaussian import GaussianGate, GaussianGateParams, SphericalGateParams
from smoe.gates.laplace import LaplaceGate, LaplaceGateParams
from smoe.gates.masked import MaskedGateParams, MaskedSoftmaxGate
from smoe.gates.ordered import OrderedGate, OrderedGateParams
from smoe.gates.plackett_luce import PlackettLuceTopKGate
from smoe.gates.predictors import PredictorGate
from smoe.gates.sigmoid import NormalisedSigmoidGate
from smoe.gates.softmax import SoftmaxGate
from smoe.gates.top_k import RelaxedTopKGate, TopKGate
from smoe.gates.top_p import TopPGate
from smoe.gates.tree import TreeGate, TreeGateParams

GATES = {
    "softmax": SoftmaxGate,
    "top_k": TopKGate,
    "dense_to_sparse": DenseToSparseGate,
    "activation_dense_to_sparse": ActivationDenseToSparseGate,
    "tree": TreeGate,
    "gaussian": GaussianGate,
    "sigmoid": NormalisedSigmoidGate,
    "laplace": LaplaceGate,
    "ordered": OrderedGate,
    "adjacent": AdjacentGate,
    "conditional_poisson": ConditionalPoissonTopKGate,
    "plackett_luce": PlackettLuceTopKGate,
    "top_p": TopPGate,
}

__all__ = [
    "ACTIVATIONS",
    "GATES",
    "Activation",
    "ActivationDenseToSparseGate",
    "AdjacentGate",
    "AdjacentGateParams",
    "ConditionalPoissonTopKGate",
    "DenseToSparseGate",
    "Gate",
    "GaussianGate",
    "GaussianGateParams",
    "LaplaceGate",
    "LaplaceGateParams",
    "LinearGate",
    "LinearGateParams",
    "MaskedGateParams",
    "MaskedSoftmaxGate",
    "NormalisedSigmoidGate",
    "OrderedGate",
    "OrderedGateParams",
    "PlackettLuceTopKGate",
    "PredictorGate",
    "RelaxedTopKGate",
    "SoftmaxGate",
    "SphericalGateParams",
    "TemperatureGateParams",
    "TopKGate",
    "TopPGate",
    "TreeGate",
    "TreeGateParams",
]
