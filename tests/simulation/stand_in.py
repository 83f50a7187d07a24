"""A truth as studies take it, losses and starts that worker processes can import, and what tests compare."""

import os
import time

import numpy as np
from threadpoolctl import threadpool_info

from smoe.blocks import Blocks
from smoe.experts import GaussianExpert, GaussianExpertParams
from smoe.gates import LinearGateParams, SoftmaxGate
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, n_experts_of
from smoe.scaling import Scaling
from smoe.simulation import ConvergenceStudy
from smoe.solvers import EMNewton

T0 = MoEParams(
    LinearGateParams(np.array([[25.0], [0.0]]), np.array([-8.0, 0.0])),
    GaussianExpertParams(np.array([[-20.0], [20.0]]), np.array([15.0, -5.0]), np.array([0.09, 0.16])),
)


class Truth:
    """Parameters of a model, x uniform on the unit cube."""

    def __init__(self, model=None, params=T0):
        self.model = model or MixtureOfExperts(SoftmaxGate(), GaussianExpert())
        self.params = params
        self.n_experts, self.n_features = n_experts_of(params), params.expert.coef.shape[1]

    def _blocks(self, X, y):
        columns = np.arange(self.n_features)
        return Blocks(self.model, X, y, None, Scaling.identity(columns, columns))

    def draw(self, n, rng):
        X = rng.uniform(size=(n, self.n_features))
        y = self._blocks(X, None).map(lambda block, p: self.model.sample(block, p, rng)[0], self.params)
        return X, y

    def loglik(self, X, y):
        return float(self._blocks(X, y).sum(self.model.loglik, self.params))

    def describe(self):
        return {**self.model.gate.get_params(), "params": [field.tolist() for part in self.params for field in part]}


def variance_loss(params, truth):
    return abs(np.sort(params.expert.variance)[0] - truth.params.expert.variance.min())


def nested_loss(params, truth):
    return {"coef": np.abs(params.expert.coef).max(axis=1), "gate": float(np.abs(params.gate.coef).max())}


LOSSES = {"variance": variance_loss, "nested": nested_loss}


def comparable(records):
    """Everything but the time that a cell took; NaN equals NaN."""
    return sorted(repr(record._replace(seconds=0.0)) for record in records)


def process_loss(params, truth):
    return os.getpid()


def slow_loss(params, truth):
    time.sleep(0.03)
    return variance_loss(params, truth)


def threads_loss(params, truth):
    return max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")


def bad_loss(params, truth):
    raise ZeroDivisionError("no such loss")


class Stumbling(EMNewton):
    """Raises where the data have an even number of rows."""

    def solve(self, model, blocks, params):
        if len(blocks) % 2 == 0:
            raise np.linalg.LinAlgError("stumbled")
        return super().solve(model, blocks, params)


def study(sizes=(200, 60, 100), n_replications=3, fitter=None, start="near_truth", losses=LOSSES, **settings):
    return ConvergenceStudy(
        Truth(), fitter or EMNewton(), sizes, n_replications, start=start, losses=losses, **settings
    )
