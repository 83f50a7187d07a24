"""
Panels: several rows per person
===============================

Where people are measured again and again, the classes are of people: all rows of one come from the same expert. A
column says whose row it is, ``group_feature``. Experts are growth curves, and the gate says who tends to follow which.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from smoe import MoERegressor
from smoe.selection import select_n_experts

# %%
# A score of 150 pupils at two to seven tests in five years. Some catch up, more often those with support; all others go
# on as they begin.
rng = np.random.default_rng(0)
n_pupils = 150
support = rng.uniform(0, 1, n_pupils)
catches_up = rng.random(n_pupils) < 1 / (1 + np.exp(4 * (0.5 - support)))
pupil = np.repeat(np.arange(n_pupils), rng.integers(2, 8, n_pupils))
year = rng.uniform(0, 5, len(pupil)).round(1)
score = np.where(catches_up[pupil], 30 + 8 * year, 45 + 2 * year) + rng.normal(0, 6, len(pupil))
X = pd.DataFrame({"year": year, "support": support[pupil], "pupil": [f"pupil {i}" for i in pupil]})
X, y = X.iloc[order := rng.permutation(len(X))], pd.Series(score, name="score").iloc[order]  # in any order

# %%
# BIC counts pupils, and finds the two classes.
settings = {"gate_features": ["support"], "expert_features": ["year"], "random_state": 0}
found = select_n_experts(MoERegressor(group_feature="pupil", **settings), X, y, (1, 2), random_state=0)
print(found)
model = found.best_estimator_
print(model.summary())

# %%
# Seen row by row, without knowing that rows belong together, the same data tell less of who follows which curve.
alone = MoERegressor(2, **settings).fit(X[["year", "support"]], y)
truth = catches_up[pupil[order]]
for name, one, rows in (("pupils", model, X), ("rows", alone, X[["year", "support"]])):
    steep = int(one.expert_coef_[:, 0].argmax())
    right = np.mean((one.responsibilities(rows, y).argmax(axis=1) == steep) == truth)
    print(f"classes of {name}: {right:.0%} of the rows in the right one")

# %%
# Left: each pupil's rows, coloured by the probability of catching up given all of them; lines are the experts' means.
# Right: that probability against the support, beside the gate's, which is all that is known of a new pupil.
labels, proba = model.group_responsibilities(X, y)
first = X.drop_duplicates("pupil")
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
steep = int(model.expert_coef_[:, 0].argmax())
of_row = dict(zip(labels, proba[:, steep], strict=True))
for name, rows in X.assign(score=y).sort_values("year").groupby("pupil"):
    axes[0].plot(rows["year"], rows["score"], color=plt.cm.cividis(of_row[name]), alpha=0.4, linewidth=0.8)
grid = np.array([0.0, 5.0])
for k in range(2):
    axes[0].plot(grid, model.expert_intercept_[k] + model.expert_coef_[k, 0] * grid, color="black", linewidth=2)
axes[0].set(xlabel="year", ylabel="score")
places = np.argsort(first["support"].to_numpy())
axes[1].scatter(first["support"], proba[:, steep], s=10, c=proba[:, steep], cmap="cividis", label="given all tests")
gate = model.gate_proba(first)[:, steep]
axes[1].plot(first["support"].to_numpy()[places], gate[places], color="black", label="of a new pupil")
axes[1].set(xlabel="support", ylabel="probability of catching up")
axes[1].legend(frameon=False, fontsize="small")
plt.show()
