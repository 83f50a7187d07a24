"""What every registered family promises, point by point."""

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import logistic

from helpers import assert_derivative
from smoe.experts import LinearExpert
from smoe.families import (
    FAMILIES,
    ClassFamily,
    Family,
    Multinomial,
    NegativeBinomial,
    Ordinal,
    StudentT,
    ZeroInflatedNegativeBinomial,
)
from smoe.features import Rows, design
from smoe.params import flatten, unflatten

every = pytest.mark.parametrize("name", FAMILIES)
M = 30


def family_of(name):
    """A family, that of classes with three of them."""
    family = FAMILIES[name]()
    return family.bind(np.arange(3)) if family.support.kind == "classes" else family


def case(name, rng, k=3, m=M):
    """A family, its rows, predictors and own parameters."""
    family = family_of(name)
    eta = rng.normal(size=(family.n_predictors, k, m))
    phi = [value * rng.uniform(0.7, 1.4, (k, 1)) for start in family.start() for value in np.ravel(start)]
    own = [np.broadcast_to(field, (k, m))[0] for field in phi]
    y = family.sample(Rows(None, np.zeros(m)), eta[:, 0], own, rng)
    event = (np.arange(m) % 3 > 0) * 1.0 if family.takes_events else None
    return family, Rows(None, y, event=event), eta, phi


@every
def test_samples_lie_in_the_support(name, rng):
    family, rows, *_ = case(name, rng)
    assert isinstance(family, Family) and family.support.contains(rows.y).all()


@every
def test_derivatives_are_those_of_differences(name, rng):
    family, rows, eta, phi = case(name, rng)
    first, second = family.derivatives(rows, eta, phi)
    wanted = Family.derivatives(family, rows, eta, phi)
    assert_derivative(first, wanted[0], 1e-7)
    assert_derivative(second, wanted[1], 3e-5)
    if family.support.kind != "classes":
        assert_derivative(family.mean_slopes(rows, eta, phi), Family.mean_slopes(family, rows, eta, phi), 1e-7)


@every
def test_the_default_differences_are_derivatives(name, rng):
    """Against plain central differences of other steps, which share no code."""
    family, rows, eta, phi = case(name, rng)
    first, second = Family.derivatives(family, rows, eta, phi)
    h = 1e-5
    moved = [family.log_prob(rows, eta + s * h, phi) for s in (1, -1)]
    assert_derivative(first[: family.n_predictors].sum(axis=0), (moved[0] - moved[1]) / (2 * h), 1e-6)
    slopes = [Family.derivatives(family, rows, eta + s * h, phi)[0][: family.n_predictors] for s in (1, -1)]
    q = family.n_predictors
    assert_derivative(-second[:q, :q].sum(axis=1), (slopes[0] - slopes[1]) / (2 * h), 1e-5)


@every
def test_the_information_of_the_m_step_is_positive(name, rng):
    family, rows, eta, phi = case(name, rng)
    matrix = family.information(rows, eta, phi, family.derivatives(rows, eta, phi)[1])
    assert np.linalg.eigvalsh(matrix.transpose(2, 3, 0, 1)).min() >= -1e-15 * abs(matrix).max()


def assert_together(family, rows, eta, phi):
    together, apart = family.pointwise(rows, eta, phi), Family.pointwise(family, rows, eta, phi)
    for part, wanted in zip(together, apart, strict=True):
        np.testing.assert_allclose(part, wanted, rtol=1e-9, atol=1e-11)


@every
def test_what_a_pass_asks_for_together_is_what_it_asks_one_by_one(name, rng):
    """Own parameters at zero and near it, too, as far as they may be there, and predictors of any size."""
    family, rows, eta, phi = case(name, rng, m=300)
    for i, field in enumerate(family.fields.values()):
        if field.attained:
            phi[i][:2, 0] = 0.0, 1e-7
    for factor in (1.0, 20.0):
        assert_together(family, rows, factor * eta, phi)


@pytest.mark.parametrize(
    "family, phi",
    [
        (NegativeBinomial(0.7), []),
        (NegativeBinomial(0.0), []),
        (StudentT(df=4.0), [2.0]),
        (StudentT(df=np.inf), [2.0]),
        (StudentT(df="shared"), [2.0, 0.2]),
        (ZeroInflatedNegativeBinomial(), [0.3, 0.2]),
    ],
    ids=str,
)
@pytest.mark.parametrize("largest", [9, 5000])
def test_together_with_given_and_shared_parameters_and_large_counts(family, phi, largest, rng):
    y = np.append(np.arange(10.0), largest)
    fields = zip(family.fields.values(), phi, strict=True)
    phi = [np.array(value) if field.shared else np.full((2, 1), value) for field, value in fields]
    assert_together(family, Rows(None, y), rng.normal(1.0, 1.0, (1, 2, 11)), phi)


@every
def test_whole_numbers_have_probabilities(name, rng):
    family, _, eta, phi = case(name, rng, m=4)
    if family.support.kind != "integers":
        pytest.skip("not a family of whole numbers")
    y = np.arange(200.0)
    for i in range(4):
        eta_i = np.repeat(eta[:, :, [i]], 200, axis=2)
        pmf = np.exp(family.log_prob(Rows(None, y), eta_i, phi))
        mean, variance = family.mean(None, eta_i, phi)[:, 0], family.variance(None, eta_i, phi)[:, 0]
        np.testing.assert_allclose(pmf.sum(axis=1), 1, rtol=1e-9)
        np.testing.assert_allclose(pmf @ y, mean, rtol=1e-9)
        np.testing.assert_allclose(pmf @ y**2 - mean**2, variance, rtol=1e-7)
        cdf = np.cumsum(pmf, axis=1)
        np.testing.assert_allclose(family.cdf(Rows(None, y), eta_i, phi), cdf, atol=1e-12)
        np.testing.assert_allclose(family.cdf(Rows(None, y), eta_i, phi, upper=True), 1 - cdf, atol=1e-12)
        assert not family.cdf(Rows(None, y * 0 - 1), eta_i, phi).any()
        for q in (0.01, 0.5, 0.9):
            found = family.ppf(Rows(None), q, eta_i, phi)[:, 0]
            np.testing.assert_array_equal(found, (cdf >= q).argmax(axis=1))


@every
def test_a_link_is_a_rough_predictor(name, rng):
    """Where responses are large, the link of the mean is the predictor."""
    family, *_ = case(name, rng)
    if family.support.kind == "classes":
        pytest.skip("classes have no mean")
    eta = np.full((family.n_predictors, 1, 1), 4.0)
    phi = [np.full((1, 1), value) for value in family.start()]
    trials = np.array([1e4]) if family.takes_trials else None
    rows = Rows(None, None, None, trials)
    assert abs(family.link(rows.at(family.mean(rows, eta, phi)[0]))[0] - 4.0) < 0.2


@every
def test_an_offset_moves_the_predictor(name, rng):
    family, rows, *_ = case(name, rng)
    expert, Z = LinearExpert(family), design(rng.normal(size=(2, M)))
    params = unflatten(0.3 * rng.normal(size=flatten(expert.init_params(2, 2)).size), expert.init_params(2, 2))
    own = [np.tile(value, (2,) + (1,) * np.ndim(value)) for value in family.start()]
    params = params._replace(**dict(zip(family.fields, own, strict=True)))
    shifted = params._replace(intercept=params.intercept + 0.7)
    moved = expert.log_prob(Rows(Z, rows.y, np.full(M, 0.7)), params)
    np.testing.assert_allclose(moved, expert.log_prob(Rows(Z, rows.y), shifted), rtol=1e-12)


def multinomial(eta, _):
    return log_softmax(np.concatenate([eta, 0 * eta[:1]]), axis=0)


def cumulative(eta, gaps):
    below = logistic.cdf(np.array([-eta[0], gaps[0] - eta[0]]))
    return np.log(np.diff(below, axis=0, prepend=0.0, append=1.0))


@pytest.mark.parametrize(("name", "truth"), [("multinomial", multinomial), ("ordinal", cumulative)])
def test_classes_have_probabilities(name, truth, rng):
    """Against the displays, and the derivatives of mean log probabilities against differences."""
    family, rows, eta, phi = case(name, rng)
    log_proba = family.class_log_proba(eta, phi)
    np.testing.assert_allclose(log_proba, truth(eta, phi), atol=1e-14)
    shares = np.array([0.2, 0.5, 0.3])
    value, first, second = family.expected(eta, phi, shares)
    np.testing.assert_allclose(value, np.tensordot(shares, log_proba, 1))
    wanted = ClassFamily.jet(family, shares[:, None, None], eta, phi)
    assert_derivative(first, wanted[0], 1e-7)
    assert_derivative(second, wanted[1], 3e-5)
    assert family.write(family.read([2, 0])).tolist() == [2, 0]
    far = family.class_log_proba(1e100 * eta, phi)
    assert np.isfinite(far).all() and np.isfinite(family.derivatives(rows, 1e100 * eta, phi)[0]).all()


def test_gaps_that_vanish_keep_probabilities():
    family, eta = Ordinal(range(3)), np.array([[[0.3, 50.0, -50.0]]])
    for gap in (0.0, 1e-200, 1e-9, 800.0):
        log_proba = family.class_log_proba(eta, [np.array([[gap]])])
        np.testing.assert_allclose(np.exp(log_proba).sum(axis=0), 1.0, rtol=1e-12)
        assert np.isfinite(log_proba).all()
        assert all(np.isfinite(d).all() for d in family.jet(np.full((3, 1, 1), 1 / 3), eta, [np.array([[gap]])]))


def test_the_number_of_classes_must_be_known():
    with pytest.raises(ValueError, match="Multinomial knows no classes yet"):
        _ = Multinomial().n_predictors
    with pytest.raises(ValueError, match="y holds one class only"):
        Multinomial().bind(["a", "a"])
    assert Multinomial().bind(["b", "a"]).labels.tolist() == ["a", "b"]
    assert Multinomial(["b", "a"]).bind(["a"]).read(["a", "b"]).tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="y holds 'c', which is none of the classes"):
        Multinomial(["b", "a"]).read(["c"])
