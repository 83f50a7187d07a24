"""
Routing: hard, smooth, noisy, adaptive
======================================

One set of scores in two dimensions, and how much of each expert the routers make of them. Colours are mixed by the
gate's probabilities: where a router gives all to one expert, its colour is pure.
"""

import matplotlib.pyplot as plt
import numpy as np

from smoe.features import design
from smoe.gates import (
    ConditionalPoissonTopKGate,
    LinearGateParams,
    PlackettLuceTopKGate,
    SoftmaxGate,
    TopKGate,
    TopPGate,
)

# %%
# Four experts, whose scores point in four directions.
params = LinearGateParams(np.array([[2.0, 1.0], [-1.5, 1.5], [-1.0, -2.0], [0.0, 0.0]]), np.array([0.0, 0.3, 0.0, 0.8]))
gates = {
    "softmax": SoftmaxGate(),
    "conditional Poisson, K=2, M=1": ConditionalPoissonTopKGate(2, 1.0),
    "M=10": ConditionalPoissonTopKGate(2, 10.0),
    "top-2": TopKGate(2),
    "Plackett-Luce, K=2, $\\tau=1$": PlackettLuceTopKGate(2, 1.0),
    "$\\tau=0.1$": PlackettLuceTopKGate(2, 0.1),
    "top-p, p=0.8": TopPGate(0.8),
    "top-1": TopKGate(1),
}

# %%
# Softmax blurs the borders; a large sharpness, or little noise, gives back those of top-2. Top-p has one expert where
# the scores are clear, up to four where they are not.
side = np.linspace(-2, 2, 150)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
colours = np.array([[0.0, 0.45, 0.70], [0.90, 0.62, 0.0], [0.0, 0.62, 0.45], [0.80, 0.47, 0.65]])
figure, axes = plt.subplots(2, 4, figsize=(12, 6.4), layout="constrained", sharex=True, sharey=True)
for axis, (name, gate) in zip(axes.flat, gates.items(), strict=True):
    weights = np.exp(gate.scores(design(grid.T), params))
    weights /= weights.sum(axis=0)
    axis.imshow((weights.T @ colours).reshape(150, 150, 3), extent=(-2, 2, -2, 2), origin="lower")
    axis.set(title=name, xticks=(-2, 0, 2), yticks=(-2, 0, 2))
for axis in axes[-1]:
    axis.set_xlabel("$x_0$")
for axis in axes[:, 0]:
    axis.set_ylabel("$x_1$")
plt.show()

# %%
# Experts per row of top-p, by p.
for p in (0.5, 0.8, 0.95):
    n_selected = np.isfinite(TopPGate(p).scores(design(grid.T), params)).sum(axis=0)
    print(f"p = {p}: {np.bincount(n_selected, minlength=5)[1:] / len(grid)} of the square with 1, 2, 3, 4 experts")
