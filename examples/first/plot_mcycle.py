"""
Heteroscedastic data: more experts
==================================

The head of a crash-test dummy: quiet before the impact, violent after it. One expert has one variance everywhere; with
each further expert, location *and* spread follow the data, because every expert brings a variance of its own.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from smoe import SoftmaxMoERegressor
from smoe.datasets import load_mcycle

X, y = load_mcycle(return_X_y=True)
fits = {}
for k in (1, 2, 3, 4, 5):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # status_ is printed below
        fits[k] = SoftmaxMoERegressor(k, random_state=0).fit(X, y)

# %%
# The criterion falls up to four experts. With three and four the gate has nothing to hesitate about between the quiet
# part and the rest, and says so.
for k, model in fits.items():
    print(f"{k} experts: log-likelihood {model.loglik_:9.3f}, BIC {model.bic(X, y):8.2f}, {model.status_}")

# %%
# Bands that should hold 90 % of the rows, before 13 ms and after: one expert's is far too wide before the impact.
before = X[:, 0] < 13
for k, model in fits.items():
    low, high = model.predict_interval(X, 0.9).T
    inside = (low <= y) & (y <= high)
    width = np.median((high - low)[before])
    print(
        f"{k} experts: {inside[before].mean():.0%} and {inside[~before].mean():.0%} inside, width before {width:5.1f} g"
    )

# %%
# Mean and band for one, two and four experts.
grid = np.linspace(X.min(), X.max(), 600)[:, None]
figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), sharey=True, layout="constrained")
for axis, k in zip(axes, (1, 2, 4), strict=True):
    low, high = fits[k].predict_interval(grid, 0.9).T
    axis.fill_between(grid[:, 0], low, high, color="#56b4e9", alpha=0.35, lw=0, label="90 % prediction band")
    axis.scatter(X[:, 0], y, s=10, color="0.3", label="data")
    axis.plot(grid, fits[k].predict(grid), color="#d55e00", lw=2, label="mean")
    axis.set(title=f"{k} expert{'s' * (k > 1)}, BIC {fits[k].bic(X, y):.0f}", xlabel="time after impact (ms)")
axes[0].set_ylabel("acceleration of the head (g)")
axes[0].legend(loc="lower right", fontsize="small", frameon=False)
plt.show()
