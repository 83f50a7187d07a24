"""Joint fits of x and y: against mixtures of normal laws, naive twins of what is done about missing values, words."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from helpers import sampled
from smoe import JointGaussianMoERegressor, MoERegressor
from smoe.datasets import load_faithful
from smoe.experts import JointGaussianExpert
from smoe.gates import GaussianGate, SoftmaxGate
from smoe.inference import bootstrap, compare_fits
from smoe.mixture import MixtureOfExperts
from smoe.params import flatten, unflatten
from smoe.rows import ArraySource, Blocks, Scaling
from smoe.solvers import EM

KINDS = ("full", "diag", "spherical", "tied", "VEE", "EVI")


def rows(n=60, missing=0.25, q=1, seed=0):
    """Two groups in two features; values of x are missing completely at random, in the first row all of them."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % 2
    X = rng.normal(size=(n, 2)) @ [[1.0, 0.4], [0.0, 0.8]] + group[:, None] * [3.0, -2.0]
    Y = X @ [[1.0, 0.0], [2.0, -1.0]] + 3.0 * group[:, None] + 0.5 * rng.normal(size=(n, 2)) @ [[1.0, 0.6], [0.0, 1.0]]
    X[rng.random(X.shape) < missing] = np.nan
    if missing:
        X[0] = np.nan
    return X, Y[:, 0] if q == 1 else Y


def fitted(X, y, k=2, **settings):
    return JointGaussianMoERegressor(k, random_state=0, **{"start": "kmeans", "n_init": 1} | settings).fit(X, y)


def law(model):
    """Shares, means and covariance matrices of (x, y), multiplied out by hand."""
    out = []
    for alpha, centre, spread, A, b, V in zip(
        model.proportions_,
        model.centres_,
        model.covariances_,
        model.params_.expert.coef,
        model.params_.expert.intercept,
        model.params_.expert.of_y.covariance,
        strict=True,
    ):
        mean = np.r_[centre, A @ centre + b]
        out.append((alpha, mean, np.block([[spread, spread @ A.T], [A @ spread, A @ spread @ A.T + V]])))
    return out


def log_normal(z, there, mean, cov):
    """Log density of some coordinates; of none it is zero."""
    return multivariate_normal(mean[there], cov[np.ix_(there, there)]).logpdf(z[there]) if len(there) else 0.0


def naive_log_density(model, Z):
    """Log densities of what is there of (x, y), row by row."""
    out = []
    for z in Z:
        there = np.flatnonzero(~np.isnan(z))
        out.append(logsumexp([np.log(alpha) + log_normal(z, there, mean, cov) for alpha, mean, cov in law(model)]))
    return np.array(out)


def slopes(f, at, h=1e-5):
    """Differences by each coordinate, (n, ...)."""
    return np.array([(f(at + e) - f(at - e)) / (2 * h) for e in h * np.eye(len(at))])


def naive_mean(model, X, q):
    """Means of y given what is there of x, row by row."""
    out = []
    for x in X:
        there, d = np.flatnonzero(~np.isnan(x)), len(x)
        logs, means = [], []
        for alpha, mean, cov in law(model):
            inner = cov[np.ix_(there, there)]
            logs.append(np.log(alpha) + log_normal(x, there, mean, cov))
            means.append(mean[d:] + cov[d:, there] @ np.linalg.solve(inner, x[there] - mean[there]))
        out.append(np.exp(logs - logsumexp(logs)) @ np.array(means))
    return np.array(out)[:, 0] if q == 1 else np.array(out)


@pytest.mark.parametrize("seed", sampled(range(3)))
def test_the_maximum_is_that_of_a_mixture_of_normal_laws_of_x_and_y(seed):
    X, y = load_faithful(return_X_y=True)
    model = JointGaussianMoERegressor(2, random_state=seed).fit(X, y)
    peer = GaussianMixture(2, n_init=5, tol=1e-9, max_iter=1000, reg_covar=0.0, random_state=0).fit(np.c_[X, y])
    assert model.loglik_ == pytest.approx(272 * peer.score(np.c_[X, y]), abs=1e-5)
    assert model.converged_
    assert model.n_parameters_ == peer._n_parameters()
    assert model.bic_ == pytest.approx(peer.bic(np.c_[X, y]), abs=1e-4)
    order = np.argsort(peer.means_[:, 1])
    for (alpha, mean, cov), i in zip(law(model), order, strict=True):
        assert alpha == pytest.approx(peer.weights_[i], abs=1e-5)
        np.testing.assert_allclose(mean, peer.means_[i], rtol=1e-4)
        np.testing.assert_allclose(cov, peer.covariances_[i], rtol=1e-3)


@pytest.mark.parametrize("kind, q", [*((kind, 1) for kind in KINDS), ("full", 2)])
def test_densities_and_predictions_are_those_of_what_is_observed(kind, q):
    X, y = rows(q=q)
    model = fitted(X, y, covariance=kind)
    assert model.converged_
    joint, of_x, unknown = model.score_samples_joint(X, y), model.score_samples_x(X), np.full((len(X), q), np.nan)
    np.testing.assert_allclose(joint, naive_log_density(model, np.c_[X, y]), rtol=1e-9)
    np.testing.assert_allclose(of_x, naive_log_density(model, np.c_[X, unknown]), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.score_samples(X, y), joint - of_x, atol=1e-8)
    np.testing.assert_allclose(model.predict(X), naive_mean(model, X, q), rtol=1e-8)
    assert model.loglik_ == pytest.approx(joint.sum(), abs=1e-8)
    assert model.loglik_ == pytest.approx(model.loglik(X, y), abs=1e-8)
    assert model.loglik_x_ == pytest.approx(of_x.sum(), abs=1e-8)
    low, high = np.moveaxis(model.predict_interval(X, 0.9), -1, 0)
    assert np.all(low < high)
    assert np.mean((low < y) & (y < high)) == pytest.approx(0.9, abs=0.08)


@pytest.mark.parametrize("kind", ["full", "spherical", "VEE", "EVI"])
def test_derivatives_of_the_observed_likelihood(kind):
    X, Y = rows(n=9, q=2, missing=0.3)
    rng = np.random.default_rng(1)
    expert = JointGaussianExpert(kind, features=("a", "b"), responses=("u", "v"))
    model = MixtureOfExperts(SoftmaxGate(), expert)
    blank = model.init_params(2, 0, 0)
    params = unflatten(flatten(blank) + 0.2 * rng.uniform(size=flatten(blank).size), blank)
    none = np.zeros(0, dtype=int)
    block = Blocks(model, ArraySource(X, np.c_[Y, X] / 3), Scaling.identity(none, none)).only
    found = model.curvature(block, params)

    def at(flat):
        return unflatten(flat, params)

    def score(flat):
        return flatten(model.curvature(block, at(flat)).score)

    np.testing.assert_allclose(
        flatten(found.score), slopes(lambda p: model.loglik(block, at(p)), flatten(params)), 1e-7
    )
    np.testing.assert_allclose(found.information, -slopes(score, flatten(params)), rtol=1e-6, atol=1e-6)


def test_one_law_with_missing_values_is_what_a_naive_em_finds():
    X, y = rows(missing=0.2)
    Z = np.c_[X, y]
    mean, cov = np.nanmean(Z, axis=0), np.diag(np.nanvar(Z, axis=0))
    for _ in range(200):
        first, second = np.zeros(3), np.zeros((3, 3))
        for z in Z:
            o, u = np.flatnonzero(~np.isnan(z)), np.flatnonzero(np.isnan(z))
            full, K = z.copy(), cov[np.ix_(u, o)] @ np.linalg.inv(cov[np.ix_(o, o)])
            full[u] = mean[u] + K @ (z[o] - mean[o])
            left = np.zeros((3, 3))
            left[np.ix_(u, u)] = cov[np.ix_(u, u)] - K @ cov[np.ix_(o, u)]
            first, second = first + full, second + np.outer(full, full) + left
        mean = first / len(Z)
        cov = second / len(Z) - np.outer(mean, mean)
    model = fitted(X, y, k=1)
    ((_, found, spread),) = law(model)
    np.testing.assert_allclose(found, mean, atol=1e-6)
    np.testing.assert_allclose(spread, cov, rtol=1e-5)


def test_rows_of_no_weight_do_not_matter_and_em_climbs():
    X, y = rows(missing=0.0)
    plain = fitted(X, y)
    more = np.r_[X, [[np.nan, 1.0]]], np.r_[y, 1.0]
    padded = JointGaussianMoERegressor(2, random_state=0, start="kmeans", n_init=1).fit(
        *more, sample_weight=np.r_[np.ones(60), 0.0]
    )
    assert padded.loglik_ == pytest.approx(plain.loglik_, abs=1e-8)
    X, y = rows()
    with pytest.warns(ConvergenceWarning, match="iteration limit"):
        climbed = fitted(X, y, n_init=1, solver=EM(max_iter=15))
    assert np.all(np.diff(climbed.trace_) > 0)


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_units_of_x_and_y_do_not_matter(kind):
    X, y = rows()
    a, s = np.array([5.0, -1e3]), np.array([1e3, 0.02])
    one, other = fitted(X, y, covariance=kind), fitted(a + s * X, 7.0 + 10.0 * y, covariance=kind)
    shift = np.log(s) @ (~np.isnan(X)).sum(axis=0) + len(y) * np.log(10.0)
    assert other.loglik_ == pytest.approx(one.loglik_ - shift, abs=1e-6)
    np.testing.assert_allclose(other.centres_, a + s * one.centres_, rtol=1e-6)
    np.testing.assert_allclose(other.covariances_, one.covariances_ * np.outer(s, s), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(other.predict(a + s * X), 7.0 + 10.0 * one.predict(X), atol=1e-4)


def test_standard_errors_of_one_law():
    X, y = rows(missing=0.0)
    model = fitted(X, y, k=1)
    np.testing.assert_allclose(model.standard_errors_.expert.centre[0] ** 2, X.var(axis=0) / 60, rtol=1e-6)
    design = np.c_[X, np.ones(60)]
    cov = model.expert_variance_ * np.linalg.inv(design.T @ design)
    np.testing.assert_allclose(model.standard_errors_.expert.coef[0, 0] ** 2, np.diag(cov)[:2], rtol=1e-6)
    assert "Joint law of x and y" in str(model.summary())
    named = model.summary(["width", "depth"]).to_frame().index
    assert {"expert 0: centre [width]", "expert 0: coef [y] [depth]"} <= set(named)


def test_draws_and_the_conditional_law():
    X, Y = rows(missing=0.0, q=2)
    model = fitted(X, Y)
    drawn, of_y, label = model.sample_joint(4000, random_state=0)
    assert drawn.shape, of_y.shape == ((4000, 2), (4000, 2))
    Z = np.c_[drawn, of_y]
    for i, (alpha, mean, cov) in enumerate(law(model)):
        assert np.mean(label == i) == pytest.approx(alpha, abs=0.04)
        own = Z[label == i]
        np.testing.assert_allclose(own.mean(axis=0), mean, atol=5 * np.sqrt(np.diag(cov).max() / len(own)))
        np.testing.assert_allclose(np.cov(own.T), cov, atol=0.15 * np.diag(cov).max())
    assert model.sample(X, 0).shape == Y.shape
    np.testing.assert_allclose(model.predict_given(X, {0: Y[:, 0]}).shape, (60,))
    model = fitted(X, Y[:, 0])
    further = MoERegressor(2, gate=GaussianGate("full"), start=model.conditional_.params, n_init=1, max_iter=5)
    with pytest.warns(ConvergenceWarning):
        further.fit(X, Y[:, 0])
    assert further.trace_[0] == pytest.approx(model.conditional_.loglik, abs=1e-8)
    assert "no maximum of the likelihood of y given x" in model.conditional_.status


@pytest.mark.parametrize("kind", ["full", "diag", "spherical", "tied"])
def test_a_gaussian_gate_is_what_normal_laws_make_it(kind):
    rng = np.random.default_rng(0)
    own = {"full": np.array([[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.3], [-0.3, 0.5]]])}
    own["tied"], own["diag"] = own["full"][[0, 0]], own["full"] * np.eye(2)
    own["spherical"] = np.array([2.0, 0.5])[:, None, None] * np.eye(2)
    weights, centres, X = np.array([0.3, 0.7]), rng.normal(size=(2, 2)), rng.normal(size=(2, 9))
    params = (gate := GaussianGate(kind)).from_gaussians(weights, centres, own[kind])
    scores = gate.scores(np.r_[X, np.ones((1, 9))], params)
    logs = [
        np.log(w) + multivariate_normal(c, s).logpdf(X.T) for w, c, s in zip(weights, centres, own[kind], strict=True)
    ]
    np.testing.assert_allclose(scores[0] - scores[1], logs[0] - logs[1], atol=1e-12)


def test_a_column_of_few_values_is_named_where_a_law_collapses_onto_it():
    X, y = rows(missing=0.0)
    X = np.c_[X, np.arange(60) % 2]
    with pytest.warns(ConvergenceWarning):
        model = fitted(X, y)
    assert not model.converged_
    assert "x_variance or variance at its floor" in model.status_
    assert "none is left of x2" in model.status_


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda X, y: (X, np.where(y == y[3], np.nan, y)), "y contains NaN"),
        (lambda X, y: (np.c_[X, np.full(len(X), np.nan)], y), "no row has a value of 'x2'"),
        (lambda X, y: (np.where(X == X[3, 0], np.inf, X), y), "X contains infinity"),
    ],
)
def test_words_for_what_cannot_be_fitted(change, words):
    X, y = rows(missing=0.0)
    with pytest.raises(ValueError, match=words):
        fitted(*change(X, y))


def test_words_for_what_does_not_compare():
    X, y = rows(missing=0.0)
    joint, given = fitted(X, y), MoERegressor(1).fit(X, y)
    with pytest.raises(ValueError, match="of x and y and of y given x do not compare"):
        compare_fits([joint, given])
    assert compare_fits([joint.conditional_, given])
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match="rows lack values in 2 different sets of columns"):
        joint.predict_distribution(X)
    assert joint.predict_distribution(X[:1]).mean() == pytest.approx(joint.predict(X[:1]))
    with pytest.raises(ValueError, match="JointGaussianMoERegressor"):
        MoERegressor(2, gate=GaussianGate(fit="joint")).fit(X[1:], y[1:])


def test_the_bootstrap_is_refused_in_words():
    X, y = rows(missing=0.0)
    with pytest.raises(ValueError, match="the fit is one of x and y"):
        bootstrap(fitted(X, y), X, y, n_resamples=2)
