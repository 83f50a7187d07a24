"""Truth T0, losses that worker processes can import, a small study, and what tests compare."""

import os
import time

import numpy as np
from threadpoolctl import threadpool_info

from smoe.experts import GaussianExpertParams
from smoe.gates import LinearGateParams
from smoe.params import MoEParams
from smoe.simulation import ConvergenceStudy, Truth
from smoe.solvers import EMNewton

T0 = MoEParams(
    LinearGateParams(np.array([[25.0], [0.0]]), np.array([-8.0, 0.0])),
    GaussianExpertParams(np.array([[-20.0], [20.0]]), np.array([15.0, -5.0]), np.array([0.09, 0.16])),
)


def truth_of(model="softmax", params=T0):
    return Truth(model, params)


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


def stumbling_loss(params, truth):
    if params.expert.variance[0] > 0.08:
        return 1.0
    raise ZeroDivisionError("too precise")


class Stumbling(EMNewton):
    """Raises where the data have an even number of rows."""

    def solve(self, model, blocks, params):
        if len(blocks) % 2 == 0:
            raise np.linalg.LinAlgError("stumbled")
        return super().solve(model, blocks, params)


def study(sizes=(200, 60, 100), n_replications=3, fitter=None, start="near_truth", losses=LOSSES, **settings):
    return ConvergenceStudy(
        truth_of(), fitter or EMNewton(), sizes, n_replications, start=start, losses=losses, **settings
    )
