"""
One expert too many, and the ridge that EM cannot walk
======================================================

Three experts for data from two. Two of the fitted ones share what one true expert did, and how they share it hardly
matters to the likelihood: a long ridge, almost flat. EM finds the ridge quickly and then crawls along it; a rule such
as "stop when the log-likelihood changes by a millionth of itself" stops it at once. Newton's method on the observed
log-likelihood walks the ridge to its top.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from smoe import SoftmaxMoERegressor
from smoe.experts import GaussianExpertParams
from smoe.gates import LinearGateParams
from smoe.params import MoEParams
from smoe.simulation import Truth, near_truth
from smoe.solvers import EM, EMNewton
from smoe.starts import FromParams

gate = LinearGateParams(np.array([[25.0], [0.0]]), np.array([-8.0, 0.0]))
experts = GaussianExpertParams(np.array([[-20.0], [20.0]]), np.array([15.0, -5.0]), np.array([0.09, 0.16]))
truth = Truth("softmax", MoEParams(gate, experts))
rng = np.random.default_rng(0)
X, y = truth.draw(5000, rng)
start = FromParams(near_truth(truth, 3, len(y), rng, extra=[1]))  # a second copy of expert 1

# %%
# The same start for both. ``trace_`` has the log-likelihood before the first and after each iteration.
fits = {}
for name, solver in (("EM", EM(max_iter=4000)), ("EM, then Newton", EMNewton())):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # status_ is printed below
        fits[name] = SoftmaxMoERegressor(3, solver=solver, start=start).fit(X, y)
for name, model in fits.items():
    print(f"{name}: {model.n_iter_} iterations to {model.loglik_:.4f}; {model.status_}")
trace = fits["EM"].trace_
stop = 1 + np.flatnonzero(np.abs(np.diff(trace)) <= 1e-6 * np.abs(trace[1:]))[0]
print(f"the relative rule would stop EM after {stop} iterations")

# %%
# How far each is below the maximum, and where the experts are. EM's copies still lie on top of one another.
top = fits["EM, then Newton"].loglik_
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for (name, model), colour, line in zip(fits.items(), ("#0072b2", "#d55e00"), ("-", "--"), strict=True):
    gap = np.maximum(top - model.trace_, 1e-9)
    left.loglog(1 + np.arange(len(gap)), gap, color=colour, ls=line, lw=2, label=name)
left.plot(1 + stop, top - trace[stop], "o", color="#0072b2", ms=8, label="relative change of 1e-6")
left.set(xlabel="iteration", ylabel="log-likelihood below the maximum")
left.legend(loc="lower left", frameon=False)
grid = np.linspace(0, 1, 400)[:, None]
right.scatter(X[:1500, 0], y[:1500], s=3, color="0.75")
for (name, model), colour, line in zip(fits.items(), ("#0072b2", "#d55e00"), ("-", "--"), strict=True):
    lines = np.where(model.gate_proba(grid) > 0.02, model.expert_predict(grid), np.nan)
    right.plot(grid, lines, color=colour, ls=line, lw=1.8, label=[name, None, None])
right.set(xlabel="x", ylabel="y", title="experts, where the gate uses them")
right.legend(loc="lower center", frameon=False)
plt.show()
