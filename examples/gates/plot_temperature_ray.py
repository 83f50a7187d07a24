"""
One density, many temperatures
==============================

Without an activation, slopes, intercepts and temperature may all be multiplied by one number and the density stays as
it is: the data cannot tell them apart. With an activation such as tanh they can.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from smoe import DenseToSparseMoERegressor
from smoe.datasets import make_moe
from smoe.experts import GaussianExpertParams
from smoe.gates import ActivationDenseToSparseGate, TemperatureGateParams
from smoe.params import MoEParams

truth = MoEParams(
    TemperatureGateParams(np.array([[8.0], [2.0]]), np.array([0.2, 0.0]), np.array(0.1)),
    GaussianExpertParams(np.array([[2.0], [-3.0]]), np.array([3.0, -2.0]), np.array([0.16, 0.25])),
)
moe = make_moe(2000, params=truth, gate=ActivationDenseToSparseGate("tanh"), random_state=0)
taus = np.geomspace(0.025, 0.4, 7)

# %%
# The largest log-likelihood at each fixed temperature, with and without the activation.
profiles, slopes = {}, []
for activation in (None, "tanh"):
    fits = [
        DenseToSparseMoERegressor(2, temperature=tau, activation=activation, n_init=15, random_state=0) for tau in taus
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # at a wrong temperature the best slope may diverge
        profiles[activation] = np.array([model.fit(moe.data, moe.target).loglik_ for model in fits])
    if activation is None:
        slopes = [(abs(model.gate_coef_[0, 0]), abs(model.gate_effective_coef_[0, 0])) for model in fits]
learned = DenseToSparseMoERegressor(2, activation="tanh", random_state=0).fit(moe.data, moe.target)
print(f"learned temperature {learned.temperature_:.4f}, std. err. {learned.standard_errors_.gate.temperature:.4f}")

# %%
# Flat where the temperature says nothing; and there the slope follows it, while their ratio stays what the data tell.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for activation, style in ((None, "o-"), ("tanh", "s--")):
    profile = profiles[activation]
    colour = "#0072b2" if activation is None else "#d55e00"
    left.plot(taus, profile - profile.max(), style, color=colour, label=activation or "no activation")
left.axvline(0.1, color="0.6", ls=":", label="true temperature")
left.set(ylabel="log-likelihood below its maximum", ylim=(-60, 4), title="Is the temperature identified?")
right.plot(taus, [slope for slope, _ in slopes], "o-", color="#0072b2", label="slope")
right.plot(taus, [ratio for _, ratio in slopes], "^-", color="#009e73", label="slope / temperature")
right.set(ylabel="size of the estimate without an activation", title="What the data tell", yscale="log")
for axis in (left, right):
    axis.set(xscale="log", xlabel="fixed temperature")
    axis.set_xticks([0.025, 0.05, 0.1, 0.2, 0.4], ["0.025", "0.05", "0.1", "0.2", "0.4"])
    axis.minorticks_off()
left.legend(loc="lower left", frameon=False)
right.legend(loc="center left", frameon=False)
plt.show()
