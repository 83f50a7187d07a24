"""X and X A span the same model: fits agree however nearly collinear columns are; only exact aliases are left out."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from helpers import expert_of, quietly, random_expert, random_gate
from smoe import DenseToSparseMoERegressor, SoftmaxMoERegressor, TopKMoERegressor
from smoe.experts import EXPERTS, Expert
from smoe.experts.gaussian import GaussianExpert
from smoe.features import Rows, design
from smoe.gates import ACTIVATIONS, GATES, ActivationDenseToSparseGate, Gate, SoftmaxGate, TopKGate
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten
from smoe.rows import ArraySource, Scaling, standardise

N = 500


def draw(X_gate, mean, rng):
    """Two regimes whose odds are linear in a column, with these means (2, n)."""
    first = rng.random(len(X_gate)) < 1 / (1 + np.exp(-3.0 * X_gate))
    return np.where(first, *mean) + 0.3 * rng.normal(size=len(X_gate))


@pytest.fixture(scope="module")
def years():
    """Calendar years and a response with two smooth regimes."""
    rng = np.random.default_rng(0)
    t = rng.uniform(1950, 2010, N)
    s = (t - 1980) / 30
    return t, draw(s, (2 + s - 2 * s**3, -1 + 2 * s**2), rng)


@pytest.fixture(scope="module")
def plane():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N, 3))
    return X, draw(X[:, 0], (2 + X @ [1.0, -1.0, 0.5], -1 - X @ [0.5, 1.0, 0.0]), rng)


def powers(t, degree=3):
    return t[:, None] ** np.arange(1, degree + 1)


def ill_conditioned(d, condition, rng):
    """A random matrix of this condition."""
    left, right = (np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(2))
    return left * np.geomspace(1.0, 1.0 / condition, d) @ right


def view_of(X, weight=None):
    columns = np.arange(X.shape[1])
    y = np.random.default_rng(9).normal(size=len(X))
    model = MixtureOfExperts(SoftmaxGate(), GaussianExpert())
    return standardise(model, ArraySource(X, y, weight), columns, columns).expert


@pytest.mark.parametrize("k", [1, 2])
def test_a_cubic_in_calendar_years(years, k):
    t, y = years
    raw, centred = (SoftmaxMoERegressor(k, random_state=0).fit(powers(u), y) for u in (t, t - 1980))
    assert raw.converged_ and centred.converged_, raw.status_
    np.testing.assert_allclose(raw.loglik_, centred.loglik_, atol=1e-6)
    np.testing.assert_allclose(raw.predict(powers(t)), centred.predict(powers(t - 1980)), atol=1e-6)
    assert raw.n_parameters_ == centred.n_parameters_ and raw.expert_coef_.all()
    # (t - c)^p in powers of t: the coefficients of the one fit are linear maps of those of the other
    c = 1980.0
    A = np.array([[1.0, -2 * c, 3 * c**2], [0.0, 1.0, -3 * c], [0.0, 0.0, 1.0]])
    names = centred.covariance().names
    for i in range(k):
        rows = [names.index(f"expert {i}: x{j}") for j in range(3)]
        V = centred.covariance().matrix[np.ix_(rows, rows)]
        wanted = np.sqrt(np.diag(A @ V @ A.T))
        np.testing.assert_allclose(raw.standard_errors_.expert.coef[i], wanted, rtol=1e-4)
        np.testing.assert_allclose(raw.expert_coef_[i], A @ centred.expert_coef_[i], atol=1e-4 * wanted.min())


@pytest.mark.parametrize("kind", ["observed", "sandwich"])
def test_intervals_of_the_mean_in_calendar_years(years, kind):
    t, y = years
    fits = [(SoftmaxMoERegressor(2, random_state=0).fit(powers(u), y), powers(u)) for u in (t, t - 1980)]
    intervals = [m.mean_interval(X[:50], covariance=m.covariance(kind, X, y)) for m, X in fits]
    np.testing.assert_allclose(*intervals, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("condition", [1e2, 1e6])
@pytest.mark.parametrize(
    "model",
    [
        SoftmaxMoERegressor(2, random_state=0),
        TopKMoERegressor(2, top_k=2, random_state=0),
        DenseToSparseMoERegressor(2, temperature=0.7, random_state=0),
        SoftmaxMoERegressor(2, gate_features=[0, 1, 2], expert_features=[2, 1, 0], random_state=0),
    ],
    ids=["softmax", "top_k", "dense_to_sparse", "two views"],
)
def test_linear_maps_of_the_columns(plane, condition, model):
    X, y = plane
    XA = X @ ill_conditioned(3, condition, np.random.default_rng(2))
    one, other = model.fit(X, y), type(model)(**model.get_params()).fit(XA, y)
    assert one.converged_ and other.converged_, other.status_
    np.testing.assert_allclose(other.loglik_, one.loglik_, atol=1e-6)
    np.testing.assert_allclose(other.loglik(XA, y), one.loglik_, atol=1e-6)
    np.testing.assert_allclose(other.predict(XA), one.predict(X), atol=1e-5)
    assert other.n_parameters_ == one.n_parameters_


@pytest.mark.parametrize("seed", [3, 4])  # with the second, signs of the slopes differ in the working coordinates
def test_an_activation_gate_on_linear_maps_without_a_shift(plane, seed):
    """Starts and the fit are in rotated columns; signs and standard errors are those of the user's columns."""
    X, y = plane
    A = ill_conditioned(3, 1e4, np.random.default_rng(seed))
    gate = ActivationDenseToSparseGate("tanh", temperature=0.5)
    one, other = (
        DenseToSparseMoERegressor(2, activation="tanh", temperature=0.5, random_state=0).fit(Z, y) for Z in (X, X @ A)
    )
    assert one.converged_ and other.converged_, other.status_
    np.testing.assert_allclose(other.loglik_, one.loglik_, atol=1e-5)
    np.testing.assert_allclose(other.gate_proba(X @ A), one.gate_proba(X), atol=1e-4)
    np.testing.assert_array_equal(flatten(gate.canonical(other.params_.gate)), flatten(other.params_.gate))
    inverse = np.linalg.inv(A)
    names = one.covariance().names
    swapped = np.abs(other.gate_coef_ @ A.T - one.gate_coef_).max() > 0.1  # the sign convention sees other columns
    for i in range(2):
        rows = [names.index(f"gate {1 - i if swapped else i}: x{j}") for j in range(3)]
        V = one.covariance().matrix[np.ix_(rows, rows)]
        wanted = np.sqrt(np.diag(inverse @ V @ inverse.T))
        np.testing.assert_allclose(other.standard_errors_.gate.coef[i], wanted, rtol=1e-3)


def test_nearly_collinear_dummies(plane):
    """A dummy that differs from another in eight rows of five hundred, and by a ten millionth there."""
    X, y = plane
    dummy = (X[:, 1] > 0).astype(float)
    near = dummy.copy()
    near[:8] = 1 - near[:8]
    one = SoftmaxMoERegressor(1).fit(np.column_stack([X[:, 0], dummy, near]), y)
    other = SoftmaxMoERegressor(1).fit(np.column_stack([X[:, 0], dummy, near * 1e-7 + dummy]), y)
    assert one.converged_ and other.converged_
    np.testing.assert_allclose(other.loglik_, one.loglik_, atol=1e-6)
    assert other.n_parameters_ == one.n_parameters_ == 5


@pytest.mark.parametrize("left", [1e-3, 1e-6, 1e-9, 1e-11])
def test_what_is_left_of_a_column_counts(plane, left):
    X, _ = plane
    extra = X[:, 0] + X[:, 1] + left * np.random.default_rng(4).normal(size=N)
    view = view_of(np.column_stack([X, extra]))
    assert view.kept.all() and view.rotation is not None
    Z = view.design(np.column_stack([X, extra]), 0, N)
    np.testing.assert_allclose(Z @ Z.T / N, np.eye(5), atol=1e-3)


@pytest.mark.parametrize("left", [1e-14, 1e-15, 0.0])
def test_rounding_does_not(plane, left):
    X, _ = plane
    extra = X[:, 0] + X[:, 1] + left * np.random.default_rng(4).normal(size=N)
    view = view_of(np.column_stack([X, extra]))
    np.testing.assert_array_equal(view.kept, [True, True, True, False])
    assert view.rotation is None


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "alias",
    [
        lambda X: X[:, 0],
        lambda X: 3 * X[:, 0],
        lambda X: X.sum(axis=1),
        lambda X: X[:, 0] - 2 * X[:, 1] + 100,
        lambda X: np.full_like(X[:, 0], 0.1),
    ],
    ids=["duplicate", "scaled", "sum", "difference", "constant"],
)
def test_exact_aliases(plane, dtype, alias):
    X = plane[0].astype(dtype)
    extra = alias(X).astype(dtype)
    near = (X[:, 1] + dtype(1e-2) * X[:, 2] ** 2).astype(dtype)  # aliases are found beside nearly collinear columns too
    kept = view_of(np.column_stack([X, extra, near]).astype(float)).kept
    np.testing.assert_array_equal(kept, [True, True, True, False, True])


def test_integers_are_not_rounded_numbers():
    """Years and their squares fit into float32, but no digit of theirs was lost."""
    t = np.random.default_rng(5).integers(1950, 2011, N).astype(float)
    assert view_of(powers(t, 2)).kept.all()
    base = 1e7 + np.random.default_rng(6).integers(0, 2, N)
    assert view_of(base[:, None]).kept.all()


def test_many_aliases_of_ill_conditioned_columns():
    """A hundred combinations of twenty columns: the first twenty say it all."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(N, 20)) @ ill_conditioned(20, 1e6, rng)
    view = view_of(np.column_stack([X, X @ rng.normal(size=(20, 80))]))
    np.testing.assert_array_equal(np.flatnonzero(view.kept), np.arange(20))


def test_well_conditioned_columns_stay_as_they_are(plane):
    assert view_of(plane[0]).rotation is None


def test_weights_count_rows_of_collinear_columns(years):
    t, y = years
    weight = np.random.default_rng(8).integers(0, 3, N)
    weighted = SoftmaxMoERegressor(2, random_state=0).fit(powers(t), y, sample_weight=weight)
    repeated = SoftmaxMoERegressor(2, random_state=0).fit(np.repeat(powers(t), weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.loglik_, repeated.loglik_, rtol=1e-10)
    np.testing.assert_allclose(weighted.predict(powers(t)), repeated.predict(powers(t)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gate", [name for name in GATES if GATES[name]().linear])
@pytest.mark.parametrize(
    "expert", [n for n in EXPERTS if EXPERTS[n]().linear and EXPERTS[n]().support.kind != "classes"]
)
def test_units_there_and_back(plane, gate, expert):
    """The density is the same in the user's units and in rotated coordinates, and the way back undoes the way there."""
    rng = np.random.default_rng(10)
    X = plane[0] @ ill_conditioned(3, 1e4, rng) + 5.0
    model = MixtureOfExperts(GATES[gate](), expert_of(expert))
    y = np.column_stack([plane[1], plane[1] ** 2]) if model.expert.support.kind == "vectors" else plane[1]
    scaling = standardise(model, ArraySource(X, y), np.arange(3), np.arange(2))
    assert scaling.gate.rotation is not None
    params = MoEParams(random_gate(model.gate, 3, 3, rng), random_expert(model.expert, 3, 2, rng))
    user = scaling.to_units(model, params)
    back = scaling.from_units(model, user)
    np.testing.assert_allclose(flatten(back), flatten(params), rtol=1e-6, atol=1e-6)
    Z = scaling.gate.design(X, 0, N)
    scores, wanted = model.gate.scores(Z, params.gate), model.gate.scores(design(X.T), user.gate)
    proba = [np.exp(s - s.max(axis=0)) for s in (scores, wanted)]
    np.testing.assert_allclose(*proba, rtol=1e-6, atol=1e-9)
    means = model.expert.mean(Rows(scaling.expert.design(X, 0, N)), params.expert)
    shift, scale = np.reshape(scaling.y_shift, (-1, 1)), np.reshape(scaling.y_scale, (-1, 1))
    wanted = (model.expert.mean(Rows(design(X[:, :2].T)), user.expert) - shift) / scale
    np.testing.assert_allclose(means, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_gates_that_declare_it_are_linear(activation):
    rng = np.random.default_rng(11)
    X, A = rng.normal(size=(30, 2)), rng.normal(size=(2, 2))
    for gate in (SoftmaxGate(), TopKGate(1), TopKGate(2, "slope"), ActivationDenseToSparseGate(activation)):
        assert gate.linear
        params = random_gate(gate, 3, 2, rng)
        turned = params._replace(coef=params.coef @ np.linalg.inv(A).T)
        np.testing.assert_allclose(gate.scores(design((X @ A).T), turned), gate.scores(design(X.T), params), atol=1e-9)


class PlainExpert(GaussianExpert):
    linear = False


def test_no_rotation_for_those_who_do_not_declare_it(years):
    """A gate or a family of which nothing is known keeps the columns as they are."""
    assert not Gate.linear and not Expert.linear
    t, y = years
    model = MixtureOfExperts(SoftmaxGate(), PlainExpert())
    scaling = standardise(model, ArraySource(powers(t), y), np.arange(3), np.arange(3))
    assert scaling.gate.rotation is not None and scaling.expert.rotation is None
    assert scaling.expert.kept.all()


def test_a_scaling_without_rotation_is_shared(plane):
    model = MixtureOfExperts(SoftmaxGate(), PlainExpert())
    scaling = standardise(model, ArraySource(plane[0], plane[1]), np.arange(3), np.arange(3))
    assert scaling.gate is scaling.expert and isinstance(scaling, Scaling)


def test_aliased_columns_are_called_by_name(plane):
    pandas = pytest.importorskip("pandas")
    X, y = plane
    frame = pandas.DataFrame({"age": X[:, 0], "ones": 1.0, "dose": X[:, 1], "twice": 2 * X[:, 1]})
    with pytest.warns(ConvergenceWarning, match=r"columns \['ones', 'twice'\] of X are constant or linear") as record:
        SoftmaxMoERegressor(1).fit(frame, y)
    assert len(record) == 2
    with pytest.warns(ConvergenceWarning, match=r"columns \['twice'\] of X .* expert coefficients"):
        SoftmaxMoERegressor(1, gate_features=["age"], expert_features=["dose", "twice"]).fit(frame, y)


def test_parameters_that_cannot_hold_the_fit_say_so():
    """An offset of 1e12 standard deviations: the intercept in the user's units has too few digits for the residuals."""
    rng = np.random.default_rng(12)
    x = rng.normal(size=60)
    y = 0.01 * rng.normal(size=60) + x
    X = (1e12 + x)[:, None]
    with pytest.warns(ConvergenceWarning, match="parameters in the units of X and y have the log-likelihood"):
        fitted = SoftmaxMoERegressor(1).fit(X, y)
    assert not fitted.converged_ and fitted.loglik(X, y) == pytest.approx(fitted.loglik_, rel=1e-9)


def test_moderate_offsets_say_nothing(plane):
    X, y = plane
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = quietly(SoftmaxMoERegressor(2, random_state=0).fit, X + 1e6, y + 1e6)
    np.testing.assert_allclose(fitted.loglik(X + 1e6, y + 1e6), fitted.loglik_, rtol=1e-6)
