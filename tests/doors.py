"""Every public callable with arguments that make sense, for tests that put wrong ones in their place."""

import functools
import inspect
import os
import tempfile
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

import smoe
from simulation.studies import T0
from smoe import (
    constraints,
    datasets,
    diagnostics,
    experts,
    features,
    gates,
    inference,
    penalties,
    plots,
    selection,
    simulation,
    solvers,
    starts,
    tables,
)
from smoe import params as parameters
from smoe.simulation import papers

N = 40
RNG = np.random.default_rng(0)
X = np.column_stack([np.linspace(-1, 1, N), RNG.normal(size=N)])
Y = np.where(RNG.random(N) < 0.5 + 0.3 * X[:, 0], 3 + 2 * X[:, 1], -3 - X[:, 1]) + 0.3 * RNG.normal(size=N)
DATA = {"X": X, "y": Y}
CLASSES = np.where(X[:, 0] + RNG.normal(size=N) > 0, "yes", "no")
COUNTED = {"X": X, "y": RNG.poisson(np.exp(1.0 + X[:, 0]))}
TINY = {"n_experts": 2, "n_init": 2, "max_iter": 5, "random_state": 0}


def quiet(function):
    """The same function without the warnings of fits that are cut short, and its signature."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)

    return call


@functools.cache
def fitted(kind=smoe.SoftmaxMoERegressor):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return kind(2, n_init=4, random_state=0).fit(X, Y)


@functools.cache
def counts():
    return quiet(smoe.MoERegressor(2, expert="poisson", n_init=4, random_state=0).fit)(**COUNTED)


@functools.cache
def selected():
    model = smoe.MoERegressorSelect(smoe.SoftmaxMoERegressor(n_init=2, random_state=0), n_experts=(1, 2))
    return quiet(model.fit)(X, Y)


@functools.cache
def path():
    return quiet(selection.elastic_net_path)(smoe.MoERegressor(1, n_init=1), X, Y, n_alphas=2)


@functools.cache
def resampled():
    return quiet(inference.bootstrap)(fitted(), X, Y, n_resamples=3, random_state=0)


@functools.cache
def tree():
    return quiet(selection.dendrogram)(fitted(), X, Y)


@functools.cache
def in_a_tree():
    return quiet(smoe.MoERegressor(3, gate="tree", n_init=2, random_state=0).fit)(X, Y)


@functools.cache
def diagnosis():
    return fitted().diagnose(X, Y)


@functools.cache
def classified():
    return quiet(smoe.MoEClassifier(2, n_init=4, random_state=0).fit)(X, CLASSES)


def record(n, replication):
    losses = {"D1": (1 + 0.1 * replication) / n**0.5}
    return simulation.Record(
        n, replication, [0, n, replication], None, 0.0, 0.0, 0.0, 1, True, "converged", 0.1, losses
    )


TRUTH = simulation.Truth("softmax", T0)
RECORDS = [record(n, r) for n in (100, 1000, 10000) for r in range(3)]
RESULT = simulation.StudyResult(RECORDS)
SLOPES = {"loglik": [-900.0, -500, -400, -397, -394, -391, -388], "df": [3.0, 8, 13, 18, 23, 28, 33]}


def built(kind, y=Y):
    """Make an estimator with settings and fit it: `__init__` stores what it gets, `fit` looks at it."""

    def fit(**settings):
        return kind(**settings).fit(X, y)

    fit.__signature__ = inspect.signature(kind)
    return quiet(fit)


def part(kind, argument, estimator=smoe.MoERegressor, **fixed):
    """Make a gate, a family, a solver or a start, and fit with it from one start: nothing is asked of a search."""

    def fit(**settings):
        return estimator(**{**TINY, "n_init": 1, **fixed, argument: kind(**settings)}).fit(X, Y)

    fit.__signature__ = inspect.signature(kind)
    return quiet(fit)


def settings():
    """Yield name, callable, arguments that make sense, and which to replace if not all; the other groups do so too."""
    yield "MoERegressor", built(smoe.MoERegressor), TINY
    yield "SoftmaxMoERegressor", built(smoe.SoftmaxMoERegressor), TINY, ("n_experts", "n_init")
    top_k, warm = ("n_experts", "top_k", "rank_by", "balance"), ("temperature", "activation", "anneal")
    yield "TopKMoERegressor", built(smoe.TopKMoERegressor), {**TINY, "n_init": 1}, top_k
    yield "DenseToSparseMoERegressor", built(smoe.DenseToSparseMoERegressor), TINY, warm
    one = {"estimator": smoe.SoftmaxMoERegressor(**TINY), "n_experts": (1,)}
    yield "MoERegressorSelect", built(smoe.MoERegressorSelect), one
    few = {"estimator": smoe.MoERegressor(1, n_init=1, max_iter=5), "n_alphas": 1}
    yield "MoERegressorPath", built(smoe.MoERegressorPath), few, ("criterion",)
    classes = {"estimator": smoe.MoEClassifier(1, n_init=1, max_iter=5), "n_alphas": 1}
    yield "MoEClassifierPath", built(smoe.MoEClassifierPath, CLASSES), classes, ("criterion",)
    yield "MoERegressor.fit", quiet(smoe.MoERegressor(**TINY).fit), DATA
    yield "MoERegressor.partial_fit", quiet(smoe.MoERegressor(**TINY).partial_fit), DATA
    yield "JointGaussianMoERegressor", built(smoe.JointGaussianMoERegressor), {**TINY, "n_init": 1}, ("covariance",)
    for gate, kind in gates.GATES.items():
        yield f"gate {gate}", part(kind, "gate"), {}
    yield "MoEClassifier", built(smoe.MoEClassifier, CLASSES), TINY, ("n_experts", "pull", "class_weight")
    yield (
        "MoEClassifierSelect",
        built(smoe.MoEClassifierSelect, CLASSES),
        {"n_experts": (1,)},
        ("estimator", "n_experts"),
    )
    for expert, kind in experts.EXPERTS.items():
        if kind().support.kind != "classes":
            yield f"expert {expert}", part(kind, "expert"), {}
    for start, kind in starts.STARTS.items():
        yield f"start {start}", part(kind, "start"), {}
    yield "Constraints", part(constraints.Constraints, "constraints"), {"shared": [0]}
    yield "FromParams", part(starts.FromParams, "start"), {"params": fitted().params_}
    for solver in (solvers.EM, solvers.EMNewton, solvers.LBFGS, solvers.Newton):
        yield solver.__name__, part(solver, "solver"), {"max_iter": 3}
    lasso = penalties.ElasticNet(0.1, 0.1)
    yield "ProximalNewton", part(solvers.ProximalNewton, "solver", penalty=lasso), {"max_iter": 3}
    yield "SupportSearch", part(solvers.SupportSearch, "solver", gate=gates.TopKGate(1)), {"max_iter": 3}
    yield "Annealing", part(solvers.Annealing, "anneal", smoe.DenseToSparseMoERegressor), {"n_em": 1, "max_iter": 3}


def methods_of_models():
    model = fitted()
    for name in ("predict", "predict_distribution", "gate_proba", "expert_predict", "predict_expert", "expert_load"):
        yield name, getattr(model, name), {"X": X}
    yield "sample", model.sample, {"X": X}
    path = os.path.join(tempfile.mkdtemp(), "means.npy")
    yield "predict_to", quiet(smoe.MoERegressor(**TINY).fit)(X, Y).predict_to, {"X": X, "path": path}, ("X",)
    yield "predict_quantiles", model.predict_quantiles, {"X": X, "q": 0.5}
    yield "predict_interval", model.predict_interval, {"X": X}
    two = np.column_stack([X[:, 0] ** 2, DATA["y"]])
    vectors = smoe.MoERegressor(1, expert="multivariate_gaussian", n_init=1).fit(X, two)
    yield "predict_given", vectors.predict_given, {"X": X, "values": {0: 1.0}}
    rows = {"X": np.column_stack([X, np.arange(N) // 3]), "y": DATA["y"]}
    panel = smoe.MoERegressor(1, gate_features=[], group_feature=-1, n_init=1).fit(*rows.values())
    yield "group_responsibilities", quiet(panel.group_responsibilities), rows
    for name in ("responsibilities", "score_samples", "loglik", "aic", "bic", "icl", "diagnose", "score"):
        yield name, quiet(getattr(model, name)), DATA
    yield "covariance", quiet(model.covariance), {"kind": "sandwich", **DATA}
    yield "covariance by groups", quiet(model.covariance), {"kind": "cluster", "groups": np.arange(N) % 12, **DATA}
    yield "delta_method", quiet(model.delta_method), {"function": lambda params: params.expert.coef}
    yield "mean_interval", quiet(model.mean_interval), {"X": X}
    yield "wald_test", quiet(model.wald_test), {"R": "expert 0: x0"}
    yield "summary", model.summary, {}
    yield "conf_int", model.conf_int, {}
    yield "save", model.save, {"path": os.devnull}, ("none: a word would be a file",)
    yield "expert_profile", model.expert_profile, {"X": X}
    yield "standardised_gate_coef", model.standardised_gate_coef, {"X": X}
    yield "MoERegressorSelect.predict", selected().predict, {"X": X}
    for name in ("predict", "predict_proba", "predict_log_proba", "expert_predict_proba"):
        yield f"MoEClassifier.{name}", getattr(classified(), name), {"X": X}


def methods_of_distributions():
    mixture = fitted().predict_distribution(X)
    regions = mixture.hdr(0.5)
    for name in ("pdf", "logpdf", "cdf", "sf", "logcdf", "logsf"):
        yield name, getattr(mixture, name), {"y": 0.0}
    for name in ("ppf", "isf"):
        yield name, getattr(mixture, name), {"q": 0.5}
    for name in ("interval", "hdr"):
        yield name, getattr(mixture, name), {"coverage": 0.5}
    yield "ConditionalMixture.sample", mixture.sample, {}
    yield "HighestDensityRegions.of", regions.of, {"i": 0}
    yield "HighestDensityRegions.contains", regions.contains, {"y": Y}


def functions():
    model, found = {"model": fitted(), **DATA}, fitted().covariance()
    yield "bootstrap", quiet(inference.bootstrap), {**model, "n_resamples": 2}
    yield (
        "bootstrap of cases",
        quiet(inference.bootstrap),
        {**model, "n_resamples": 2, "kind": "case"},
        ("sample_weight", "groups"),
    )
    for name, arguments in {
        "interval": {},
        "to_frame": {},
        "statistic": {"function": len},
        "replicate": {"i": 0},
    }.items():
        yield f"BootstrapResult.{name}", quiet(getattr(resampled(), name)), arguments
    yield "equal_coefficients", inference.equal_coefficients, {"covariance": found, "i": 0, "j": 1}
    yield "no_effect", inference.no_effect, {"covariance": found, "column": "x0"}
    fewer = quiet(smoe.SoftmaxMoERegressor(2, gate_features=[], n_init=4, random_state=0).fit)(X, Y)
    test = {"restricted": fewer, "full": fitted(), **DATA}
    yield "likelihood_ratio_test", quiet(inference.likelihood_ratio_test), test
    one = quiet(smoe.SoftmaxMoERegressor(1, n_init=2, random_state=0).fit)(X, Y)
    own = ("model", "n_resamples", "sample_weight", "random_state", "n_jobs")
    yield "n_experts_test", quiet(selection.n_experts_test), {**model, "model": one, "n_resamples": 1}, own
    yield "diagnose", quiet(diagnostics.diagnose), model
    yield "calibration", diagnostics.calibration, {"model": classified(), "X": X, "y": CLASSES}
    yield "rootogram", diagnostics.rootogram, {"model": counts(), **COUNTED}
    yield "marginal_effects", inference.marginal_effects, {"model": fitted(), "X": X, "features": None}
    yield "membership", inference.membership, {"model": fitted(), **DATA}
    yield "classification_table", inference.classification_table, {"model": fitted(), **DATA}
    yield "compare_fits", inference.compare_fits, {"models": [fitted(), fitted()]}
    chosen = {"estimator": smoe.SoftmaxMoERegressor(n_init=2, max_iter=5, random_state=0), "n_experts": (1,)}
    yield "select_n_experts", quiet(selection.select_n_experts), {**chosen, **DATA}
    folds = {**chosen, **DATA, "criterion": "cv", "cv": 2}
    yield "select_n_experts by folds", quiet(selection.select_n_experts), folds, ("cv", "sample_weight")
    few = {"estimator": smoe.MoERegressor(1, n_init=1, max_iter=5), "n_alphas": 1, "eps": 0.5, **DATA}
    own = ("estimator", "alphas", "n_alphas", "eps", "criterion", "relax", "one_se", "cv")
    yield "elastic_net_path", quiet(selection.elastic_net_path), few, own
    yield "slope_heuristic", selection.slope_heuristic, SLOPES
    yield "dendrogram", quiet(selection.dendrogram), model
    yield "Dendrogram.cut", tree().cut, {}
    yield "Dendrogram.refit", quiet(tree().refit), DATA
    yield "merge_experts", quiet(selection.merge_experts), {**model, "i": 0, "j": 1}
    yield "drop_expert", quiet(selection.drop_expert), {**model, "i": 0}
    for name in [name for name in datasets.__all__ if name.startswith("load")]:
        yield name, getattr(datasets, name), {}
    yield "make_moe", datasets.make_moe, {"n_samples": 30, "min_share": 0.0}
    yield "make_moe of params", datasets.make_moe, {"n_samples": 30, "params": T0}
    yield "flatten", parameters.flatten, {"params": T0}
    yield "unflatten", parameters.unflatten, {"flat": parameters.flatten(T0), "like": T0}
    yield "permute", parameters.permute, {"params": T0, "order": [1, 0]}
    choice = {"X": X, "names": ["a", "b"], "n_features": 2, "argument": "spec"}
    yield "choose_columns", lambda spec: features.choose_columns(spec, **choice), {"spec": [0]}
    yield "load", smoe.load, {"path": "nowhere.json"}
    yield "show_versions", smoe.show_versions, {}
    yield "read_columns", lambda path: tables.read_columns(path, "y"), {"path": "nowhere.csv"}


def simulations():
    yield "Truth", simulation.Truth, {"model": "softmax", "params": T0}
    yield "Truth.from_estimator", simulation.Truth.from_estimator, {"estimator": fitted()}
    yield "Truth.draw", TRUTH.draw, {"n": 5, "rng": 0}
    yield "Truth.draw_covariates", TRUTH.draw_covariates, {"n": 5, "rng": 0}
    yield "Truth.loglik", TRUTH.loglik, {"X": X[:, :1], "y": Y}
    yield "near_truth", simulation.near_truth, {"truth": TRUTH, "n_experts": 3, "n": 50, "rng": 0}
    pair = {"fitted": T0, "true": T0}
    yield "voronoi_cells", simulation.voronoi_cells, pair
    yield "voronoi_loss", simulation.voronoi_loss, pair
    yield "parameter_errors", simulation.parameter_errors, pair
    yield "rbar", simulation.rbar, {"m": 2}
    yield "density_error", simulation.density_error, {"fitted": T0, "truth": TRUTH, "n_covariates": 8}
    lists = {side: {name: f.tolist() for name, f in part._asdict().items()} for side, part in T0._asdict().items()}
    yield "selected_experts", simulation.selected_experts, {"fitted": T0, "truth": TRUTH}
    yield "as_params", simulation.as_params, {"parameters": lists, "model": TRUTH.model}
    small = simulation.ConvergenceStudy(TRUTH, solvers.EM(3), [20, 30], 1, start="near_truth")
    study = {"truth": TRUTH, "fitter": solvers.EM(3), "sizes": [20], "n_replications": 1, "start": "near_truth"}
    yield "ConvergenceStudy", simulation.ConvergenceStudy, study
    yield "ComparisonStudy", simulation.ComparisonStudy, {"arms": {"small": small}}
    yield "ConvergenceStudy.run", quiet(lambda n_jobs: small.run(n_jobs)), {"n_jobs": 1}
    yield "ConvergenceStudy.run_cell", quiet(small.run_cell), {"n": 20, "replication": 0}
    yield "StudyResult", simulation.StudyResult, {"records": RECORDS}
    yield "StudyResult.from_store", simulation.StudyResult.from_store, {"path": "nowhere.jsonl"}
    yield "StudyResult.where", RESULT.where, {"keep": bool}
    yield "StudyResult.with_losses", RESULT.with_losses, {"losses": "D1", "truth": TRUTH}
    yield "StudyResult.values", RESULT.values, {"loss": "D1"}
    yield "StudyResult.rate", RESULT.rate, {"loss": "D1", "n_boot": 3}
    yield "StudyResult.summary", quiet(RESULT.summary), {}
    yield "papers.build", quiet(lambda **named: papers.build(**named)), {"name": "softmax-exact"}
    yield "papers.describe", papers.describe, {"name": "softmax-exact"}


def pictures():
    def closed(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            try:
                return function(*args, **kwargs)
            finally:
                plt.close("all")

        return quiet(call)

    yield "plot_fit", closed(plots.plot_fit), {"estimator": fitted(), "feature": 0, **DATA}
    for name in ("plot_diagnostics", "plot_expert_load", "plot_pit", "plot_residual_qq", "plot_residuals"):
        yield name, closed(getattr(plots, name)), {"diagnosis": diagnosis()}
    yield "plot_rates", closed(plots.plot_rates), {"result": RESULT}, ("result", "losses", "center", "band", "axes")
    yield "plot_selection", closed(plots.plot_selection), {"selection": selected().selection_}
    yield "plot_path", closed(plots.plot_path), {"path": path()}
    yield "plot_coefficients", closed(plots.plot_coefficients), {"estimator": fitted()}
    yield "plot_rootogram", closed(plots.plot_rootogram), {"rootogram": diagnostics.rootogram(counts(), **COUNTED)}
    found = diagnostics.calibration(classified(), X, CLASSES)
    yield "plot_calibration", closed(plots.plot_calibration), {"calibration": found}
    yield "plot_dendrogram", closed(plots.plot_dendrogram), {"tree": tree()}
    yield "plot_tree", closed(plots.plot_tree), {"model": in_a_tree(), "X": X}, ("model", "X", "ax")


GROUPS = [settings, methods_of_models, methods_of_distributions, functions, simulations, pictures]
