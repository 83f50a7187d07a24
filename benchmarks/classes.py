"""Mixtures of logistic regressions against one: log loss by cross-validation on data that packages ship.

    python benchmarks/classes.py

The number of experts, one to three, is chosen by BIC on the rows of each fit. Columns are standardised for
scikit-learn's regression, with its default penalty. The mixtures have the default pull, and then that same penalty in
its place.
"""

import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine, make_classification
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from smoe import MoEClassifier, MoEClassifierSelect
from smoe.datasets import load_biochemists, load_engel, load_ethanol, load_faithful, load_health
from smoe.penalties import Ridge


def crossing(n=2000, seed=0):
    """A mixture of two regressions of opposite slope."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    first = rng.random(n) < 1 / (1 + np.exp(-3 * X[:, 0]))
    eta = np.where(first, 3 * X[:, 1] + 1, -3 * X[:, 1])
    return X, rng.random(n) < 1 / (1 + np.exp(-eta))


def digits():
    """Even or odd, from eight principal components."""
    X, y = load_digits(return_X_y=True)
    return PCA(8, random_state=0).fit_transform(X), y % 2


def health():
    X, y = load_health(return_X_y=True)
    return np.column_stack([X[:, 0], np.log1p(X[:, 1]), X[:, 2]]), y


def halved(load):
    """Whether a number is above its median."""
    X, y = load(return_X_y=True)
    return X, y > np.median(y)


DATA = {
    "iris, 3 classes": lambda: load_iris(return_X_y=True),
    "wine, 3 classes": lambda: load_wine(return_X_y=True),
    "breast cancer": lambda: load_breast_cancer(return_X_y=True),
    "digits, odd": digits,
    "diabetes above median": lambda: halved(load_diabetes),
    "biochemists above median": lambda: halved(load_biochemists),
    "engel above median": lambda: halved(load_engel),
    "ethanol above median": lambda: halved(load_ethanol),
    "faithful above median": lambda: halved(load_faithful),
    "health, 3 classes": health,
    "simulated, two logits": crossing,
    "simulated, clusters": lambda: make_classification(1000, 5, n_informative=3, random_state=0),
}


def log_loss(estimator, X, y):
    """Return the mean log loss over five folds."""
    proba = cross_val_predict(
        estimator, X, y, cv=StratifiedKFold(5, shuffle=True, random_state=0), method="predict_proba"
    )
    codes = np.unique(y, return_inverse=True)[1]
    return -np.log(np.maximum(proba[np.arange(len(y)), codes], 1e-15)).mean()


def mixture(**settings):
    classifier = MoEClassifier(n_init=10, random_state=0, **settings)
    return MoEClassifierSelect(classifier, n_experts=(1, 2, 3), random_state=0)


def main():
    warnings.simplefilter("ignore")
    print(f"{'data':<26}{'rows':>6}{'columns':>9}{'one':>9}{'pull':>9}{'experts':>9}{'ridge':>9}{'experts':>9}")
    for name, load in DATA.items():
        X, y = load()
        plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        row = f"{name:<26}{X.shape[0]:>6}{X.shape[1]:>9}{log_loss(plain, X, y):>9.3f}"
        for ours in (mixture(), mixture(pull=0.0, penalty=Ridge(expert=1.25 / len(y)))):  # 4 of 5 rows are fitted
            row += f"{log_loss(ours, X, y):>9.3f}{ours.fit(X, y).n_experts_:>9}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
