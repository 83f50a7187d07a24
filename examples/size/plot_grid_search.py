"""
In a pipeline, tuned by cross-validation
========================================

A mixture of experts is a regressor like any other: it goes at the end of a pipeline, and a grid search sets its
parameters and those of the steps before it. What to score by is a choice: here the log density of the rows that were
left out, which judges the whole distribution and not the mean alone.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from smoe import SoftmaxMoERegressor
from smoe.datasets import load_mcycle

X, y = load_mcycle(return_X_y=True)


def held_out_density(pipeline, X, y):
    """Mean natural log density of y given x."""
    return pipeline[-1].score_samples(pipeline[:-1].transform(X), y).mean()


# %%
# Polynomials for the experts, the first power alone for the gate: ``gate_features=[0]``.
pipeline = make_pipeline(
    PolynomialFeatures(include_bias=False), SoftmaxMoERegressor(gate_features=[0], n_init=10, random_state=0)
)
grid = {"softmaxmoeregressor__n_experts": [1, 2, 3, 4], "polynomialfeatures__degree": [1, 2]}
search = GridSearchCV(pipeline, grid, scoring=held_out_density, cv=KFold(4, shuffle=True, random_state=0))
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)  # some fits on parts of the data separate them
    search.fit(X, y)
print("best:", search.best_params_)
print("held-out log density per row:", round(search.best_score_, 3))
print("status of the final fit:", search.best_estimator_[-1].status_)

# %%
# Scores with their standard errors over the folds.
table = search.cv_results_
figure, axis = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
for degree, colour, marker in ((1, "#0072b2", "o-"), (2, "#d55e00", "s--")):
    rows = np.flatnonzero(table["param_polynomialfeatures__degree"] == degree)
    k = table["param_softmaxmoeregressor__n_experts"][rows].astype(float) + 0.04 * (degree - 1.5)
    error = table["std_test_score"][rows] / np.sqrt(4)
    label = f"experts of degree {degree}"
    axis.errorbar(k, table["mean_test_score"][rows], error, fmt=marker, color=colour, capsize=3, label=label)
axis.set(xlabel="number of experts", ylabel="held-out log density per row", xticks=[1, 2, 3, 4])
axis.legend(loc="lower right", frameon=False)
plt.show()
