"""No public callable answers a wrong argument with an error of Python's or NumPy's own.

Every argument of every public callable is replaced by a list of wrong values. Whatever is refused has to be refused on
purpose: by a ``raise`` in smoe or in scikit-learn's validation, with a message that names the argument or says what it
must be. (Some of the values make sense to some arguments; what a call then returns is for other tests.)
"""

import importlib
import inspect
import linecache
import math
import os
import re
import traceback

import numpy as np
import pytest
import sklearn

import smoe
from doors import GROUPS
from smoe import distribution, simulation

ROOTS = [os.path.dirname(module.__file__) for module in (smoe, sklearn)]


class Unlike:
    """An object of a class that nobody knows."""

    def __repr__(self):
        return "Unlike()"


WRONG = {
    "None": None,
    "a word": "nope",
    "bytes": b"x",
    "True": True,
    "0": 0,
    "-1": -1,
    "7": 7,
    "1.5": 1.5,
    "-0.5": -0.5,
    "NaN": math.nan,
    "infinity": math.inf,
    "1e200": 1e200,
    "10**30": 10**30,
    "10**400": 10**400,
    "1j": 1j,
    "[]": [],
    "a list of numbers": [1.0, 2.0, 3.0],
    "a list of words": ["a", "b"],
    "a ragged list": [[0.0], [0.0, 1.0]],
    "a list of lists": [[[1.0]]],
    "a list of None": [None, None],
    "a dict": {"a": 1},
    "a set": {1},
    "an object": Unlike(),
    "a class": int,
    "a function": lambda *args, **kwargs: None,
    "an array of NaN": np.full((3, 2), np.nan),
    "a zero": np.zeros((1, 1, 1)),
}

# Numbers that only say how much is to be done: as large as they are, they make sense, and take their time.
PATIENT = "n n_samples n_features n_experts n_init n_em n_lines n_stages n_halvings n_bins n_covariates n_resamples "
PATIENT += "n_boot n_replications patience max_iter sizes size replication"
# Yes or no: Python asks no more of them than to be one or the other, which an array is not.
FLAGS = "verbose warm_start return_std return_cov certified_only refit infimum as_frame return_X_y relax one_se"
# Functions: what a class makes of its arguments is its own affair.
FUNCTIONS = "function criterion covariates start keep gate_features expert_features spec exponent"
SKIPPED = {
    **dict.fromkeys(PATIENT.split(), ("10**30", "10**400")),
    **dict.fromkeys(FLAGS.split(), ("an array of NaN",)),
    **dict.fromkeys(FUNCTIONS.split(), ("a class",)),
    "n_jobs": ("7", "-1"),  # which are right, and start processes
}


def complaint(error, argument):
    """What is wrong with an error, or nothing."""
    if argument == "path" and type(error) is FileNotFoundError:
        return ""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    file = frame.f_code.co_filename
    source = linecache.getline(file, line).strip()
    if not any(file.startswith(root) for root in ROOTS) or not source.startswith("raise"):
        return f"raised by {os.path.basename(file)}: {source[:60]}"
    if not isinstance(error, ValueError | TypeError | IndexError | NotImplementedError):
        return "is of the wrong kind"
    if isinstance(error, np.linalg.LinAlgError | UnicodeError):
        return "is of the wrong kind"
    if file.startswith(ROOTS[0]) and not any(word in str(error) for word in (argument, "must", "choose")):
        return "names neither the argument nor what it must be"
    return ""


def answers(name, function, good, only=None):
    """Call with every wrong value of every argument; yield what is to be mended."""
    for argument, spec in inspect.signature(function).parameters.items():
        if spec.kind in (spec.VAR_POSITIONAL, spec.VAR_KEYWORD) or only and argument not in only:
            continue
        for what, value in WRONG.items():
            if what in SKIPPED.get(argument, ()):
                continue
            try:
                function(**{**good, argument: value})
            except Exception as error:
                if why := complaint(error, argument):
                    yield f"{name}({argument}={what}): {type(error).__name__}: {str(error)[:110]} [{why}]"


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_refused_is_refused_on_purpose(group):
    assert not (found := [line for case in group() for line in answers(*case)]), "\n".join(found)


MODULES = (
    "constraints datasets diagnostics distribution inference plots selection simulation simulation.papers solvers "
    "starts tables"
)
# What users are given, or write themselves, and do not call with arguments of their own.
MADE = "BootstrapResult Covariance DeltaMethod Dendrogram Diagnosis LikelihoodRatioTest NExpertsTest Reduced Selection "
MADE += "SlopeHeuristic Summary WaldTest ConditionalMixture HighestDensityRegions DensityError Rate Record Store "
MADE += "Calibration Classification Membership Certificate Fit Solver Start Task certify covariance plt "
MADE += "Rootogram RealMixture IntegerMixture ClassMixture VectorMixture HighestDensityIntegers Table "
MADE += "ElasticNetPath Elemental FromSoftmax KMeans RandomPartition"  # by their names
SHARED = "get_metadata_routing get_params set_callbacks set_params "
SHARED += " ".join(f"set_{method}_request" for method in ("fit", "partial_fit", "predict", "score"))


def test_nothing_public_is_left_out():
    known = {word for group in GROUPS for name, *_ in group() for word in re.split(r"[ .]", name)}
    for module in (smoe, *(importlib.import_module(f"smoe.{name}") for name in MODULES.split())):
        callables = {name for name in module.__all__ if callable(getattr(module, name))}
        assert not callables - known - {*MADE.split()}, module
    for kind in (smoe.MoERegressor, distribution.ConditionalMixture, simulation.StudyResult, simulation.Truth):
        for name, method in inspect.getmembers(
            kind, lambda member: inspect.isfunction(member) or inspect.ismethod(member)
        ):
            taken = [p for p in inspect.signature(method).parameters.values() if p.name not in ("self", "cls", "deep")]
            if not name.startswith("_") and name not in SHARED.split() and taken:
                assert name in known, f"{kind.__name__}.{name}"
