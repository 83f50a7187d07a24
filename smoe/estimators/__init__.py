"""The estimators of scikit-learn's kind: one for every gate, and one each for the gates that papers are about."""

from smoe.estimators.base import MixtureEstimator
from smoe.estimators.classifier import MoEClassifier
from smoe.estimators.joint import JointGaussianMoERegressor
from smoe.estimators.named import DenseToSparseMoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe.estimators.regressor import MoERegressor
from smoe.estimators.saving import load

__all__ = [
    "DenseToSparseMoERegressor",
    "JointGaussianMoERegressor",
    "MixtureEstimator",
    "MoEClassifier",
    "MoERegressor",
    "SoftmaxMoERegressor",
    "TopKMoERegressor",
    "load",
]
