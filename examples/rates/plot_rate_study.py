"""
A study of rates
================

How fast do estimates approach the truth? Fit many data sets of many sizes, certify each fit, and see how the loss
falls. The truth is that of the published experiments on softmax gates.
"""

import matplotlib.pyplot as plt

from smoe.plots import plot_rates
from smoe.simulation import papers

# %%
# The smallest of three scales; ``"standard"`` takes minutes and ``"paper"`` has the published sizes.
print(papers.describe("softmax-exact"))
study = papers.build("softmax-exact", "quick")
result = study.run()

# %%
# Slopes on the log scale with bootstrap intervals. Theory says -1/2, for the distance of the parameters (D1) and for
# that of the densities.
for loss in ("D1", "density"):
    rate = result.rate(loss)
    low, high = rate.interval
    print(f"{loss}: slope {rate.slope:.3f}, {rate.confidence:.0%} interval {low:.3f} to {high:.3f}")
print(f"fits without certificate: {result.share_uncertified:.1%}; below the truth: {result.share_below_truth:.1%}")

# %%
plot_rates(result, theory=-0.5)
plt.show()
