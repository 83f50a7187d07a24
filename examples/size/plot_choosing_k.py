"""
How many experts?
=================

Data from three experts. One way to find out is to fit mixtures of several sizes and compare a criterion; another is to
fit one that is too large, once, and to merge its experts step by step.
"""

import matplotlib.pyplot as plt

from smoe import SoftmaxMoERegressor
from smoe.datasets import make_moe
from smoe.plots import plot_dendrogram, plot_selection
from smoe.selection import dendrogram, select_n_experts

moe = make_moe(1000, n_experts=3, min_share=0.2, random_state=3)
X, y = moe.data, moe.target

# %%
# Sizes one to five. Each fit also starts from the one before with an expert split in two, so that the log-likelihood
# never falls; criteria differ in what they ask of its rise.
selection = select_n_experts(SoftmaxMoERegressor(random_state=0), X, y, range(1, 6), criterion="bic", random_state=0)
print(selection)

# %%
# One fit with five experts. Experts that share a line merge at low heights, different ones do not.
model = SoftmaxMoERegressor(5, random_state=0).fit(X, y)
tree = dendrogram(model, X, y)
print(f"The dendrogram chooses {tree.n_experts} experts: {tree.groups[tree.levels.index(tree.n_experts)]}")

# %%
# Refitting from the cut gives the maximum that the path has found, too.
refitted = tree.refit(X, y)
print(f"log-likelihood {refitted.loglik_:.4f}, {refitted.status_}")

# %%
# Criteria and log-likelihood along the path; the dendrogram and what merging costs.
figure = plt.figure(figsize=(11, 5.5), layout="constrained")
left, right = figure.subfigures(1, 2, wspace=0.05)
plot_selection(selection, axes=left.subplots(2, 1, sharex=True, height_ratios=(2, 1)))
plot_dendrogram(tree, axes=right.subplots(2, 1, height_ratios=(2, 1)))
plt.show()
