"""What is refused, or taken, at the door: one fact each. `test_doors` goes through all arguments."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from doors import RESULT, TINY, TRUTH, N, X, Y, fitted, record, selected
from helpers import quietly
from simulation.studies import T0
from smoe import DenseToSparseMoERegressor, MoERegressor, MoERegressorSelect, SoftmaxMoERegressor, TopKMoERegressor
from smoe.datasets import make_moe
from smoe.diagnostics import diagnose
from smoe.features import choose_columns
from smoe.gates import TopKGate
from smoe.inference import bootstrap, likelihood_ratio_test, no_effect
from smoe.params import flatten, permute, unflatten
from smoe.plots import plot_diagnostics, plot_fit, plot_selection
from smoe.selection import dendrogram, select_n_experts, slope_heuristic
from smoe.simulation import StudyResult, Truth, density_error, near_truth, parameter_errors, voronoi_cells, voronoi_loss
from smoe.solvers import EM, Annealing, EMNewton, SupportSearch
from smoe.tables import read_columns
from smoe.validation import check_generator


def small(**settings):
    return MoERegressor(**{**TINY, **settings})


def refused(error, words, function, *args, **kwargs):
    with pytest.raises(error, match=words):
        quietly(function, *args, **kwargs)


# The response --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["loglik", "aic", "bic", "icl", "responsibilities", "diagnose", "score_samples"])
def test_no_response_is_no_response_of_zeros(method):
    refused((TypeError, ValueError), "y is None", getattr(fitted(), method), X, None)


@pytest.mark.parametrize("function", [dendrogram, diagnose, bootstrap])
def test_no_response_for_functions(function):
    refused(ValueError, "y is None: pass the response", function, fitted(), X, None)


def test_the_density_of_a_pipeline_needs_its_last_step():
    pipeline = quietly(make_pipeline(StandardScaler(), small()).fit, X, Y)
    for model in (pipeline, fitted()):
        with pytest.raises(ValueError, match=r"pipeline\[-1\]\.score_samples.*predict_distribution"):
            model.score_samples(X)
    inner = pipeline[:-1].transform(X)
    np.testing.assert_allclose(pipeline[-1].score_samples(inner, Y).sum(), pipeline[-1].loglik_, rtol=1e-9)


HOLES = [None, pd.NA, np.nan, pd.NaT]


@pytest.mark.parametrize("hole", HOLES, ids=str)
@pytest.mark.parametrize("method", ["fit", "loglik", "score_samples", "responsibilities", "diagnose"])
def test_a_missing_response_in_a_column_of_objects(method, hole):
    y = Y.astype(object)
    y[3] = hole
    model = small() if method == "fit" else fitted()
    for column in (y, pd.Series(y), y.tolist()):
        refused(ValueError, "y contains NaN", getattr(model, method), X, column)
    refused(ValueError, "y contains NaN", TRUTH.loglik, X[:, :1], y)
    refused(ValueError, "y contains NaN", select_n_experts, small(), X, y, (1, 2))


def test_objects_that_are_numbers_are_numbers():
    assert (
        fitted().loglik(X, Y.astype(object))
        == fitted().loglik(X, Y)
        == fitted().loglik(X, pd.Series(Y, dtype="Float64"))
    )


@pytest.mark.parametrize(
    "y, kind",
    [
        (np.array(["low", "high"])[(Y > 0).astype(int)], "strings"),
        (pd.Series(np.where(Y > 0, "a", "b")), "strings"),
        (pd.Series(np.where(Y > 0, "a", "b"), dtype="category"), "categories"),
        (Y > 0, "booleans"),
        (pd.Series(Y > 0, dtype="boolean"), "booleans"),
        ((Y > 0).tolist(), "booleans"),
        (np.full(N, np.datetime64("2020-01-01")), "dates"),
    ],
)
def test_a_response_that_is_no_numbers(y, kind):
    words = f"y holds {kind}.*: Gaussian experts are for continuous responses; for counts there is expert='poisson'"
    refused(ValueError, words, small().fit, X, y)
    refused(ValueError, words, fitted().loglik, X, y)


@pytest.mark.parametrize(
    "y, remark",
    [
        (np.where(Y > 0, 1.0, 0.0), "y takes 2 values"),
        (np.round(Y / 2), "y takes [0-9]+ values"),
        (np.where(np.arange(N) % 2, 0.0, Y), f"{N // 2} of {N} responses are exactly 0"),
    ],
)
def test_a_response_that_is_not_continuous_is_named(y, remark):
    found = quietly(MoERegressor(2, random_state=0).fit, X, y).diagnose(X, y)
    assert any(re.match(f"{remark}: Gaussian experts are for continuous", p) for p in found.problems)
    assert "responses" not in " ".join(fitted().diagnose(X, Y).problems)


def test_the_status_of_a_collapsed_fit_names_the_response():
    model = quietly(MoERegressor(1, random_state=0).fit, X, np.ones(N))
    assert "variance at its floor" in model.status_ and "y takes 1 value: Gaussian experts" in model.status_
    line = quietly(MoERegressor(1, random_state=0).fit, X, X @ [1.0, 2.0])  # continuous, and collapsed all the same
    assert "variance at its floor" in line.status_ and "y takes" not in line.status_


# Rows ----------------------------------------------------------------------------------------------------------------


def test_groups_without_a_label():
    dates = pd.to_datetime([None, "2020"] * (N // 2))
    words = "groups has NaN or NaT"
    refused(ValueError, words, fitted().covariance, "cluster", X, Y, groups=dates)
    refused(ValueError, words, bootstrap, fitted(), X, Y, 2, "case", groups=dates)


def test_masked_entries():
    mask = np.arange(N) == 3
    refused(ValueError, "y has masked entries", small().fit, X, np.ma.array(Y, mask=mask))
    refused(ValueError, "y has masked entries", fitted().loglik, X, np.ma.array(Y, mask=mask))
    refused(ValueError, "X has masked entries", small().fit, np.ma.array(X, mask=np.column_stack([mask, mask])), Y)
    refused(ValueError, "sample_weight has masked entries", small().fit, X, Y, np.ma.array(np.ones(N), mask=mask))
    assert quietly(small().fit, np.ma.array(X), np.ma.array(Y)).loglik_ == quietly(small().fit, X, Y).loglik_


def test_two_columns_of_one_name():
    frame = pd.DataFrame(X, columns=["a", "a"])
    refused(ValueError, "X has more than one column 'a'", small().fit, frame, Y)


@pytest.mark.parametrize("weight", [1e303, 1e306, 1e307, 1e308])
def test_weights_whose_sum_overflows(weight):
    words = "sample_weight must add up to less than 1e\\+303"
    refused(ValueError, words, small().fit, X, Y, np.full(N, weight))
    refused(ValueError, words, likelihood_ratio_test, fitted(), fitted(), X, Y, np.full(N, weight))
    refused(ValueError, words, dendrogram, fitted(), X, Y, np.full(N, weight))


def test_columns_to_choose():
    def choose(spec):
        return choose_columns(spec, X, ["a", "b"], 2, "gate_features")

    for mixed in ([True, 0], [0, "a"], ["a", 1], [True, "a"]):
        refused(ValueError, "gate_features must hold indices, names or booleans, not several of these", choose, mixed)
    for columns in (np.array([0, 1], dtype=np.uint64), np.array([0, 1], dtype=np.int8), [0, 1], [np.int16(0), 1]):
        assert choose(columns).dtype == np.int64 and choose(columns).tolist() == [0, 1]
    refused(ValueError, "gate_features=slice.* must be a slice of indices", choose, slice(None, None, 0))


def test_a_distribution_keeps_rows_of_its_own():
    rows = X.copy()
    mixture = fitted().predict_distribution(rows)
    rows[:] = 0.0
    np.testing.assert_array_equal(mixture.mean(), fitted().predict(X))


# Chance --------------------------------------------------------------------------------------------------------------

CHANCES = {
    "fit": lambda chance: flatten(quietly(small(random_state=chance).fit, X, Y).params_),
    "sample": lambda chance: fitted().sample(X, random_state=chance),
    "draws": lambda chance: fitted().predict_distribution(X).sample(3, chance),
    "make_moe": lambda chance: make_moe(20, random_state=chance).target,
    "bootstrap": lambda chance: quietly(bootstrap, fitted(), X, Y, 2, random_state=chance).logliks,
    "select": lambda chance: quietly(select_n_experts, small(), X, Y, (1, 2), random_state=chance).table["loglik"],
    "diagnose": lambda chance: fitted().diagnose(X, Y, chance).residuals,
    "rate": lambda chance: RESULT.rate("D1", n_boot=9, random_state=chance).interval,
    "truth": lambda chance: TRUTH.draw(5, chance)[1],
    "near_truth": lambda chance: flatten(near_truth(TRUTH, 3, 50, chance)),
    "density_error": lambda chance: density_error(near_truth(TRUTH, 2, 9, 0), PLANE, rng=chance, n_covariates=9)[0],
    "lines": lambda chance: (
        quietly(
            TopKMoERegressor(2, top_k=1, n_init=1, random_state=0, solver=SupportSearch(4, random_state=chance)).fit,
            X,
            Y,
        ).loglik_
    ),
}
PLANE = Truth("softmax", T0, lambda n, rng: rng.random((n, 1)))


@pytest.mark.parametrize("name", CHANCES)
@pytest.mark.parametrize(
    "make", [lambda: 7, lambda: np.int64(7), lambda: np.random.RandomState(7), lambda: np.random.default_rng(7)]
)
def test_every_kind_of_chance_is_taken_and_can_be_repeated(name, make):
    np.testing.assert_array_equal(CHANCES[name](make()), CHANCES[name](make()))


@pytest.mark.parametrize("name", [name for name in CHANCES if name != "density_error"])
def test_no_seed_and_no_chance(name):
    CHANCES[name](None)
    for chance in ("seven", 1.5, [1], True):
        refused(
            TypeError,
            "(random_state|rng) must be an int, a numpy Generator or RandomState, or None",
            CHANCES[name],
            chance,
        )
    refused(ValueError, "(random_state|rng) must", CHANCES[name], -1)


def test_generators_go_on_from_where_they_stand():
    rng = np.random.default_rng(0)
    assert check_generator(rng) is rng
    assert not np.array_equal(fitted().sample(X, rng), fitted().sample(X, rng))
    clone = pickle.loads(pickle.dumps(quietly(small(random_state=np.random.default_rng(3)).fit, X, Y)))
    np.testing.assert_array_equal(clone.predict(X), clone.predict(X))


# Settings ------------------------------------------------------------------------------------------------------------


def test_settings_changed_after_the_fit_do_not_matter_to_it():
    model = quietly(SoftmaxMoERegressor(2, n_init=4, random_state=0).fit, X, Y)
    before = str(model.summary()), model.sample(X, 0), model.covariance().matrix
    model.set_params(n_experts=5)
    assert str(model.summary()) == before[0] and before[0].startswith("2 GaussianExperts")
    np.testing.assert_array_equal(model.sample(X, 0), before[1])
    np.testing.assert_array_equal(model.covariance().matrix, before[2])
    np.testing.assert_array_equal(quietly(model.covariance, "sandwich", X, Y).params.expert.coef, model.expert_coef_)


def test_a_refit_that_fails_leaves_the_fit_as_it_was():
    model = quietly(small().fit, X, Y)
    before = dict(vars(model))
    for settings, data in (({"n_experts": N + 1}, X[:, :1]), ({"gate_features": ["a"]}, np.column_stack([X, X]))):
        model.set_params(**settings)
        refused(ValueError, "n_experts|names columns", model.fit, data, Y)
        model.set_params(n_experts=2, gate_features=None)
        assert vars(model).keys() == before.keys() and model.n_features_in_ == 2
    np.testing.assert_array_equal(model.predict(X), quietly(small().fit, X, Y).predict(X))
    unfitted = small(n_experts=N + 1)
    refused(ValueError, "n_experts", unfitted.fit, X, Y)
    refused(NotFittedError, "not fitted", unfitted.predict, X)
    assert not hasattr(unfitted, "n_features_in_")


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"n_jobs": "2"}, "n_jobs must be an integer or None"),
        ({"n_jobs": np.inf}, "n_jobs must be an integer or None"),
        ({"n_jobs": 0}, "n_jobs must be a number of threads"),
        ({"n_jobs": [1]}, "n_jobs must be an integer or None"),
        ({"variance_floor": 10**30}, "variance_floor must be a number"),
        ({"solver": EM(n_halvings=-1)}, "n_halvings must be"),
        ({"solver": EM(n_halvings="a")}, "n_halvings must be"),
        ({"solver": EMNewton(newton_limit="a")}, "newton_limit must be"),
        ({"solver": EMNewton(n_em=-1)}, "n_em must be"),
        ({"gate": TopKGate(1), "solver": SupportSearch(patience=0)}, "patience must be"),
        ({"gate": TopKGate(1), "solver": SupportSearch(patience="a")}, "patience must be"),
        ({"gate": TopKGate(1), "solver": SupportSearch(n_lines=0)}, "n_lines must be"),
        ({"gate": TopKGate(1), "solver": SupportSearch(gain=-1.0)}, "gain must be"),
        ({"gate": TopKGate(1), "solver": SupportSearch(gain=np.nan)}, "gain must be"),
    ],
)
def test_settings_that_make_no_sense(settings, words):
    refused((TypeError, ValueError), words, small(**settings).fit, X, Y)


@pytest.mark.parametrize("max_iter", [0, 1, 2])
def test_no_certificate_unless_lines_were_tried(max_iter):
    model = TopKMoERegressor(2, top_k=1, n_init=3, max_iter=max_iter, random_state=0)
    assert not quietly(model.fit, X, Y).converged_


@pytest.mark.parametrize("bad", [1e200, 10**400, 1e-200, np.inf])
def test_temperatures_whose_square_is_no_number(bad):
    refused(ValueError, "temperature must be a number", DenseToSparseMoERegressor(temperature=bad).fit, X, Y)


@pytest.mark.parametrize(
    "anneal, words", [({"n_em": -1}, "n_em"), ({"solver": "newton"}, "solver"), ({"tau_start": 1e200}, "tau_start")]
)
def test_stages_that_make_no_sense(anneal, words):
    refused(
        (TypeError, ValueError),
        f"anneal: {words} must",
        DenseToSparseMoERegressor(anneal=Annealing(**anneal)).fit,
        X,
        Y,
    )


@pytest.mark.parametrize(
    "pair", [(lambda u: None, lambda u: u), (lambda u: 1 / 0, lambda u: u), (lambda u: 1.0, lambda u: 1.0)]
)
def test_activations_that_return_no_numbers(pair):
    refused((TypeError, ValueError), "activation: ", DenseToSparseMoERegressor(activation=pair).fit, X, Y)


def test_settings_of_names():
    refused(
        ValueError,
        "gate__top_k: gate is 'top_k', which has no settings. Pass an object",
        small(gate="top_k").set_params,
        gate__top_k=1,
    )
    refused(ValueError, "estimator__n_init: estimator is None", MoERegressorSelect().set_params, estimator__n_init=3)
    assert small(gate=TopKGate()).set_params(gate__top_k=1).gate.top_k == 1
    assert small().set_params(gate=TopKGate(), gate__top_k=1).gate.top_k == 1


# Objects and parameters ----------------------------------------------------------------------------------------------


def test_pictures_say_what_to_pass():
    refused(TypeError, r"diagnosis must be .* with X and y; got", plot_diagnostics, fitted())
    pipeline = quietly(make_pipeline(StandardScaler(), small()).fit, X, Y)
    refused(TypeError, r"pipeline\[-1\], and X as that sees it", plot_fit, pipeline, X, Y)
    refused(ValueError, "criteria='dic' is not known; choose", plot_selection, selected(), ["dic"])


def test_objects_of_another_kind():
    refused(TypeError, "truth must be of the class Truth", density_error, T0, T0)
    refused(TypeError, "truth must be of the class Truth", near_truth, T0, 2, 10, 0)
    refused(TypeError, "covariance must be .*what model.covariance", no_effect, np.eye(3), "x0")
    refused(TypeError, "records.* must be of the class Record", StudyResult, [{"n": 3}])
    refused(TypeError, "path must be a string or a path", read_columns, 1, "y")
    refused(ValueError, "i=9: .* has refits 0 to", quietly(bootstrap, fitted(), X, Y, 2, random_state=0).replicate, 9)
    refused(TypeError, "keep must be a function", RESULT.where, 3)
    refused(TypeError, "losses: the name of a loss must be text", RESULT.with_losses, [["D1"]], TRUTH)


@pytest.mark.parametrize("n", [0, -1, 1.5])
def test_a_start_near_the_truth_for_so_many_rows(n):
    refused((TypeError, ValueError), "n must be an integer", near_truth, TRUTH, 2, n, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        T0._replace(expert=T0.expert._replace(variance=-T0.expert.variance)),
        T0._replace(expert=T0.expert._replace(intercept=T0.expert.intercept[:, None])),
        T0._replace(expert=permute(T0.expert, [0, 1, 1])),
        T0._replace(gate=T0.gate._replace(coef=T0.gate.coef[:, 0])),
        T0._replace(gate=T0.gate._replace(intercept=np.zeros(3))),
        T0._replace(expert=type(T0.expert)(np.zeros((0, 1)), np.zeros(0), np.zeros(0))),
    ],
    ids=["variance", "intercept", "3 experts, 2 gate rows", "coef", "3 intercepts", "no experts"],
)
def test_parameters_of_the_wrong_shape(wrong):
    for function in (voronoi_cells, voronoi_loss, parameter_errors):
        refused(ValueError, "fitted.* must (have shape|be positive)", function, wrong, T0)
        refused(ValueError, "true.* must (have shape|be positive)", function, T0, wrong)
    refused(ValueError, "params.*must (have shape|be)", Truth, "softmax", wrong)
    refused(ValueError, "params.*must (have shape|be)", make_moe, 20, params=wrong)


def test_flat_parameters_of_the_wrong_shape():
    refused(TypeError, "params must be MoEParams", flatten, [1.0])
    refused(ValueError, "experts on axis 0", flatten, T0._replace(gate=T0.gate._replace(intercept=np.zeros(3))))
    refused(ValueError, r"flat must have shape \(10,\)", unflatten, np.zeros(9), T0)
    for order in ([0, 2], ["a"], [0.0, 1.0], 1, None):
        refused(ValueError, "order must", permute, T0, order)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"min_share": 0.6}, "min_share=0.6: 2 experts cannot have that share of 100 rows"),
        ({"n_samples": 1}, "min_share=0.05: 2 experts cannot have that share of 1 rows"),
        ({"min_share": -1.0}, "min_share must be"),
        ({"min_share": np.nan}, "min_share must be"),
        ({"gate": TopKGate(3)}, "top_k=3 is larger than n_experts=2"),
        ({"params": {}}, "params must be MoEParams"),
        ({"gate": "top_k", "params": permute(T0, [0])}, "top_k=2 is larger than n_experts=1"),
    ],
)
def test_data_that_cannot_be_made(settings, words):
    refused((TypeError, ValueError), words, make_moe, **{"n_samples": 100, "random_state": 0, **settings})


# Numbers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [-1, np.nan, [], 1.0, "a", None])
def test_summaries_of_a_confidence_that_is_none(confidence):
    refused((TypeError, ValueError), "confidence must", RESULT.summary, confidence=confidence)
    assert "no rate" in StudyResult([record(100, 0)]).summary()


@pytest.mark.parametrize("side", ["loglik", "df"])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_slopes_of_what_is_not_finite(side, bad):
    given = {"loglik": [-900.0, -500, -400, -397, -394, -391], "df": [3.0, 8, 13, 18, 23, 28]}
    given[side] = [*given[side][:-1], bad]
    refused(ValueError, "loglik and df must", slope_heuristic, **given)
