"""
A tree of gates
===============

Three regimes, of which two are alike: the first question is whether a row belongs to these two, the second which of
them it is. A hierarchical mixture asks in this order, and says so.
"""

import numpy as np

from smoe import MoERegressor
from smoe.datasets import make_moe
from smoe.experts import GaussianExpertParams
from smoe.gates import TreeGate, TreeGateParams
from smoe.params import MoEParams
from smoe.plots import plot_fit, plot_tree

gate = TreeGateParams(np.array([[3.0], [-8.0], [0.0]]), np.array([0.5, 2.0, 0.0]), np.arange(3.0))
experts = GaussianExpertParams(np.array([[2.0], [2.0], [-3.0]]), np.array([-3.0, -1.0, 4.0]), np.array([0.1, 0.1, 0.3]))
moe = make_moe(1000, params=MoEParams(gate, experts), gate=TreeGate(), random_state=0)

# %%
# Which expert sits on which leaf is part of the model; it is found.
model = MoERegressor(3, gate="tree", random_state=0).fit(moe.data, moe.target)
print(f"log-likelihood {model.loglik_:.2f}, of the truth {moe.loglik:.2f}; {model.status_}")
print(model.gate_.text(model.params_.gate, ["x"]))

# %%
# Branches are as wide as the share of rows that goes down them.
plot_tree(model, moe.data, names=["x"])

# %%
# The fit.
plot_fit(model, moe.data, moe.target)
