"""
The regions of a gate in two dimensions
=======================================

A softmax gate cuts the space of the covariates into convex regions with soft, straight borders. Three experts, two
covariates, two thousand rows: the gate is recovered without ever seeing which row came from which expert.
"""

import matplotlib.pyplot as plt
import numpy as np

from smoe import SoftmaxMoERegressor
from smoe.datasets import make_moe
from smoe.experts import GaussianExpertParams
from smoe.gates import LinearGateParams
from smoe.params import MoEParams

gate = LinearGateParams(np.array([[-6.0, 3.0], [5.0, 5.0], [0.0, 0.0]]), np.array([-1.0, -2.0, 0.0]))
experts = GaussianExpertParams(np.array([[2.0, 0], [0, -2.0], [1, 1]]), np.array([-3.0, 0.0, 3.0]), np.full(3, 0.25))
moe = make_moe(2000, params=MoEParams(gate, experts), random_state=0)

# %%
# The fit. Its log-likelihood is above that of the truth, as a maximum's must be.
model = SoftmaxMoERegressor(3, random_state=0).fit(moe.data, moe.target)
print(f"log-likelihood {model.loglik_:.2f}, of the truth {moe.loglik:.2f}; {model.status_}")
order = np.argsort(model.expert_intercept_)  # experts are numbered by their mean response
print(np.column_stack([model.gate_coef_[order], model.gate_intercept_[order]]).round(2))

# %%
# Colours mix as the gate does; lines are where the two likeliest experts are equally likely.
colours = np.array([[0.0, 0.45, 0.70], [0.90, 0.62, 0.0], [0.0, 0.62, 0.45]])
side = np.linspace(-1, 1, 300)
grid = np.stack(np.meshgrid(side, side), axis=-1)


def softmax(scores):
    """Probabilities from scores, experts last."""
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


true = softmax(grid @ gate.coef.T + gate.intercept)
fitted = model.gate_proba(grid.reshape(-1, 2))[:, order].reshape(300, 300, 3)
label = moe.label[:500]
figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), sharex=True, sharey=True, layout="compressed")
for axis, proba, title in zip(axes, (true, fitted), ("the true gate", "the fitted gate"), strict=False):
    axis.imshow(proba @ colours, extent=(-1, 1, -1, 1), origin="lower", alpha=0.85)
    for k in range(3):
        axis.contour(side, side, proba.argmax(axis=-1) == k, levels=[0.5], colors="w", linewidths=1)
    axis.set(title=title, xlabel="$x_0$", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
axes[2].scatter(*moe.data[:500].T, c=colours[label], s=12)
axes[2].set(title="where 500 rows came from", xlabel="$x_0$", aspect="equal")
axes[0].set_ylabel("$x_1$")
plt.show()
