"""
Missing values of x: a joint fit
================================

A Gaussian gate can be fitted to y given x, or to x and y together. The joint fit learns where each expert lives: it
says what is an outlier in x, and predicts where values of x are missing.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Ellipse

from smoe import JointGaussianMoERegressor

rng = np.random.default_rng(0)
n = 250
group = rng.random(n) < 0.4
X = rng.normal(size=(n, 2)) @ [[1.0, 0.7], [0.0, 0.6]] + np.where(group[:, None], [3.5, 0.0], [0.0, 0.5])
y = np.where(group, 6.0 - X[:, 0], 1.0 + X[:, 1]) + 0.4 * rng.normal(size=n)

# %%
# Three of ten values of each column get lost. Rows with a gap stay in the fit, with what they have.
holes = np.where(rng.random(X.shape) < 0.3, np.nan, X)
model = JointGaussianMoERegressor(2, start="kmeans", n_init=1, random_state=0).fit(holes, y)
print(model.status_)
print(model.expert_coef_.round(2), model.proportions_.round(2))

# %%
# Predictions with gaps: by the law of y given what is there, which is wider.
for x in ([3.0, -0.5], [3.0, np.nan], [np.nan, -0.5], [np.nan, np.nan]):
    low, high = model.predict_interval([x], 0.9)[0]
    print(f"x = {x}: mean {model.predict([x])[0]:5.2f}, nine of ten between {low:5.2f} and {high:5.2f}")

# %%
# Where the experts live: ellipses that hold nine tenths of their rows, over the log density of x.
side = np.linspace(-4, 8, 120), np.linspace(-4, 4, 80)
grid = np.stack(np.meshgrid(*side), axis=-1).reshape(-1, 2)
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
levels = model.score_samples_x(grid).reshape(80, 120)
drawn = axis.contourf(*side, levels, levels=np.arange(-14, 1, 2), extend="min", cmap="Greys", alpha=0.5)
axis.scatter(*X.T, c=y, s=8)
for centre, covariance in zip(model.centres_, model.covariances_, strict=True):
    sizes, axes = np.linalg.eigh(covariance)
    width, height = 2.0 * np.sqrt(4.605 * sizes)
    angle = np.degrees(np.arctan2(axes[1, 0], axes[0, 0]))
    axis.add_patch(Ellipse(centre, width, height, angle=angle, fill=False, color="C3", linewidth=2))
axis.set(xlabel="$x_0$", ylabel="$x_1$", title="Centres and covariances of two experts")
figure.colorbar(drawn, label="log density of x")
plt.show()
