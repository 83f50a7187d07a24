"""
Rows that stay on the disk
==========================

A fit needs passes over the rows, not the rows. Here they are in two files of float32 that are mapped into memory; the
fit has the log-likelihood of one to arrays, and needs some megabytes whatever the files hold. 100,000,000 rows are the
same two lines.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np

from smoe import MoERegressor
from smoe.datasets import make_moe

moe = make_moe(200_000, n_experts=2, n_features=1, random_state=0)
folder = TemporaryDirectory()
path = Path(folder.name)
moe.data.astype(np.float32).tofile(path / "X.f4")
moe.target.astype(np.float32).tofile(path / "y.f4")

# %%
X = np.memmap(path / "X.f4", dtype=np.float32, mode="r", shape=moe.data.shape)
y = np.memmap(path / "y.f4", dtype=np.float32, mode="r")
model = MoERegressor(2, random_state=0).fit(X, y)
in_memory = MoERegressor(2, random_state=0).fit(np.array(X, dtype=float), np.array(y, dtype=float))
print(model.status_, model.loglik_, in_memory.loglik_)

# %%
# Means for all rows go into a file as well, block by block.
model.predict_to(path / "mean.npy", X)
mean = np.load(path / "mean.npy", mmap_mode="r")
some = np.random.default_rng(0).choice(len(y), 1_000, replace=False)
x = X[some, 0]
order = np.argsort(x)
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.scatter(x, y[some], s=5, color="#bbbbbb", label="1,000 of 200,000 rows")
for i, colour in enumerate(("#0072B2", "#D55E00")):
    ax.plot(x[order], model.expert_predict(X[some])[order, i], color=colour, label=f"expert {i}")
ax.plot(x[order], mean[some][order], color="k", label="mean, from the file")
ax.set(xlabel="x", ylabel="y")
ax.legend(frameon=False)

plt.show()
del X, y, mean
folder.cleanup()
