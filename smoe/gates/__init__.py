"""Gates: the mixing weights of a mixture of experts. A new gate is one file and one line here."""

from smoe.gates.base import Gate, LinearGateParams
from smoe.gates.softmax import SoftmaxGate

GATES = {"softmax": SoftmaxGate}

__all__ = ["GATES", "Gate", "LinearGateParams", "SoftmaxGate"]
