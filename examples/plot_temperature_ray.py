"""
One density, many temperatures
==============================

Without an activation, slopes, intercepts and temperature may all be multiplied by one number and the density stays as
it is: the data cannot tell them apart. With an activation such as tanh they can.
"""

import sys
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
taus = np.geomspace(0.025, 0.4, 13)

# %%
# The largest log-likelihood at each fixed temperature, with and without the activation.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for activation, colour in ((None, "C0"), ("tanh", "C1")):
    profile = []
    for tau in taus:
        model = DenseToSparseMoERegressor(2, temperature=tau, activation=activation, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # at a wrong temperature the best slope may diverge
            profile.append(model.fit(moe.data, moe.target).loglik_)
        if activation is None:
            right.plot(tau, model.gate_coef_[0, 0], "o", color="C2")
            right.plot(tau, model.gate_effective_coef_[0, 0], "s", color="C3")
    left.plot(taus, np.array(profile) - max(profile), "o-", color=colour, label=activation or "no activation")
left.axvline(0.1, color="0.6", ls=":", label="the truth's temperature")
left.set(ylabel="log-likelihood below its maximum", ylim=(-60, 4), title="Is the temperature identified?")
right.plot([], [], "o", color="C2", label="slope")
right.plot([], [], "s", color="C3", label="slope / temperature")
right.set(ylabel="estimate without an activation", title="What the data tell")
for axis in (left, right):
    axis.set(xscale="log", xlabel="fixed temperature")
    axis.set_xticks([0.025, 0.05, 0.1, 0.2, 0.4], ["0.025", "0.05", "0.1", "0.2", "0.4"])
    axis.minorticks_off()
    axis.legend(loc="center left", fontsize="small")

path = sys.argv[1] if len(sys.argv) > 1 else "temperature_ray.png"
figure.savefig(path, dpi=150)
print(f"The picture is in {path}")
