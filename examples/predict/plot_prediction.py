"""
Where a mean and a band mislead
===============================

Turn a curve around and one x has up to three answers (the inverse problem of Bishop, 1994, Mixture density networks).
The mean of y given x then lies where hardly any data are, and so does much of a band around it. The highest-density
region, the smallest set that holds y with a given probability, follows the branches.
"""

import matplotlib.pyplot as plt
import numpy as np

from smoe import SoftmaxMoERegressor

rng = np.random.default_rng(0)
y = rng.uniform(0, 1, 1500)
x = y + 0.3 * np.sin(2 * np.pi * y) + rng.normal(0, 0.05, len(y))
model = SoftmaxMoERegressor(5, random_state=0).fit(x[:, None], y)
print(f"log-likelihood {model.loglik_:.1f}, {model.status_}")

# %%
# One object answers for all rows at once: moments, densities, quantiles, modes, regions.
coverage, at = 0.9, 0.62
grid = np.linspace(x.min(), x.max(), 600)
mixture = model.predict_distribution(grid[:, None])
mean, std = mixture.mean(), mixture.std()
regions = {share: mixture.hdr(share) for share in (coverage, 0.5)}
band = 2 * 1.645 * std
print(f"mean length: band {band.mean():.2f}, region {regions[coverage].length().mean():.2f}")

# %%
# Left: what mean and standard deviation say. Middle: the regions. Right: the density on the dashed line.
figure, axes = plt.subplots(1, 3, sharey=True, figsize=(11, 4.2), width_ratios=(3, 3, 1.6), layout="constrained")
dots = {"s": 5, "color": "0.35", "alpha": 0.45, "linewidths": 0}
blues = {coverage: "#a9cbe8", 0.5: "#4a8fc7"}

axes[0].fill_between(grid, mean - band / 2, mean + band / 2, color="#f3cfa8", label="mean ± 1.645 sd")
axes[0].plot(grid, mean, color="#c0560f", lw=2, label="mean")
axes[0].set(title=f"mean and band, {band.mean():.2f} long on average", xlabel="x", ylabel="y")

for share, region in regions.items():
    low, high = region.edges.T
    where = grid[region.rows], high - low, 1.02 * (grid[1] - grid[0]), low
    axes[1].bar(*where, color=blues[share], linewidth=0, label=f"{100 * share:.0f} % region")
axes[1].set(title=f"densest regions, {regions[coverage].length().mean():.2f} long", xlabel="x")

for axis in axes[:2]:
    axis.scatter(x, y, **dots)
    axis.axvline(at, color="k", ls="--", lw=1)
    axis.legend(loc="upper left", fontsize="small", frameon=False)

values = np.linspace(-0.25, 1.25, 800)
one = model.predict_distribution([[at]])
density = one.pdf(values[None, :])[0]
for share, colour in blues.items():
    region = one.hdr(share)
    inside = density >= region.level[0]
    axes[2].fill_betweenx(values, 0, density, where=inside, color=colour, linewidth=0)
axes[2].plot(density, values, color="k", lw=1.2)
axes[2].plot(0, one.mean()[0], "o", color="#c0560f", clip_on=False, label="mean")
axes[2].plot(one.pdf(one.mode())[0], one.mode()[0], "D", color="#1b4f7d", ms=5, label="mode")
axes[2].set(title=f"density at x = {at}", xlabel="p(y | x)", ylim=(-0.25, 1.25), xlim=(0, None))
axes[2].legend(loc="upper right", fontsize="small", frameon=False)

plt.show()
