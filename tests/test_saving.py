"""Fits come back from files bit for bit; whatever is wrong with a file is said in words, and nothing of it is run."""

import json
import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import smoe
from smoe import families, gates, penalties, saved
from smoe.constraints import Constraints
from smoe.datasets import load_engel
from smoe.experts import EXPERTS
from smoe.plain import decoded, encoded

FILES = Path(__file__).parent / "saved"
RNG = np.random.default_rng(0)
N = 60
X = np.column_stack([np.linspace(-1, 1, N), RNG.normal(size=N)])
Y = np.where(RNG.random(N) < 0.5, 3 + 2 * X[:, 1], -3 - X[:, 1]) + 0.3 * RNG.normal(size=N)
COUNTS = RNG.poisson(2, N).astype(float)
FRAME = pd.DataFrame({"y": Y, "a": X[:, 0], "b": X[:, 1], "c": np.where(X[:, 1] > 0, "u", "v"), "g": np.arange(N) // 3})
FEW = {"n_init": 1, "max_iter": 4, "random_state": 0}
FROZEN = {"coef": [0.0, 0.0], "intercept": 0.0, "variance": 4.0}


def response(expert):
    support = EXPERTS[expert]().support
    if expert == "binomial":
        return (Y > 0) * 1.0
    if support.kind == "vectors":
        return np.column_stack([Y, COUNTS])
    return COUNTS if support.kind == "integers" else np.abs(Y) + 0.1


def cases():
    for gate in gates.GATES:
        yield f"gate {gate}", smoe.MoERegressor(3, gate=gate, **FEW), X, Y
    for expert, make in EXPERTS.items():
        if make().support.kind == "classes":
            yield f"{expert}", smoe.MoEClassifier(2, expert=expert, **FEW), X, np.where(Y > 0, "yes", "no")
        else:
            yield f"{expert}", smoe.MoERegressor(2, expert=expert, **FEW), X, response(expert)
    for penalty in penalties.PENALTIES:
        if penalty != "keep_zeros":
            yield f"penalty {penalty}", smoe.MoERegressor(2, penalty=penalty, **FEW), X, Y
    numbers = smoe.MoEClassifier(np.int64(2), class_weight={0: 1.0, 1: 2.0}, pull=np.float32(0.5), **FEW)
    yield "numbers of NumPy", numbers, X, (Y > 0).astype(int)
    yield "booleans", smoe.MoEClassifier(2, **FEW), X, Y > 0
    yield "joint", smoe.JointGaussianMoERegressor(2, **FEW), X, Y
    yield "joint of two", smoe.JointGaussianMoERegressor(2, **FEW), X, np.column_stack([Y, COUNTS])
    shared = Constraints(shared=[0], fixed={1: 0.5})
    yield "constraints", smoe.MoERegressor(2, constraints=shared, **FEW), X, Y
    yield "known experts", smoe.MoERegressor(3, constraints=Constraints(frozen=[FROZEN]), **FEW), X, Y
    yield "top-K", smoe.TopKMoERegressor(3, top_k=2, **FEW), X, Y
    yield "dense to sparse", smoe.DenseToSparseMoERegressor(3, **FEW), X, Y
    box_cox = families.TransformedGaussian("sqrt")
    yield "a family with settings", smoe.MoERegressor(2, expert=box_cox, **FEW), X, np.abs(Y) + 0.1
    yield "a certified one", smoe.MoERegressor(2, random_state=0), X, Y
    by_name = smoe.MoERegressor(2, gate_features=["b"], expert_features=slice(0, 2), **FEW)
    yield "names", by_name, FRAME[["a", "b"]], FRAME["y"]
    panel = smoe.MoERegressor(2, group_feature="g", gate_features=[], **FEW)
    yield "panel", panel, FRAME[["a", "g"]], FRAME["y"]
    formula = "y ~ bs(a, df=4) * C(c, contr.sum) + center(b) + np.exp(a) + group(g) | 1"
    yield "formula", smoe.MoERegressor(2, formula=formula, **FEW), FRAME, None


def fitted(model, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y)


def same(a, b):
    """Whether two arrays, or the parts of two tuples, are equal bit for bit, of one kind."""
    if isinstance(a, tuple):
        return type(a) is type(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype.kind == b.dtype.kind and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case[0])
def test_a_loaded_fit_answers_as_the_one_that_was_saved(case, tmp_path):
    _, model, X, y = case
    model, path = fitted(model, X, y), tmp_path / "fit.json"
    model.save(path)
    found = smoe.load(path)
    assert type(found) is type(model) and found.status_ == model.status_ and found.converged_ == model.converged_
    assert same(found.predict(X), model.predict(X)) and same(found.params_, model.params_)
    assert same(found.gate_proba(X), model.gate_proba(X)) and str(found.summary()) == str(model.summary())
    assert same(found.covariance_, model.covariance_) if model.converged_ else found.covariance_ is None
    if isinstance(model, smoe.MoEClassifier):
        assert same(found.classes_, model.classes_) and type(found.classes_[0]) is type(model.classes_[0])
        assert same(found.predict_proba(X), model.predict_proba(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few rows
        y = FRAME["y"] if y is None else y
        assert same(found.score_samples(X, y), model.score_samples(X, y))
    names = getattr(model, "feature_names_in_", None)
    assert (names is None) == (not hasattr(found, "feature_names_in_"))
    assert names is None or list(names) == list(found.feature_names_in_)
    found.save(again := tmp_path / "again.json")
    assert again.read_bytes() == path.read_bytes()


def test_a_distribution_of_a_loaded_fit(tmp_path):
    model = fitted(smoe.MoERegressor(2, **FEW), X, Y)
    model.save(tmp_path / "fit.json")
    one, other = (m.predict_distribution(X) for m in (model, smoe.load(tmp_path / "fit.json")))
    assert same(one.ppf(0.3), other.ppf(0.3)) and same(one.logpdf(0.1), other.logpdf(0.1))


@pytest.mark.parametrize("value", [-0.0, 0.1, 5e-324, np.pi * 1e300, np.nan, -np.inf, np.array([np.nan, np.inf, -0.0])])
def test_numbers_come_back_bit_for_bit(value):
    text = json.dumps(encoded(value, {}), allow_nan=False)
    assert np.asarray(decoded(json.loads(text), {})).tobytes() == np.asarray(value).tobytes()


def document(tmp_path):
    path = tmp_path / "fit.json"
    fitted(smoe.MoERegressor(2, formula="y ~ center(a) + C(c) | b", **FEW), FRAME, None).save(path)
    return path, json.loads(path.read_text())


def rewritten(path, changed):
    """Write a changed file as somebody would who knows of the digest."""
    changed["digest"] = saved._digest(changed)
    path.write_text(json.dumps(changed))
    return path


def test_files_that_are_no_fits_are_refused_in_words(tmp_path):
    path, found = document(tmp_path)
    text = path.read_text()
    for wrong, words in [
        ("", "no JSON, or is cut off"),
        (text[: len(text) // 2], "no JSON, or is cut off"),
        ("[1]", "no fit that smoe has saved"),
        ("[" * 100_000, "no JSON, or is cut off"),
        (text.replace('"rows": 60.0', '"rows": 61.0'), "changed or damaged"),
        (text.replace('"rows": 60.0', '"rows": NaN'), "NaN is no JSON"),
        (text.replace('"version": 1', '"version": 2'), "of format 2, from smoe"),
        (text.replace('"version": 1', '"version": true'), "no version"),
    ]:
        (tmp_path / "wrong.json").write_text(wrong)
        with pytest.raises(ValueError, match=words):
            smoe.load(tmp_path / "wrong.json")
    found["model"]["gate"] = {"class": "Popen", "args": ["touch", "x"]}
    with pytest.raises(ValueError, match="gate is of class 'Popen', which this version of smoe does not know"):
        smoe.load(rewritten(path, found))


def test_formulas_from_files_are_no_code(tmp_path):
    path, found = document(tmp_path)
    evil = "y ~ center(a) + C(c) + I(open('x', 'w')) | b"
    found["model"]["learnt"]["fitted_"]["columns"]["design"]["formula"] = evil
    with pytest.raises(ValueError, match="files keep no code"):
        smoe.load(rewritten(path, found))
    model = fitted(smoe.MoERegressor(2, formula="y ~ a.clip(0) | b", **FEW), FRAME, None)
    with pytest.raises(TypeError, match="make a column of it"):
        model.save(path)


def test_what_is_no_data_is_named_when_it_is_saved(tmp_path):
    path, rng = tmp_path / "fit.json", np.random.default_rng(0)
    path.write_text("before")
    for settings in ({"random_state": rng}, {"gate_features": lambda X: [0]}):
        model = fitted(smoe.MoERegressor(2, **{**FEW, **settings}), X, Y)
        with pytest.raises(TypeError, match=rf"^{[*settings][0]} is .* model.set_params"):
            model.save(path)
    assert path.read_text() == "before"
    with pytest.raises(TypeError, match="path must be a string or a path"):
        fitted(smoe.MoERegressor(2, **FEW), X, Y).save(3)


def places(value, at=()):
    """Every place in a document."""
    yield at
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(one, (*at, key))


def test_whatever_is_changed_in_a_file_the_answer_is_a_fit_or_words(tmp_path):
    path, found = document(tmp_path)
    where = [at for at in places(found["model"]) if at]
    others = [
        None,
        True,
        -1,
        1e308,
        "x",
        [],
        {},
        {"class": "MoEParams"},
        {"tuple": []},
        {"float": "nan"},
        {"name": "x"},
    ]
    rng, refused = np.random.default_rng(1), 0
    for at in [where[i] for i in rng.choice(len(where), 120, replace=False)]:
        changed = deepcopy(found)
        inner = changed["model"]
        for key in at[:-1]:
            inner = inner[key]
        inner[at[-1]] = others[rng.integers(len(others))]
        try:
            assert type(smoe.load(rewritten(path, changed))).__name__.startswith("MoE")
        except ValueError as error:
            refused += "holds no fit that this version of smoe can read" in str(error)
    assert refused > 40


def test_the_best_of_a_selection_is_saved(tmp_path):
    found = fitted(smoe.MoERegressorSelect(smoe.MoERegressor(**FEW), n_experts=(1, 2)), X, Y)
    found.save(tmp_path / "fit.json")
    assert same(smoe.load(tmp_path / "fit.json").predict(X), found.predict(X))


def test_a_file_of_0_1_is_read():
    X, y = load_engel(return_X_y=True)
    found, numbers = smoe.load(FILES / "engel-0.1.json"), json.loads((FILES / "engel-0.1.json").read_text())
    assert found.converged_ and found.loglik_ == numbers["loglik"]
    assert found.loglik(X, y) == pytest.approx(numbers["loglik"], rel=1e-12)
    np.testing.assert_array_equal(found.expert_coef_, numbers["params"]["expert"]["coef"])
    assert "kept no covariance" in str(found.summary()) and np.isnan(found.standard_errors_.expert.coef).all()


def test_a_file_of_format_1_is_read():
    """Written once, never again: what later versions must read."""
    X, y = load_engel(return_X_y=True)
    found = smoe.load(FILES / "engel-format-1.json")
    wanted = json.loads((FILES / "engel-format-1-answers.json").read_text())
    np.testing.assert_allclose(found.predict(X[:5]), wanted["predict"], rtol=1e-13)
    np.testing.assert_allclose(found.predict_interval(X[:5]), wanted["predict_interval"], rtol=1e-9)
    assert found.loglik(X, y) == pytest.approx(wanted["loglik"], rel=1e-13)
    assert str(found.summary()) == wanted["summary"]
