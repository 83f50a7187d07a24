"""What the named studies are made of, in one place: truths, models, solvers, starts and losses."""

from functools import partial

from smoe.experts import GaussianExpert
from smoe.gates import SoftmaxGate, TopKGate
from smoe.mixture import MixtureOfExperts
from smoe.simulation import _truths as truths
from smoe.simulation._near_truth import near_truth
from smoe.simulation._protocols import (
    AllSplits,
    EMByLoglik,
    FreeTemperatureGate,
    along_the_ray,
    by_split,
    copies,
    density,
    expert_loss,
    gate_scale,
    mean_error,
    normal_start,
    published_d2,
    ray,
)
from smoe.solvers import EMNewton, SupportSearch

__all__ = [
    "AllSplits",
    "EMByLoglik",
    "EMNewton",
    "SupportSearch",
    "along_the_ray",
    "copies_of",
    "density",
    "density_of",
    "doubling",
    "expert_loss",
    "free_temperature",
    "gate_scale",
    "mean_error_of",
    "normal_model",
    "normal_start",
    "published_d2",
    "ray",
    "split_losses",
    "top_k",
    "truths",
]

split_losses = {"density": density, "split": by_split, "errors": "errors"}


def top_k(k):
    """Return a model of which k experts are selected."""
    return MixtureOfExperts(TopKGate(k), GaussianExpert())


def free_temperature():
    """Return the dense-to-sparse model with everything free."""
    return MixtureOfExperts(FreeTemperatureGate(), GaussianExpert())


def density_of(model):
    """Return the loss `density` for fits of another model than the truth's."""
    return partial(density, model=model)


def doubling(*experts):
    """Return the start near the truth in which the additional experts stand for these."""
    return partial(near_truth, extra=experts)


def copies_of(split):
    """Return the loss `copies` of fits with this split, such as "3+1"."""
    return partial(copies, split=split)


def normal_model():
    """Return a softmax gate with normal experts."""
    return MixtureOfExperts(SoftmaxGate(), GaussianExpert())


def mean_error_of(model):
    """Return the loss `mean_error` for fits of this model."""
    return partial(mean_error, model=model)
