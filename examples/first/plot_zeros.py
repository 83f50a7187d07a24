"""
Zeros: one kind of person, or two?
==================================

Of 915 doctoral students 275 published nothing in three years. A share of them that never would (zero inflation), rates
that differ from student to student (negative binomial), or two kinds of students (two Poisson experts)? BIC decides
for the second here, and a picture of the counts shows what each makes of the zeros.
"""

import matplotlib.pyplot as plt
import numpy as np

from smoe import MoERegressor
from smoe.datasets import load_biochemists

X, y = load_biochemists(as_frame=True, return_X_y=True)
X = X.assign(mentor=np.log1p(X.mentor))
candidates = {
    "Poisson": MoERegressor(1, expert="poisson"),
    "zero-inflated Poisson": MoERegressor(1, expert="zero_inflated_poisson"),
    "negative binomial": MoERegressor(1, expert="negative_binomial"),
    "two Poissons": MoERegressor(2, expert="poisson", gate_features=["mentor"], random_state=0),
}
fits = {name: model.fit(X, y) for name, model in candidates.items()}
for name, fit in fits.items():
    print(f"{name:22} log-likelihood {fit.loglik_:9.2f}   BIC {fit.bic_:8.1f}   {fit.status_}")

# %%
# How many students with 0, 1, 2, ... articles does each model expect?
counts = np.arange(11)
seen = np.bincount(y.astype(int), minlength=11)[:11]
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.bar(counts, seen, color="#dddddd", label="students")
for (name, fit), colour, marker in zip(fits.items(), ("#000000", "#D55E00", "#0072B2", "#009E73"), "osD^", strict=True):
    distribution = fit.predict_distribution(X)
    expected = [np.exp(distribution.logpdf(np.full(len(y), c))).sum() for c in counts]
    ax.plot(counts, expected, color=colour, marker=marker, label=f"{name}, BIC {fit.bic_:.0f}")
ax.set(xlabel="articles in three years", ylabel="number of students", xticks=counts)
ax.legend(frameon=False)

plt.show()
