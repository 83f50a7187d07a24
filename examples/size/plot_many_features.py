"""
Two hundred columns, three that matter
======================================

The progression of diabetes in 442 patients, ten measurements, and 190 columns of noise beside them. A path of group
lassos takes columns in, one after the other, and the extended BIC chooses among them: what is kept is a refit without
penalty, with standard errors given the selected columns.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

from smoe import MoERegressor, MoERegressorPath
from smoe.penalties import ElasticNet
from smoe.plots import plot_path

data = load_diabetes(as_frame=True)
rng = np.random.default_rng(0)
noise = pd.DataFrame(rng.normal(size=(len(data.target), 190))).add_prefix("noise ")
X = pd.concat([data.data, noise], axis=1)
net = ElasticNet(alpha_expert=0.1, alpha_gate=0.1, group="experts")
base = MoERegressor(2, penalty=net, gate_features=list(data.data), n_init=3, random_state=0)
chosen = MoERegressorPath(base, n_alphas=8, eps=0.1).fit(X, data.target)

# %%
kept = np.flatnonzero(chosen.expert_coef_.any(axis=0))
print(chosen.status_)
print("experts see", [X.columns[j] for j in kept])
print("the gate sees", [data.data.columns[j] for j in np.flatnonzero(chosen.gate_coef_.any(axis=0))])

# %%
# The slopes along the path; the line is the choice.
plot_path(chosen.path_)

plt.show()
