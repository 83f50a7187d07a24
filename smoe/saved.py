"""Fits as files of JSON: what is written, and what is looked at before it is believed."""

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from smoe import experts, families, fields, fitted_joint, gates, params, penalties, solvers, starts
from smoe.constraints import Constraints
from smoe.features import Roles
from smoe.files import finite, write_whole
from smoe.fitted import FittedMixture
from smoe.formulas import Design
from smoe.inference import Covariance
from smoe.mixture import MixtureOfExperts
from smoe.params import flatten, n_experts_of
from smoe.plain import decoded, encoded
from smoe.rows import Scaling
from smoe.search import StartRecord
from smoe.settings import described
from smoe.solvers.certificate import Checked, Reason
from smoe.validation import Columns, check_path, fit_of

__all__ = ["FORMAT", "KNOWN", "as_document", "built", "check", "read_document", "write_document"]

FORMAT = 1  # of the files; a change that older versions cannot read is a larger number


def _classes():
    """Everything a fit is made of, by name: no other class is ever built from a file."""
    modules = (gates, experts, families, penalties, solvers, starts, params, fields)
    found = {name: getattr(module, name) for module in modules for name in module.__all__}
    others = Constraints, Roles, FittedMixture, fitted_joint.FittedJointMixture, Design, Covariance, MixtureOfExperts
    others += StartRecord, Checked, Reason, Columns, Scaling
    found |= {one.__name__: one for one in others}
    known = {name: one for name, one in found.items() if isinstance(one, type)}
    return known | {f"activation {name}": one for name, one in gates.ACTIVATIONS.items()}


KNOWN = _classes()


def as_document(estimator, **about):
    """Return a fitted estimator as a dict of JSON: numbers for any program, and the whole for `smoe.load`.

    Parameters
    ----------
    estimator : MixtureEstimator
    **about : dict
        What else to note, such as the file of the data.
    """
    fit, errors = fit_of(estimator), estimator.standard_errors_
    learnt = {name: one for name, one in vars(estimator).items() if name[-1] == "_" and name[0] != "_"}
    learnt.pop("online_", None)  # whose rows stay where they are
    kind, settings = type(estimator), estimator.get_params(deep=False)
    if not kind.__module__.startswith("smoe."):
        raise TypeError(f"save keeps the estimators of smoe, and {kind.__name__} is none of them.")
    model, known = {"class": kind.__name__}, KNOWN | {kind.__name__: kind}
    for name, value in settings.items():
        model[name] = _setting(value, known, name)
    model["learnt"] = {name: encoded(value, known, name) for name, value in learnt.items()}
    document = {
        "format": "smoe fit",
        "version": FORMAT,
        "smoe": _own_version(),
        **about,
        "gate": described(fit.model.gate),
        "rows": fit.n_rows,
        "loglik": fit.loglik,
        "certified": bool(fit.converged),
        "status": fit.status,
        "n_parameters": fit.n_parameters,
        "params": described(fit.params),
        "standard_errors": None if errors is None else described(errors),
    }
    document = finite(document) | {"model": model}
    return document | {"digest": _digest(document)}


def _setting(value, known, name):
    try:
        return encoded(value, known, name)
    except TypeError as error:
        raise TypeError(f"{error} Set another value before saving, model.set_params({name}=...).") from None


def _own_version():
    try:
        return version("smoe")
    except PackageNotFoundError:
        return "unknown"


def _digest(document):
    text = json.dumps({k: v for k, v in document.items() if k != "digest"}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_document(path, document):
    """Write a file of JSON, whole or not at all, a line for each part of what a reader may look for."""
    check_path(path)
    parts = [f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in document.items()]
    write_whole(path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())


def read_document(path):
    """Return the dict of a file, whole and unchanged.

    Raises
    ------
    ValueError
        The file is no fit, is cut off, has been changed, or was written by a later version.
    """
    check_path(path)
    with open(path, "rb") as file:
        text = file.read()
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON, or is cut off: {str(error):.200}") from None
    return _known(document, path)


def _refuse_constant(name):
    raise ValueError(f"{name} is no JSON")


def _known(document, path):
    """Return the document if it is one that this version can read."""
    if not isinstance(document, dict) or document.get("format") != "smoe fit":
        old = isinstance(document, dict) and {"gate", "params", "loglik", "certified", "x"} <= document.keys()
        if old:
            return document
        raise ValueError(f"{path} is no fit that smoe has saved.")
    number = document.get("version")
    if type(number) is not int or number < 1:
        raise ValueError(f"{path} has no version of its format.")
    if number > FORMAT:
        later = f"smoe {str(document.get('smoe')):.20}"
        raise ValueError(f"{path} is of format {number}, from {later}; this smoe reads up to {FORMAT}: upgrade smoe.")
    if document.get("digest") != _digest(document):
        raise ValueError(f"{path} has been changed or damaged since it was written.")
    return document


def built(document, kinds, path):
    """Return the estimator of a document."""
    try:
        model = decoded(document.get("model"), KNOWN | kinds, "model")
        if type(model) not in kinds.values():
            raise ValueError("model is no estimator.")
        check(model.fitted_)
        if model.n_features_in_ != model.fitted_.columns.count:
            raise ValueError("n_features_in_ does not belong to the fit.")
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, RecursionError, OverflowError) as error:
        raise ValueError(f"{path} holds no fit that this version of smoe can read: {str(error):.300}") from error
    return model


def check(fit):
    """Raise ValueError unless the parts of a fit belong together."""
    if not isinstance(fit, FittedMixture):
        raise ValueError("fitted_ is no fit.")
    k, sides = n_experts_of(fit.params), (fit.gate_columns, fit.expert_columns)
    if k < 1 or any(c.ndim != 1 or c.dtype.kind != "i" or np.any((c < 0) | (c >= fit.columns.count)) for c in sides):
        raise ValueError("gate_columns and expert_columns must be columns of X.")
    model = fit.model
    model.gate.check(k)
    model.expert.check()
    for part, wanted, side in zip(fit.params, model.init_params(k, *map(len, sides)), ("gate", "expert"), strict=True):
        if type(part) is not type(wanted) or any(np.shape(a) != np.shape(b) for a, b in zip(part, wanted, strict=True)):
            raise ValueError(f"params.{side} do not belong to {type(getattr(model, side)).__name__}.")
        if not np.isfinite(flatten(part)).all():
            raise ValueError(f"params.{side} must be finite.")
    size, spread = flatten(fit.params).size, fit.covariance
    n_free = spread.change.shape[-1]
    right = spread.change.shape == (size, n_free) and len(spread.entries) == size
    if not right or any(a.ndim != 2 or len(a) != n_free for a in (spread.factor, spread.null, spread.jumps)):
        raise ValueError("the covariance does not belong to the parameters.")
