"""Fits that are given their rows batch by batch."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from helpers import assert_close
from smoe import MoERegressor, SoftmaxMoERegressor
from smoe.datasets import make_moe
from smoe.gates import TopKGate
from smoe.params import chart_of, flatten, tree_scale, tree_sum
from smoe.rows import ArraySource, Blocks
from smoe.solvers.em_step import em_step

moe = make_moe(12_000, 2, 2, random_state=5)
X, Y = moe.data, moe.target


def fed(size, X=X, y=Y, weight=None, n=None, **settings):
    model = MoERegressor(2, random_state=0, **settings)
    for low in range(0, n or len(y), size):
        rows = slice(low, low + size)
        model = model.partial_fit(X[rows], y[rows], None if weight is None else weight[rows])
    return model


@pytest.fixture(scope="module")
def online():
    return fed(500)


def test_it_ends_near_the_maximum_and_polishes(online):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = MoERegressor(2, start=online.params_).fit(X, Y)
    assert fit.converged_ and 0 <= (fit.loglik_ - online.loglik(X, Y)) / len(Y) < 2e-3
    first = MoERegressor(2, random_state=0).fit(X[:2_000], Y[:2_000])
    assert online.loglik(X, Y) > first.loglik(X, Y)
    assert online.n_samples_ == len(Y) and online.n_iter_ == 12
    assert not online.converged_ and "start=model.params_" in online.status_ and online.standard_errors_ is None


def test_how_rows_are_cut_does_not_matter_after_the_first(online):
    """Rows that are less than a batch wait for the rest of it."""
    other = fed(250)
    assert_close(other.params_, online.params_, rtol=1e-12, atol=1e-14)
    waiting = fed(300, n=2_500)
    assert "600 waiting" in repr(waiting.online_) and waiting.n_samples_ == 2_100
    assert "200 rows" in repr(fed(200, n=200).online_)


def test_a_step_is_that_of_its_formula(online):
    """The experts' from averaged statistics, the gate's along the score of the batch by averaged information."""
    state = online.online_
    batch = X[:1_000], Y[:1_000]
    after = state.taken(*batch, np.ones(1_000))
    g = (state.n_steps + 2.0) ** -0.6
    blocks = Blocks(state.model, ArraySource(*batch), state.scaling)
    new = tree_scale(blocks.sum(state.model.statistics, state.current), 1e-3)
    mixed = tree_sum([tree_scale(state.stats, 1 - g), tree_scale(new, g)])
    assert_close(after.stats, mixed, rtol=1e-12, atol=1e-14)
    whole = em_step(state.model, state.current, mixed._replace(gate_score=new.gate_score), 1.0)(1.0)
    assert_close(after.current.expert, whole.expert, rtol=1e-10, atol=1e-12)
    chart = chart_of(state.model.gate, state.current.gate)
    here, there, end = map(chart.pack, (state.current.gate, after.current.gate, whole.gate))
    np.testing.assert_allclose(there - here, g * (end - here), rtol=1e-8, atol=1e-12)
    share = 4.0 / (state.n_steps + 4.0)
    mean = (1 - share) * flatten(state.average) + share * flatten(after.current)
    np.testing.assert_allclose(flatten(after.average), mean, rtol=1e-12)
    gained = blocks.sum(state.model.loglik, state.current) - blocks.loglik_offset
    np.testing.assert_allclose(after.loglik - state.loglik, gained, rtol=1e-10)


def test_units_do_not_matter(online):
    other = fed(500, 1e3 * X - 7.0, 1e-4 * Y + 3.0)
    np.testing.assert_allclose(other.predict(1e3 * X - 7.0), 1e-4 * online.predict(X) + 3.0, rtol=1e-9)


def test_weights_are_repetitions():
    rows = np.repeat(np.arange(4_000).reshape(-1, 500), 2, axis=0).ravel()  # every five hundred twice
    twice = fed(1_000, X[rows], Y[rows])
    weighted = fed(500, X[:4_000], Y[:4_000], np.full(4_000, 2.0))
    assert twice.n_samples_ == weighted.n_samples_ == 8_000
    assert_close(weighted.params_, twice.params_, rtol=1e-6, atol=1e-8)


def test_weights_of_zero_change_nothing(online):
    before = dict(vars(online))
    assert online.partial_fit(X[:50], Y[:50], np.zeros(50)) is online
    assert vars(online) == before
    some = np.arange(3_000) % 2.0
    assert_close(fed(3_000, X, Y, some, 3_000).params_, fed(1_500, X[1:3_000:2], Y[1:3_000:2]).params_)


def test_few_rows_are_fitted_as_they_come():
    model = MoERegressor(2, random_state=0).partial_fit(X[:1], Y[:1])
    with pytest.raises(NotFittedError):
        model.predict(X[:2])
    model = fed(150, n=300)
    whole = MoERegressor(2, random_state=0).fit(X[:300], Y[:300])
    assert_close(model.params_, whole.params_, rtol=1e-6, atol=1e-8)
    assert not model.converged_ and "no certificate" in model.status_


def test_a_fit_forgets_batches(online):
    model = fed(500, n=3_000).fit(X[:500], Y[:500])
    assert not hasattr(model, "online_") and model.n_samples_ == 500
    assert model.partial_fit(X[:600], Y[:600]).n_samples_ == 600


def test_columns_are_compared_with_the_first_batch():
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = MoERegressor(2, random_state=0).partial_fit(frame[:500], Y[:500])
    for X_new, words in [(frame[["b", "a"]], "feature names should match"), (frame[["a"]], "feature names")]:
        with pytest.raises(ValueError, match=words):
            model.partial_fit(X_new[:500], Y[:500])
    assert list(model.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="NaN: in 1 rows, the first is row 3"):
        model.partial_fit(frame[:5], [0.0, 1.0, 2.0, np.nan, 4.0])


def test_what_has_no_online_step():
    constant = np.column_stack([X[:3_000, 0], np.arange(3_000) > 2_500])
    for settings, words in [
        ({"expert": "poisson"}, "M-step is exact"),
        ({"penalty": "variance_prior"}, "takes no penalties"),
        ({"gate": TopKGate(1)}, "needs a smooth gate"),
    ]:
        assert not hasattr(MoERegressor(2, **settings), "partial_fit")
        with pytest.raises(AttributeError) as caught:
            MoERegressor(2, **settings).partial_fit(X, Y)
        assert words in str(caught.value.__cause__ or caught.value)
    with pytest.raises(ValueError, match=r"columns \['x1'\] of X are constant or linear combinations of others"):
        MoERegressor(2, random_state=0).partial_fit(constant[:2_000], Y[:2_000])
    model = SoftmaxMoERegressor(2, random_state=0)
    assert model.partial_fit(X[:500], Y[:500]) is model
