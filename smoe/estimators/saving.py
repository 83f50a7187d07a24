"""Fitted estimators out of files."""

from dataclasses import replace
from typing import Any

import numpy as np

from smoe.estimators.classifier import MoEClassifier
from smoe.estimators.joint import JointGaussianMoERegressor
from smoe.estimators.named import DenseToSparseMoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe.estimators.regressor import MoERegressor
from smoe.experts import GaussianExpert
from smoe.features import Roles
from smoe.fields import check_part
from smoe.fitted import FittedMixture
from smoe.gates import Gate
from smoe.hints import FilePath
from smoe.inference import Covariance
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten
from smoe.saved import KNOWN, built, check, read_document
from smoe.solvers import Certificate, EMNewton
from smoe.validation import Columns

__all__ = ["KINDS", "load"]

KINDS = {
    kind.__name__: kind
    for kind in (
        DenseToSparseMoERegressor,
        JointGaussianMoERegressor,
        MoEClassifier,
        MoERegressor,
        SoftmaxMoERegressor,
        TopKMoERegressor,
    )
}
_OLD = "the file is from smoe 0.1, which kept no covariance; its standard errors are in the file"


def load(path: FilePath) -> Any:
    """Return the fitted estimator that ``save`` has written.

    Nothing in the file is run, and nothing but the classes of smoe is built: files from strangers are safe to load. A
    loaded estimator predicts, tests and prints as the one that was saved, bit for bit, without the rows of its fit.

    Parameters
    ----------
    path : str or path
        From ``model.save(path)`` or ``smoe fit --out``, also of smoe 0.1, whose files have no covariance.

    Returns
    -------
    estimator
        Of the class that was saved.

    Raises
    ------
    ValueError
        The file is no fit, is cut off, has been changed since, or was written by a later version of the format.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import smoe
    >>> from smoe.datasets import load_faithful
    >>> X, y = load_faithful(return_X_y=True)
    >>> model = smoe.MoERegressor(2, random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "fit.json"
    ...     model.save(path)
    ...     loaded = smoe.load(path)
    >>> bool((loaded.predict(X) == model.predict(X)).all()), loaded.status_
    (True, 'converged')
    """
    document = read_document(path)
    return built(document, KINDS, path) if "format" in document else _of_0_1(document, path)


def _of_0_1(document, path):
    """Return the estimator of a file of version 0.1, of `MoERegressor` with Gaussian experts."""
    try:
        settings = dict(document["gate"])
        gate = KNOWN[settings.pop("class")](**settings)
        if not isinstance(gate, Gate):
            raise ValueError("gate is none.")
        expert, d = GaussianExpert(), len(document["x"])
        params = document["params"]
        k = len(next(iter(params["expert"].values())))
        model = MixtureOfExperts(gate, expert)
        wanted = model.init_params(k, d, d)
        parts = (type(part)(**params[side]) for part, side in zip(wanted, ("gate", "expert"), strict=True))
        pairs = zip(parts, wanted, model.fields, ("gate", "expert"), strict=True)
        params = MoEParams(*(check_part(part, like, fields, f"params.{side}") for part, like, fields, side in pairs))
        estimator = MoERegressor(k, gate=gate, random_state=document["seed"])
        estimator.n_features_in_ = d
        columns = Columns(MoERegressor, d, None)
        loglik, certified = float(document["loglik"]), bool(document["certified"])
        fit = FittedMixture(
            model=model,
            params=params,
            loglik=loglik,
            n_parameters=int(document["n_parameters"]),
            n_active_parameters=int(document["n_parameters"]),
            n_rows=float(document["rows"]),
            entropy=np.nan,
            certificate=Certificate(certified, str(document["status"]), False),
            covariance=None,
            objective=loglik,
            score_norm=np.nan,
            n_iter=0,
            trace=np.array([loglik]),
            starts=[],
            solver=EMNewton(),
            columns=columns,
            gate_columns=np.arange(d),
            expert_columns=np.arange(d),
            roles=Roles(),
            response=str(document["y"]),
        )
        every = np.eye(flatten(params).size)
        unknown = Covariance("observed", fit.entries(), _OLD, params, every, every[:, :0], every, every[:, :0])
        estimator.fitted_ = replace(fit, covariance=unknown)
        check(estimator.fitted_)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError) as error:
        raise ValueError(f"{path} holds no fit of smoe 0.1: {str(error):.300}") from error
    return estimator
