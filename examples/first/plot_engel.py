"""
Food expenditure of Belgian households
======================================

Engel's 1857 data: what households earn and what they spend on food, in Belgian francs. Two experts find what one
regression line hides: most households follow one tight line, some spend by another.
"""

import matplotlib.pyplot as plt

from smoe import SoftmaxMoERegressor
from smoe.datasets import load_engel
from smoe.plots import plot_fit

engel = load_engel()
X, y = engel.data / 1000, engel.target / 1000  # thousands of francs

# %%
# Fit two experts. The fit is the certified maximum of the likelihood.
model = SoftmaxMoERegressor(n_experts=2, random_state=0).fit(X, y)
print(model.summary(["income"]))

# %%
# The picture: data, experts, mean, prediction band, and below the gate that mixes the experts.
figure = plot_fit(model, X, y)
figure.axes[0].set(ylabel="food expenditure (1,000 francs)")
figure.axes[1].set_xlabel("household income (1,000 francs)")
plt.show()
