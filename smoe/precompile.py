"""Compile what is common, so that the first fit need not."""

import warnings

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from smoe.datasets import make_moe
from smoe.estimators import DenseToSparseMoERegressor, MoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe.gates import (
    AdjacentGate,
    ConditionalPoissonTopKGate,
    GaussianGate,
    LaplaceGate,
    NormalisedSigmoidGate,
    OrderedGate,
    PlackettLuceTopKGate,
    TopPGate,
    TreeGate,
)

__all__ = ["ESTIMATORS", "precompile"]

_SETTINGS = {"n_init": 2, "max_iter": 20, "random_state": 0}
ESTIMATORS = {
    "softmax gate": SoftmaxMoERegressor(**_SETTINGS),
    "top-K gate": TopKMoERegressor(top_k=1, **_SETTINGS),
    "dense-to-sparse gate": DenseToSparseMoERegressor(**_SETTINGS),
    "dense-to-sparse gate with an activation": DenseToSparseMoERegressor(activation="tanh", **_SETTINGS),
    "tree gate": MoERegressor(gate=TreeGate(), **_SETTINGS),
    "Gaussian gate": MoERegressor(gate=GaussianGate(), **_SETTINGS),
    "sigmoid gate": MoERegressor(gate=NormalisedSigmoidGate(), **_SETTINGS),
    "Laplace gate": MoERegressor(gate=LaplaceGate(), **_SETTINGS),
    "ordered gate": MoERegressor(gate=OrderedGate(), **_SETTINGS),
    "adjacent gate": MoERegressor(gate=AdjacentGate(), **_SETTINGS),
    "conditional Poisson gate": MoERegressor(gate=ConditionalPoissonTopKGate(), **_SETTINGS),
    "Plackett-Luce gate": MoERegressor(gate=PlackettLuceTopKGate(), **_SETTINGS),
    "top-p gate": MoERegressor(gate=TopPGate(), **_SETTINGS),
}


def precompile():
    """Fit small data with every gate and use the fits; yield the name of what was done."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a few iterations reach no maximum
        for name, estimator in ESTIMATORS.items():
            for n_experts in (2, 3):
                for n_features in (1, 8):  # with many columns other kernels are at work
                    _use(clone(estimator).set_params(n_experts=n_experts), n_features)
            yield name


def _use(estimator, n_features):
    data = make_moe(200, n_experts=2, n_features=n_features, random_state=0)
    X, y = data.data, data.target
    model = estimator.fit(X, y)
    model.fit(X, y, sample_weight=1.0 + (y > 0))
    model.predict(X, return_std=True)
    model.responsibilities(X, y)
    model.predict_interval(X)
    mixture = model.predict_distribution(X)
    mixture.hdr(0.9)
    mixture.mode()
    model.covariance("sandwich", X, y)
