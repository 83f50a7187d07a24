"""
A partition with one regression per region
==========================================

With one selected expert per row a top-K gate is a partition of the covariates into polygons, each with a regression of
its own: a piecewise linear surface with jumps. The likelihood jumps too, wherever a border passes a row, and
derivatives do not see where to go: `smoe.solvers.SupportSearch` searches over the jumps.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

from smoe import TopKMoERegressor
from smoe.datasets import make_moe
from smoe.experts import GaussianExpertParams
from smoe.gates import LinearGateParams, TopKGate
from smoe.params import MoEParams

angle = 2 * np.pi * np.array([0.05, 0.33, 0.6, 0.85])
gate = LinearGateParams(3 * np.column_stack([np.cos(angle), np.sin(angle)]), np.array([0.0, 0.6, 0.0, -0.3]))
slopes = np.array([[2.0, 1.0], [-2.0, 0.0], [0.0, 2.0], [1.0, -2.0]])
experts = GaussianExpertParams(slopes, np.array([-3.0, -1.0, 1.0, 3.0]), np.full(4, 0.16))
moe = make_moe(1500, params=MoEParams(gate, experts), gate=TopKGate(1), random_state=0)

# %%
# Four experts, one selected.
model = TopKMoERegressor(4, top_k=1, random_state=0).fit(moe.data, moe.target)
print(f"log-likelihood {model.loglik_:.2f}, of the truth {moe.loglik:.2f}")
print(model.status_)
wrong = np.mean(model.predict_expert(moe.data) != moe.label)
print(f"rows routed to another expert than the one they came from: {wrong:.1%}")
print("shares of the experts:", model.expert_load(moe.data).selected.round(3))

# %%
# Regions: fitted in colour, true borders dashed. Right: the fitted surface.
side = np.linspace(-1, 1, 400)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
fitted = model.predict_expert(grid).reshape(400, 400)
true = (grid @ gate.coef.T + gate.intercept).argmax(axis=1).reshape(400, 400)
colours = ListedColormap(["#0072b2", "#e69f00", "#009e73", "#cc79a7"])
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
left.imshow(fitted, extent=(-1, 1, -1, 1), origin="lower", cmap=colours, alpha=0.55, interpolation="nearest")
left.scatter(*moe.data.T, c=moe.label, cmap=colours, s=5)
for k in range(4):
    left.contour(side, side, true == k, levels=[0.5], colors="k", linestyles="--", linewidths=1.2)
left.plot([], [], "k--", label="true borders")
left.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, borderaxespad=0.2)
left.set(xlabel="$x_0$", ylabel="$x_1$", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
surface = right.imshow(
    model.predict(grid).reshape(400, 400),
    extent=(-1, 1, -1, 1),
    origin="lower",
    cmap="cividis",
    interpolation="nearest",
)
right.set(xlabel="$x_0$", ylabel="$x_1$", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
figure.colorbar(surface, ax=right, label="mean of y given x")
plt.show()
