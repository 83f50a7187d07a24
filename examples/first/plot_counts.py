"""
Counts: claims per policy, articles per student
===============================================

Poisson experts have rates. Where rows were watched for different times, or stand for different numbers of people, a
column of X says so, the *exposure*: here the holders of car policies whose claims were counted. The second data set has
two kinds of rows, doctoral students who publish at different rates.
"""

import matplotlib.pyplot as plt
import numpy as np

from smoe import MoERegressor
from smoe.datasets import load_biochemists, load_insurance
from smoe.diagnostics import rootogram
from smoe.plots import plot_rootogram

# %%
# Claims of 64 groups of drivers by age and engine class. One expert is a Poisson regression; the exposure multiplies
# its mean and has no coefficient.
policies, claims = load_insurance(as_frame=True, return_X_y=True)
names = ["age", "engine"]
drivers = MoERegressor(1, expert="poisson", expert_features=names, exposure_feature="holders")
print(drivers.fit(policies, claims).summary())

# %%
# Exponentials of slopes are rate ratios: a class older, 16 % fewer claims per holder; an engine class up, 22 % more.
ratios, ends = np.exp(drivers.expert_coef_[0]), np.exp(drivers.conf_int().expert.coef[0])
for name, ratio, (low, high) in zip(names, ratios, ends, strict=True):
    print(f"{name:6} rate ratio {ratio:.3f}, 95 % interval {low:.3f} to {high:.3f}")

# %%
# Articles of 915 students of biochemistry. Two experts in fixed shares (a gate without features) are a mixture of
# Poisson regressions: three students in four are slow. Both fits are certified maxima, and BIC prefers two.
X, y = load_biochemists(as_frame=True, return_X_y=True)
one, two = (MoERegressor(k, expert="poisson", gate_features=[], random_state=0).fit(X, y) for k in (1, 2))
for model in (one, two):
    print(f"{model.n_experts} expert(s): {model.status_}, BIC {model.bic_:.1f}")
print(f"shares {two.gate_proba(X)[0].round(2)}\n{two.summary()}")

# %%
# Rootograms hang the observed numbers of students from the expected ones, on a scale of square roots. One Poisson
# expects too few students without an article, and too few with many; with two, nearly all bars end in the grey band.
# Right: the probabilities of counts for one student.
figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
axes[1].sharey(axes[0])
labels = "one expert", "two experts"
for axis, model, label in zip(axes, (one, two), labels, strict=False):
    plot_rootogram(rootogram(model, X, y), ax=axis)
    axis.set_title(label, pad=22)
axes[1].set_ylabel("")

student, counts = X.iloc[[2]], np.arange(9)
for model, label, shift, colour in zip((one, two), labels, (-0.2, 0.2), ("0.6", "#c0560f"), strict=True):
    chances = model.predict_distribution(student).pmf(counts[None])[0]
    axes[2].bar(counts + shift, chances, 0.4, color=colour, label=label)
axes[2].set(ylabel="probability", xticks=counts)
axes[2].set_title("a woman, single, whose mentor has 6 articles", fontsize="medium", pad=22)
axes[2].legend(frameon=False)
for axis in axes:
    axis.set_xlabel("articles in three years")
plt.show()
