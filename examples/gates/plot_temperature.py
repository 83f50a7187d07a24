"""
What a temperature does to a gate
=================================

The same linear scores over falling temperatures: from a gate that mixes everywhere (dense) to one that decides
(sparse).
"""

import matplotlib.pyplot as plt
import numpy as np

from smoe.features import design
from smoe.gates import DenseToSparseGate, TemperatureGateParams

x = np.linspace(-2, 2, 400)
gate = DenseToSparseGate()
coef, intercept = np.array([[-2.0], [2.0], [0.0]]), np.array([-1.0, -1.0, 0.0])

# %%
# Softmax of scores over temperature, for four temperatures.
figure, axes = plt.subplots(1, 4, figsize=(11, 3), sharey=True, layout="constrained")
for axis, tau in zip(axes, (8.0, 2.0, 0.5, 0.05), strict=True):
    scores = gate.scores(design(x[None]), TemperatureGateParams(coef, intercept, np.array(tau)))
    proba = np.exp(scores - scores.max(axis=0))
    proba /= proba.sum(axis=0)
    for k, (colour, line) in enumerate(zip(("#0072b2", "#e69f00", "#009e73"), ("-", "--", "-."), strict=True)):
        axis.plot(x, proba[k], color=colour, ls=line, lw=2, label=f"expert {k}")
    axis.set(title=rf"temperature $\tau$ = {tau:g}", xlabel="x", ylim=(-0.03, 1.03))
axes[0].set_ylabel("gate probability")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
plt.show()
