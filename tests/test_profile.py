"""Who lives where: weighted means by hand, names, and experts that nobody needs."""

import numpy as np
import pandas as pd
import pytest

from smoe import MoERegressorSelect, SoftmaxMoERegressor
from smoe.datasets import load_ethanol
from smoe.profile import profile


@pytest.fixture(scope="module")
def data():
    ethanol = load_ethanol(as_frame=True)
    return ethanol.data, ethanol.target


@pytest.fixture(scope="module")
def model(data):
    return SoftmaxMoERegressor(2, gate_features=["C"], random_state=0).fit(*data)


def by_hand(X, weights):
    """Frequencies in place of weights: expand to a long table."""
    repeats = np.round(1e5 * weights).astype(int)
    long = np.repeat(X, repeats, axis=0)
    return long.mean(axis=0), long.std(axis=0)


def test_means_and_spreads_are_weighted(model, data):
    X, y = data
    for found, proba in (
        (model.expert_profile(X), model.gate_proba(X)),
        (model.expert_profile(X, y), model.responsibilities(X, y)),
    ):
        np.testing.assert_allclose(found.share, proba.mean(axis=0))
        for k in range(2):
            mean, std = by_hand(X.to_numpy(), proba[:, k])
            np.testing.assert_allclose(found.mean[k], mean, rtol=1e-4)
            np.testing.assert_allclose(found.std[k], std, rtol=1e-4)
        np.testing.assert_allclose(found.share @ found.mean, X.mean())  # parts make the whole
        np.testing.assert_allclose(found.all_std, X.std(ddof=0))


def test_table_and_frame(model, data):
    found = model.expert_profile(data[0])
    lines = str(found).splitlines()
    assert lines[0].split() == ["all", "rows", "expert", "0", "expert", "1"] and len({len(line) for line in lines}) == 1
    assert [line.split()[0] for line in lines[1:]] == ["share", "C", "E"]
    frame = found.to_frame()
    assert isinstance(frame, pd.DataFrame) and frame.index.tolist() == ["all", 0, 1]
    assert frame.loc[1, ("E", "std")] == found.std[1, 1] and frame.loc["all", ("share", "")] == 1
    assert str(model.expert_profile(data[0], names=["a", "b"])).splitlines()[3].startswith("b")
    with pytest.raises(ValueError, match="names must be a list of 2"):
        model.expert_profile(data[0], names=["a"])


def test_an_expert_without_rows_has_no_mean():
    X = np.arange(6.0).reshape(3, 2)
    found = profile(np.array([[1.0, 0.0]] * 3), X, ["a", "b"])
    np.testing.assert_array_equal(found.share, [1, 0])
    np.testing.assert_allclose(found.mean, [X.mean(axis=0), [np.nan] * 2])
    np.testing.assert_allclose(found.std, [X.std(axis=0), [np.nan] * 2])


def test_gate_slopes_per_standard_deviation_do_not_depend_on_units(model, data):
    X, y = data
    found = model.standardised_gate_coef(X)
    np.testing.assert_allclose(found, model.gate_coef_ * X["C"].std(ddof=0))
    other = X.assign(C=1000 * X["C"] + 7)
    again = SoftmaxMoERegressor(2, gate_features=["C"], random_state=0).fit(other, y).standardised_gate_coef(other)
    np.testing.assert_allclose(found, again, rtol=1e-6)


def test_a_selection_has_it_too(data):
    chosen = MoERegressorSelect(SoftmaxMoERegressor(gate_features=["C"], random_state=0), n_experts=(2,)).fit(*data)
    assert len(chosen.expert_profile(data[0]).share) == 2
