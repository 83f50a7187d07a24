"""
Old Faithful: before and after seeing the response
==================================================

The geyser has short and long eruptions. The *gate* says, from the waiting time alone, which kind to expect; the
*responsibilities* say which kind it was, once the duration is known. Both are probabilities, of the same thing, given
less and given more.
"""

import matplotlib.pyplot as plt
import numpy as np

from smoe import SoftmaxMoERegressor
from smoe.datasets import load_faithful

faithful = load_faithful()
X, y = faithful.data, faithful.target
model = SoftmaxMoERegressor(n_experts=2, random_state=0).fit(X, y)
print(model.summary(["waiting"]))

# %%
# Experts are ordered by the mean response, so expert 1 is the long eruption. The gate is a logistic regression on a
# label that nobody has seen: its slope is the change of the log odds per minute of waiting.
gate, resp = model.gate_proba(X)[:, 1], model.responsibilities(X, y)[:, 1]
halfway = -model.gate_intercept_[0] / model.gate_coef_[0, 0]
print(f"even odds after {halfway:.1f} minutes of waiting")
print(f"undecided (between 5 and 95 %) before seeing the duration: {np.mean((gate > 0.05) & (gate < 0.95)):.0%}")
print(f"undecided after it:                                        {np.mean((resp > 0.05) & (resp < 0.95)):.0%}")

# %%
# One colour scale for both: the colour of a point is the probability of a long eruption.
grid = np.linspace(40, 100, 300)[:, None]
figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, sharex=True, layout="constrained")
for axis, colour, title in zip(
    axes, (gate, resp), ("gate: given the waiting time", "given the duration too"), strict=True
):
    points = axis.scatter(X[:, 0], y, c=colour, cmap="cividis", vmin=0, vmax=1, s=20, edgecolors="0.3", linewidths=0.3)
    for k, label in enumerate(("short", "long")):
        line = model.expert_predict(grid)[:, k]
        axis.plot(
            grid, np.where(model.gate_proba(grid)[:, k] > 0.02, line, np.nan), "k", ls=("--", "-")[k], label=label
        )
    axis.axvline(halfway, color="0.6", ls=":", lw=1.2, label="even odds")
    axis.set(xlabel="waiting time (minutes)", title=title)
axes[0].set_ylabel("duration of the eruption (minutes)")
axes[0].legend(loc="upper left", frameon=False)
figure.colorbar(points, ax=axes, label="probability of a long eruption")
plt.show()
