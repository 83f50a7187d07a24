"""Gates: the mixing weights of a mixture of experts. A new gate is one file and one line here."""

from smoe.gates.base import Gate, LinearGateParams
from smoe.gates.softmax import SoftmaxGate
from smoe.gates.top_k import RelaxedTopKGate, TopKGate

GATES = {"softmax": SoftmaxGate, "top_k": TopKGate}

__all__ = ["GATES", "Gate", "LinearGateParams", "RelaxedTopKGate", "SoftmaxGate", "TopKGate"]
