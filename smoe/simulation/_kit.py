"""What the named studies are made of, in one place: truths, models, solvers, starts and losses."""

from functools import partial

from smoe.estimators import JointGaussianMoERegressor
from smoe.experts import GaussianExpert
from smoe.gates import SoftmaxGate, TopKGate, TreeGate
from smoe.mixture import MixtureOfExperts
from smoe.penalties import Pull
from smoe.simulation import _truths as truths
from smoe.simulation._near_truth import near_truth
from smoe.simulation._placed import joint_density, joint_start, lines, places_loss
from smoe.simulation._protocols import (
    AllSplits,
    EMByLoglik,
    FreeTemperatureGate,
    RuledLasso,
    along_the_ray,
    by_split,
    class_copies,
    class_density,
    class_spread,
    copies,
    density,
    expert_loss,
    gate_scale,
    mean_error,
    normal_start,
    published_d2,
    ray,
    shared_start,
    smallest_load,
    support,
)
from smoe.solvers import EM, EMNewton, SupportSearch

__all__ = [
    "EM",
    "AllSplits",
    "EMByLoglik",
    "EMNewton",
    "JointGaussianMoERegressor",
    "RuledLasso",
    "SupportSearch",
    "along_the_ray",
    "class_copies",
    "class_density",
    "class_spread",
    "copies_of",
    "density",
    "density_of",
    "doubling",
    "expert_loss",
    "expert_loss_of",
    "free_temperature",
    "gate_scale",
    "joint_density",
    "joint_start",
    "lines",
    "mean_error_of",
    "normal_model",
    "normal_start",
    "places_loss_of",
    "published_d2",
    "pulled",
    "ray",
    "shared_experts",
    "shared_start",
    "smallest_load",
    "split_losses",
    "support",
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


def expert_loss_of(power=4.0, model=None):
    """Return the loss `expert_loss` with this power of intercepts, for fits of this model if it is not the truth's."""
    return partial(expert_loss, power=power) if model is None else partial(expert_loss, power=power, model=model)


def places_loss_of(*flat):
    """Return the loss `places_loss` for a truth with these experts at zero."""
    return partial(places_loss, flat=flat)


def pulled(model):
    """Return the model with a pull of its gate and of its classes."""
    n_classes = model.expert.family.n_classes
    return model._replace(penalties=(Pull(classes=[1.0 / n_classes] * n_classes),))


def shared_experts(n_shared, n_routed):
    """Return a model of shared and routed normal experts."""
    return MixtureOfExperts(TreeGate.shared(n_shared, n_routed), GaussianExpert())
