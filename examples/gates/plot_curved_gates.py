"""
Gates with curved borders
=========================

One expert has an island in the middle. A softmax gate has straight borders and cannot say so; a Gaussian gate can, a
Laplace gate nearly, and sigmoids do what they can.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from smoe import MoERegressor

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (800, 2))
inside = rng.random(800) < 1 / (1 + np.exp(5 * ((X - 0.3) ** 2).sum(axis=1) - 5))
y = np.where(inside, 3 + X[:, 0], -X[:, 1]) + 0.3 * rng.normal(size=800)

# %%
# The same experts behind four gates. Those that cannot describe the island may end at a limit, and say so.
models = {}
for name in ("softmax", "gaussian", "sigmoid", "laplace"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        models[name] = MoERegressor(2, gate=name, random_state=0).fit(X, y)
    print(f"{name:9s} {models[name].loglik_:9.2f}, BIC {models[name].bic(X, y):8.1f}: {models[name].status_}")

# %%
# Probability of the expert of the island.
side = np.linspace(-2, 2, 100)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained", sharey=True)
for axis, (name, model) in zip(axes, models.items(), strict=True):
    proba = model.gate_proba(grid)[:, -1].reshape(100, 100)
    drawn = axis.imshow(proba, extent=(-2, 2, -2, 2), origin="lower", cmap="cividis", vmin=0, vmax=1)
    axis.scatter(*X[inside].T, s=3, c="white")
    axis.set(title=name, xlabel="$x_0$", xticks=(-2, 0, 2), yticks=(-2, 0, 2))
axes[0].set_ylabel("$x_1$")
figure.colorbar(drawn, ax=axes, label="gate probability")
plt.show()
