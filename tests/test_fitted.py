"""The value that a fit leaves: it answers as the estimator does, nothing changes it, and functions take it."""

import functools
import inspect
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import smoe
from smoe import DenseToSparseMoERegressor, MoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe.datasets import load_engel
from smoe.diagnostics import diagnose
from smoe.fitted import FittedMixture
from smoe.gates import ActivationDenseToSparseGate, DenseToSparseGate, SoftmaxGate, TopKGate
from smoe.inference import bootstrap, compare_fits, likelihood_ratio_test
from smoe.metrics import crps
from smoe.selection import dendrogram, merge_experts
from smoe.simulation import Truth

X, Y = load_engel(return_X_y=True)


@pytest.fixture(scope="module")
def model():
    return SoftmaxMoERegressor(2, random_state=0).fit(X, Y)


METHODS = "predict predict_distribution gate_proba expert_predict predict_expert".split()


@pytest.mark.parametrize("name", METHODS)
def test_it_predicts(model, name):
    one, other = (getattr(answering, name)(X[:9]) for answering in (model, model.fitted_))
    if name == "predict_distribution":
        one, other = one.mean(), other.mean()
    np.testing.assert_array_equal(one, other)


def test_attributes_are_read_from_it(model):
    fit = model.fitted_
    assert isinstance(fit, FittedMixture) and fit.params is model.params_ and fit.model.gate is model.gate_
    assert (fit.loglik, fit.n_parameters, fit.n_rows) == (model.loglik_, model.n_parameters_, len(Y))
    assert (fit.aic, fit.bic, fit.icl) == (model.aic_, model.bic_, model.icl_)
    assert (fit.converged, fit.status, fit.solver) == (model.converged_, model.status_, model.solver_)
    assert fit.n_experts == 2 and "n_experts=2" in repr(fit) and fit.array("gate_slope") is None
    for name in ("params_", "loglik_", "starts_"):
        with pytest.raises(AttributeError):
            setattr(model, name, None)
        assert not hasattr(SoftmaxMoERegressor(), name)


def test_nothing_changes_it(model):
    again = SoftmaxMoERegressor(2, random_state=0).fit(X, Y)
    fit, before = again.fitted_, again.predict(X)
    with pytest.raises(FrozenInstanceError):
        fit.params = None
    again.set_params(n_experts=1).fit(X, Y)
    np.testing.assert_array_equal(fit.predict(X), before)
    assert again.fitted_ is not fit and fit != model.fitted_ and fit == fit
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fit)).predict(X), before)


def test_functions_take_it(model):
    fit, one = model.fitted_, SoftmaxMoERegressor(2, gate_features=[], random_state=0).fit(X, Y)
    assert str(diagnose(fit, X, Y)) == str(diagnose(model, X, Y))
    assert str(compare_fits([fit, one])) == str(compare_fits([model, one.fitted_]))
    assert likelihood_ratio_test(one.fitted_, fit, X, Y) == likelihood_ratio_test(one, model, X, Y)
    np.testing.assert_array_equal(crps(fit, X, Y), crps(model, X, Y))
    assert repr(Truth.from_estimator(fit)) == repr(Truth.from_estimator(model))


def test_what_fits_again_needs_the_estimator(model):
    for refit in (bootstrap, dendrogram, lambda *args: merge_experts(args[0], 0, 1, *args[1:])):
        with pytest.raises(TypeError, match="must be an estimator, which can be fitted again"):
            refit(model.fitted_, X, Y)


def test_new_rows_are_compared_in_the_words_of_scikit_learn(model):
    for answering in (model, model.fitted_):
        with pytest.raises(ValueError, match="SoftmaxMoERegressor is expecting 1 features"):
            answering.predict(np.hstack([X, X]))
    with pytest.raises(NotFittedError, match="This SoftmaxMoERegressor instance is not fitted yet"):
        SoftmaxMoERegressor().predict(X)


def test_threads_may_be_set_after_the_fit(model):
    other = pickle.loads(pickle.dumps(model)).set_params(n_jobs=2)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    with pytest.raises(ValueError, match="n_jobs must be"):
        other.set_params(n_jobs=0).predict(X)


GATES = [
    (SoftmaxMoERegressor(), SoftmaxGate, set()),
    (TopKMoERegressor(top_k=1), TopKGate, {"top_k", "rank_by", "balance"}),
    (DenseToSparseMoERegressor(), DenseToSparseGate, {"temperature", "activation", "anneal"}),
    (
        DenseToSparseMoERegressor(activation="tanh"),
        ActivationDenseToSparseGate,
        {"temperature", "activation", "anneal"},
    ),
]


@pytest.mark.parametrize("estimator, gate, own", GATES)
def test_estimators_of_one_gate_have_its_settings_in_its_place(estimator, gate, own):
    assert type(estimator.gate) is gate
    assert set(estimator.get_params(deep=False)) == set(MoERegressor().get_params()) - {"gate"} | own
    first, *rest = inspect.signature(type(estimator)).parameters.values()
    assert first.name == "n_experts" and first.kind is first.POSITIONAL_OR_KEYWORD
    assert all(one.kind is one.KEYWORD_ONLY for one in rest)
    with pytest.raises(TypeError, match="gate"):
        type(estimator)(gate="softmax")


@pytest.mark.parametrize("name", ["predict", "loglik", "summary"])
def test_signatures_are_those_of_methods(model, name):
    bound = getattr(model, name)
    wrapper = functools.wraps(bound)(lambda *args, **settings: bound(*args, **settings))
    kept = list(inspect.signature(bound).parameters)
    assert list(inspect.signature(getattr(MoERegressor, name)).parameters) == ["self", *kept]
    assert list(inspect.signature(wrapper).parameters) == kept
    assert bound.__name__ == name and len(inspect.getdoc(bound)) > 20


def test_without_docstrings():
    names = [name for name in smoe.__all__ if isinstance(getattr(smoe, name), type)]
    code = f"import smoe; print(*(getattr(smoe, name)() for name in {names}), sep='; ')"
    out = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "; ".join(f"{name}()" for name in names)
