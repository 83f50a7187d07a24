"""
When the gate separates the data
================================

Exhaust gases of an engine that burns ethanol. Below a certain richness of the mixture one line holds, above it another,
and no row is in between: the steeper the gate, the higher the likelihood, without end. There is no maximum, and
``status_`` says so. What can be done about it?
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from smoe import SoftmaxMoERegressor, TopKMoERegressor
from smoe.datasets import load_ethanol

X, y = load_ethanol(return_X_y=True)  # C, the compression ratio, and E, the richness of the mixture

# %%
# A softmax gate that looks at E. The fit warns, and tells why it is not certified; such a fit has no standard errors.
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", ConvergenceWarning)
    soft = SoftmaxMoERegressor(2, gate_features=[1], random_state=0).fit(X, y)
print("warned:", caught[0].message)
print("status:", soft.status_)
print(f"gate slope {soft.gate_coef_[0, 0]:.0f}, standard errors: {soft.standard_errors_}")

# %%
# The log-likelihood converges although the slope does not, so predictions and densities may be used as they are. If the
# step itself is what you believe in, say so: with one selected expert per row the model *is* a partition, and its fit
# is certified as what it can be, a local maximum.
hard = TopKMoERegressor(2, top_k=1, gate_features=[1], random_state=0).fit(X, y)
print(f"log-likelihood {soft.loglik_:.4f} (softmax, the limit), {hard.loglik_:.4f} (top-1)")
print(f"top-1: converged {hard.converged_}, {hard.status_}")
border = -hard.gate_intercept_[0] / hard.gate_coef_[0, 0]
print(f"the border is at E = {border:.3f}")

# %%
# Either fit, at the median compression ratio. The border may lie anywhere between two neighbouring rows.
E = np.linspace(X[:, 1].min(), X[:, 1].max(), 800)
rows = np.column_stack([np.full(len(E), np.median(X[:, 0])), E])
figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 6), sharex=True, height_ratios=(3, 1), layout="constrained")
low, high = soft.predict_interval(rows, 0.9).T
top.fill_between(E, low, high, color="0.9", label="90 % prediction band")
points = top.scatter(X[:, 1], y, c=X[:, 0], cmap="viridis", s=25)
top.plot(E, soft.predict(rows), color="k", label="mean, softmax")
top.plot(E, hard.predict(rows), color="#d55e00", ls="--", label="mean, top-1")
top.set_ylabel("nitrogen oxides (µg/J)")
top.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, borderaxespad=0.2, fontsize="small")
figure.colorbar(points, ax=(top, bottom), label="compression ratio")
bottom.plot(E, soft.gate_proba(rows)[:, 1], color="k")
bottom.plot(E, hard.gate_proba(rows)[:, 1], color="#d55e00", ls="--")
bottom.set(xlabel="equivalence ratio E", ylabel="probability\nof expert 1")
plt.show()
