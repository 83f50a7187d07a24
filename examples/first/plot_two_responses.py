"""
Two responses at once: petals given sepals
==========================================

How long and how wide are the petals of an iris whose sepals have a given length? Both are asked at once, and species
are not given: ``expert="multivariate_gaussian"`` finds groups with lines of their own for both responses, and errors
that may be correlated.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris

from smoe import MoERegressor
from smoe.experts import MultivariateGaussianExpert

iris = load_iris(as_frame=True)
flowers = iris.data.set_axis(["sepal_length", "sepal_width", "length", "width"], axis=1)
X, Y = flowers[["sepal_length"]], flowers[["length", "width"]]

# %%
# Which covariance matrices, and how many experts? Long petals are wide ones, also within a group: diagonal matrices,
# which deny that, need more experts to say the same.
for covariance in ("full", "tied", "diag"):
    expert = MultivariateGaussianExpert(covariance)
    fits = [MoERegressor(k, expert=expert, gate_features=[], n_init=10, random_state=0).fit(X, Y) for k in (1, 2, 3)]
    print(f"{covariance:5} BIC", "  ".join(f"{k} expert(s): {fit.bic_:.1f}" for k, fit in enumerate(fits, 1)))
    if covariance == "full":
        model = fits[-1]
print(model.summary())

# %%
# With the petal's length known, too, its width is known better: within each group, and because the length tells the
# group. A flower with sepals of 6 cm:
at = X.iloc[:1].assign(sepal_length=6.0)
law = model.predict_distribution(at).marginal("width")
print(f"length unknown: width {law.mean()[0]:.2f} +- {law.std()[0]:.2f}")
for length in (1.5, 4.5, 5.5):
    law = model.predict_distribution(at).given({"length": length})
    print(f"length {length}: width {law.mean()[0]:.2f} +- {law.std()[0]:.2f}")

# %%
# Left: what is expected of length and width of flowers with sepals of 6 cm, as contours of the joint density, and the
# flowers with sepals between 5.5 and 6.5 cm. Right: the rows by the expert that is responsible for them, which knows
# nothing of species (shapes).
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
lengths, widths = np.linspace(0.5, 7.2, 160), np.linspace(-0.2, 2.9, 150)
grid = np.array([[(a, b) for a in lengths] for b in widths])
law = model.predict_distribution(at.iloc[[0] * grid[..., 0].size])
density = law.pdf(grid.reshape(-1, 2)).reshape(grid.shape[:2])
left.contourf(lengths, widths, np.log(np.maximum(density, 1e-3)), 12, cmap="Blues")
near = (X["sepal_length"] - 6.0).abs() <= 0.5
left.plot(Y["length"][near], Y["width"][near], "o", color="#D55E00", ms=4)
left.set(xlabel="petal length (cm)", ylabel="petal width (cm)", title="sepals of 6 cm: log density")
owner = model.responsibilities(X, Y).argmax(axis=1)
for species, marker in zip(range(3), "os^", strict=True):
    some = iris.target.to_numpy() == species
    colours = np.array(["#0072B2", "#E69F00", "#009E73"])[owner[some]]
    right.scatter(Y["length"][some], Y["width"][some], c=colours, marker=marker, s=22, label=iris.target_names[species])
right.set(xlabel="petal length (cm)", ylabel="petal width (cm)", title="colours: experts")
right.legend(fontsize="small")
plt.show()

# %%
# ``diagnose`` has a residual for each row and response, given the responses before it. It sees that the shares of the
# groups change with the sepals, which a gate without columns cannot say.
print(model.diagnose(X, Y))
