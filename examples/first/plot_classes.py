"""
Classes: who says that their health is poor?
============================================

`smoe.MoEClassifier` is for classes: experts are (multinomial) logistic regressions. Here 4,406 Americans of 66 years
and more rate their health as poor, average or excellent. How the rating depends on chronic conditions and on visits to
a physician is not the same for everyone, and the years at school tell whose answers follow which pattern.
"""

import matplotlib.pyplot as plt
import numpy as np

from smoe import MoEClassifier
from smoe.datasets import load_health
from smoe.diagnostics import calibration
from smoe.plots import plot_calibration
from smoe.selection import select_n_experts

X, y = load_health(as_frame=True, return_X_y=True)
X = X.assign(visits=np.log1p(X.visits))
recipe = MoEClassifier(gate_features=["school"], expert_features=["conditions", "visits"], n_init=10, random_state=0)

# %%
# How many experts? BIC wants two. By default fits are pulled a little towards constant probabilities, so that nothing
# diverges where a class is separated from the others; the status says so, and ``pull=0.0`` turns it off.
selection = select_n_experts(recipe, X, y, (1, 2, 3), random_state=0)
for k, loglik, bic in zip((1, 2, 3), selection.table["loglik"], selection.table["bic"], strict=True):
    print(f"{k} expert(s): log-likelihood {loglik:.1f}, BIC {bic:.1f}")
one, model = selection.estimators_[:2]

# %%
# Coefficients are log odds against the last class, "poor". A mixture of classifiers predicts well; its parameters are
# known less precisely than those of one regression.
print(model.summary())

# %%
# Left: the probabilities of the ratings as conditions add up, for people with 6 visits. The lines are what each expert
# says of "poor", and the legend how the years at school mix the two. Right: do ratings occur as often as the model
# says? Points on the line say so; bars are two standard deviations.
grid = np.linspace(0, 6, 61)
figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
colours = dict(zip(model.classes_, ("0.8", "#56B4E9", "#D55E00"), strict=True))
shown = ["poor", "average", "excellent"]
for axis, school in zip(axes, (4, 16), strict=False):
    at = X.iloc[[0] * len(grid)].assign(conditions=grid, visits=np.log1p(6), school=school)
    proba = model.predict_proba(at)[:, [list(model.classes_).index(one) for one in shown]]
    axis.stackplot(grid, proba.T, colors=[colours[one] for one in shown], labels=shown)
    for k, style in enumerate(("-", "--")):
        poor = model.expert_predict_proba(at)[:, k, list(model.classes_).index("poor")]
        axis.plot(grid, poor, "k", ls=style, lw=1.3, label=f"poor, expert {k} ({model.gate_proba(at)[0, k]:.0%})")
    axis.set(title=f"{school} years at school", xlabel="chronic conditions", xlim=(0, 6), ylim=(0, 1))
    axis.legend(fontsize="small", loc="upper left", framealpha=0.9)
axes[0].set_ylabel("probability")
plot_calibration(calibration(model, X, y), ax=axes[2])
plt.show()

# %%
# ``diagnose`` draws a randomised residual for each row and looks at calibration, too.
print(model.diagnose(X, y, random_state=0))
