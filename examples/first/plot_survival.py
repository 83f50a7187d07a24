"""
Survival: times that were not all seen to end
=============================================

How long a machine runs, a patient lives, a customer stays: some rows have not ended when one stops looking. They are
*right-censored*, and a column of X says which. Weibull, log-logistic and log-normal experts give such rows the
probability of lasting longer. The machines here are of two kinds that nobody has labelled.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import norm

from smoe import MoERegressor
from smoe.metrics import mean_loglik_scorer

# %%
# Years that 500 machines ran, by load. Some come from a batch that wears out early, more often the newer ones; each was
# watched for a few years, and one in four still ran then.
rng = np.random.default_rng(0)
load, age = rng.uniform(0.2, 1.0, 500), rng.uniform(0.0, 10.0, 500)
weak = rng.random(500) < 1 / (1 + np.exp(0.6 * (age - 5)))
scale, shape = np.where(weak, 1.5, 12.0) * np.exp(-1.2 * load), np.where(weak, 3.0, 1.5)
years, end = scale * rng.weibull(shape), rng.uniform(1.0, 8.0, 500)
X, y = pd.DataFrame({"load": load, "age": age, "observed": years <= end}), np.minimum(years, end)
print(f"{1 - X.observed.mean():.0%} censored")

# %%
# The age decides about the kind, the load about the years. BIC compares families and numbers of experts: likelihoods
# of censored rows are probabilities whatever the family.
settings = {"gate_features": ["age"], "expert_features": ["load"], "event_feature": "observed", "random_state": 0}
choices = [("weibull", 1), ("weibull", 2), ("log_logistic", 2), ("log_normal", 2)]
fits = {(family, k): MoERegressor(k, expert=family, n_init=10, **settings).fit(X, y) for family, k in choices}
for (family, k), fit in fits.items():
    print(f"{family:13} {k} expert(s)  BIC {fit.bic_:8.1f}  {fit.status_}")
model = fits["weibull", 2]
print(model.summary())

# %%
# Times are multiplied by the exponential of a slope: a tenth more load costs a tenth of the time in both kinds (11 %
# in truth). One over the scale is Weibull's shape, 3 and 1.5 in truth.
print("a tenth more load:", (np.exp(0.1 * model.expert_coef_[:, 0]) - 1).round(3))
print("shapes:", (1 / model.expert_scale_).round(2))
print(f"mean log-likelihood per row {mean_loglik_scorer(model, X, y):.3f}")

# %%
# Left: survival by age against the Kaplan-Meier estimates of the newest and the oldest third (steps), which know no
# model; one expert that sees the load alone knows one curve only. Middle: hazards at the middle load; they fall where
# the weak batch has died out. Right: quantile residuals are normal; those of censored rows are drawn.


def kaplan_meier(time, seen):
    """Return times in order and the share that lasted longer."""
    order = np.argsort(time)
    return time[order], np.cumprod(1.0 - seen[order] / np.arange(len(time), 0, -1))


def row(age):
    """Return a machine of this age and the middle load."""
    return pd.DataFrame({"load": [0.6], "age": [age], "observed": [1]})


figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
grid = np.linspace(0.02, 8.0, 300)
thirds = {"newest third": age < np.quantile(age, 1 / 3), "oldest third": age > np.quantile(age, 2 / 3)}
for (label, some), colour in zip(thirds.items(), ("#c0560f", "#1f6f8b"), strict=True):
    axes[0].step(*kaplan_meier(y[some], X.observed.to_numpy()[some]), color=colour, alpha=0.4, where="post")
    axes[0].plot(grid, model.predict_distribution(X[some]).sf(grid[None, :]).mean(axis=0), color=colour, label=label)
    mixture = model.predict_distribution(row(age[some].mean()))
    hazard = np.exp(mixture.logpdf(grid[None, :]) - mixture.logsf(grid[None, :]))[0]
    axes[1].plot(grid, hazard, color=colour)
one = fits["weibull", 1].predict_distribution(X)
axes[0].plot(grid, one.sf(grid[None, :]).mean(axis=0), ":", color="0.4", label="one expert, all")
axes[0].set(xlabel="years", ylabel="share that still runs", ylim=(0, 1))
axes[0].legend(frameon=False, fontsize="small")
axes[1].set(xlabel="years", ylabel="hazard per year at load 0.6", ylim=(0, None))

residuals, seen = model.diagnose(X, y, random_state=0).residuals, X.observed.to_numpy()
normal = norm.ppf((residuals.argsort().argsort() + 0.5) / len(y))
axes[2].axline((0, 0), slope=1, color="0.8", zorder=0)
axes[2].scatter(normal[seen], residuals[seen], s=8, color="0.4", label="seen")
axes[2].scatter(normal[~seen], residuals[~seen], s=14, facecolors="none", edgecolors="#c0560f", label="censored")
axes[2].set(xlabel="normal quantile", ylabel="quantile residual")
axes[2].legend(frameon=False, fontsize="small")
plt.show()
