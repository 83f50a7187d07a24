"""What a type checker tells users: mypy reads this beside the package (`make lint`), and nothing runs it."""

from typing import assert_type

import numpy as np
from matplotlib.figure import Figure

import smoe
from smoe import datasets, diagnostics, inference, metrics, plots, selection, simulation
from smoe.distribution import ConditionalMixture
from smoe.gates import Gate
from smoe.params import MoEParams
from smoe.rows import ParquetRows


def told(X: np.ndarray, y: np.ndarray) -> None:
    model = smoe.MoERegressor(2, gate_features=["age"], penalty=("ridge",), random_state=np.random.default_rng(0))
    assert_type(model.fit(X, y), smoe.MoERegressor)
    assert_type(smoe.TopKMoERegressor(4, top_k=2).set_params(top_k=1).fit(X, y), smoe.TopKMoERegressor)
    assert_type(smoe.TopKMoERegressor().gate, Gate)
    assert_type(smoe.MoEClassifier(2).fit(X, ["yes", "no"]).classes_, np.ndarray)
    assert_type(smoe.JointGaussianMoERegressor(2).fit(X, y).centres_, np.ndarray)
    assert_type(smoe.MoERegressorSelect(model, n_experts=range(1, 4)).fit(X, y), smoe.MoERegressorSelect)
    assert_type(model.loglik_, float)
    assert_type(model.converged_, bool)
    assert_type(model.status_, str)
    assert_type(model.params_, MoEParams)
    assert_type(model.predict_interval(X, coverage=0.9), np.ndarray)
    assert_type(model.predict_quantiles([[1.0], [2.0]], (0.1, 0.9)), np.ndarray)
    assert_type(model.predict_distribution(X)[:2], ConditionalMixture)
    assert_type(model.predict_distribution(X).mean(), np.ndarray)
    assert_type(model.responsibilities(ParquetRows("wages.parquet", y="wage")), np.ndarray)
    assert_type(model.loglik(X, y), float)
    assert_type(model.covariance("sandwich", X, y), inference.Covariance)
    assert_type(model.summary(coverage=0.9).to_latex(), str)
    assert_type(model.diagnose(X, y), diagnostics.Diagnosis)
    assert_type(inference.bootstrap(model, X, y).interval(), MoEParams)
    assert_type(selection.select_n_experts(model, X, y, range(1, 4)).n_experts_, int)
    assert_type(metrics.crps(model, X, y), np.ndarray)
    assert_type(plots.plot_fit(model, X, y), Figure)
    assert_type(simulation.Truth("softmax", model.params_).draw(100, 0), tuple[np.ndarray, np.ndarray])
    datasets.make_moe(100, random_state=0).anything  # noqa: B018
    model.predict_distribution(X).crps(y).of_any_kind  # noqa: B018
    smoe.load("fit.json").of_any_kind  # noqa: B018


def warned(model: smoe.MoERegressor, X: np.ndarray, y: np.ndarray) -> None:
    model.predict_interval(X, coverage="wide")  # type: ignore[arg-type]
    model.predict_interval(X, level=0.9)  # type: ignore[call-arg]
    model.sample(X, random_state="seed")  # type: ignore[arg-type]
    model.save(3)  # type: ignore[arg-type]
    model.loglik_.upper()  # type: ignore[attr-defined]
    model.summary().to_word()  # type: ignore[attr-defined]
    smoe.MoERegressor(2, start=2)  # type: ignore[arg-type]
    inference.bootstrap(model, X, y, n_resamples="many")  # type: ignore[arg-type]
    selection.dendrogram(model, X, y).cut("all")  # type: ignore[arg-type]
