"""
Is the fit to be believed?
==========================

Quantile residuals are standard normal, and PIT values uniform, if the model is right; bands say what chance alone would
do. Engel's data on income and food: one regression line is wrong, two experts are not.
"""

import matplotlib.pyplot as plt

from smoe import SoftmaxMoERegressor
from smoe.datasets import load_engel
from smoe.plots import plot_pit, plot_residual_qq, plot_residuals

X, y = load_engel(return_X_y=True)

# %%
# One expert is a regression line; ``diagnose`` says in words what is wrong with it.
one = SoftmaxMoERegressor(n_experts=1, random_state=0).fit(X, y).diagnose(X, y)
print(one)

# %%
# Two experts, and nothing is left to find.
two = SoftmaxMoERegressor(n_experts=2, random_state=0).fit(X, y).diagnose(X, y)
print(f"\n{two}")

# %%
# Left one expert, right two. The line's residuals have heavy tails, their PIT values a hump, and they spread out as
# incomes grow; those of two experts stay within the bands.
figure, axes = plt.subplots(3, 2, figsize=(9, 10.5), layout="constrained", sharey="row")
for column, diagnosis, title in zip(axes.T, (one, two), ("one expert", "two experts"), strict=True):
    plot_residual_qq(diagnosis, ax=column[0])
    plot_pit(diagnosis, n_bins=10, ax=column[1])
    plot_residuals(diagnosis, X[:, 0], "household income (francs)", ax=column[2])
    column[2].set_xscale("log")
    column[2].set_xticks([500, 1000, 2000, 4000], ["500", "1,000", "2,000", "4,000"])
    column[2].minorticks_off()
    column[0].set_title(title, pad=22)

plt.show()
