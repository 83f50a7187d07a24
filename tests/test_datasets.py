import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from smoe.datasets import (
    load_biochemists,
    load_engel,
    load_ethanol,
    load_faithful,
    load_health,
    load_insurance,
    load_mcycle,
)

# Rows, features, target; first row and mean of each column, features before target, worked out without smoe.
KNOWN = [
    (load_engel, 235, ["income"], "foodexp", [420.157650843928, 255.839424594576], [982.473, 624.150]),
    (load_mcycle, 133, ["times"], "accel", [2.4, 0.0], [25.179, -25.546]),
    (load_faithful, 272, ["waiting"], "eruptions", [79.0, 3.6], [70.897, 3.488]),
    (load_ethanol, 88, ["C", "E"], "NOx", [12.0, 0.907, 3.741], [12.034, 0.926, 1.957]),
    (
        load_insurance,
        64,
        ["age", "engine", "district", "holders"],
        "claims",
        [0, 0, 1, 197, 38],
        [1.5, 1.5, 2.5, 364.984, 49.234],
    ),
    (
        load_biochemists,
        915,
        ["female", "married", "kids", "phd", "mentor"],
        "articles",
        [0, 1, 0, 2.51999998092651, 7, 0],
        [0.460, 0.662, 0.495, 3.103, 8.767, 1.693],
    ),
]
LOADERS = [row[0] for row in KNOWN]


@pytest.mark.parametrize("load, n, features, target, first, means", KNOWN)
def test_values(load, n, features, target, first, means):
    bunch = load()
    table = np.column_stack([bunch.data, bunch.target])
    assert bunch.data.shape == (n, len(features)) and bunch.target.shape == (n,)
    assert (bunch.feature_names, bunch.target_name) == (features, target)
    assert table.dtype == float
    np.testing.assert_array_equal(table[0], first)
    np.testing.assert_allclose(table.mean(axis=0), means, atol=5e-4)


@pytest.mark.parametrize("load", LOADERS)
def test_arrays_are_contiguous_and_fresh(load):
    X, y = load(return_X_y=True)
    assert X.flags.c_contiguous and y.flags.c_contiguous
    X[:], y[:] = 0.0, 0.0
    assert load().data.any() and load().target.any()


@pytest.mark.parametrize("load", LOADERS)
def test_return_X_y(load):
    bunch, (X, y) = load(), load(return_X_y=True)
    np.testing.assert_array_equal(X, bunch.data)
    np.testing.assert_array_equal(y, bunch.target)


@pytest.mark.parametrize("load", LOADERS)
def test_as_frame(load):
    arrays, bunch = load(), load(as_frame=True)
    assert arrays.frame is None
    assert list(bunch.frame.columns) == [*bunch.feature_names, bunch.target_name]
    assert isinstance(bunch.data, pd.DataFrame) and isinstance(bunch.target, pd.Series)
    np.testing.assert_array_equal(bunch.data, arrays.data)
    np.testing.assert_array_equal(bunch.target, arrays.target)
    X, y = load(as_frame=True, return_X_y=True)
    pd.testing.assert_frame_equal(X.assign(**{y.name: y}), bunch.frame)


@pytest.mark.parametrize("load", LOADERS)
def test_file_is_read_by_pandas_too(load):
    bunch = load(as_frame=True)
    pd.testing.assert_frame_equal(bunch.frame, pd.read_csv(bunch.filename)[bunch.frame.columns].astype(float))


@pytest.mark.parametrize("load", LOADERS)
def test_description(load):
    bunch = load()
    assert bunch.DESCR.startswith(Path(bunch.filename).stem + "\n")
    assert "\n## " not in bunch.DESCR
    for word in ["Origin: ", "Licence: ", "Reference: ", *bunch.feature_names, bunch.target_name]:
        assert word in bunch.DESCR


@pytest.mark.parametrize("load", LOADERS)
def test_pandas_is_optional(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)  # an import of it now fails
    assert load().data.size
    with pytest.raises(ImportError, match="as_frame=True needs pandas"):
        load(as_frame=True)
    with pytest.raises(ImportError, match="as_frame=True needs pandas"):
        load(as_frame=True, return_X_y=True)


@pytest.mark.parametrize("load", LOADERS)
def test_options_are_keyword_only(load):
    with pytest.raises(TypeError, match="positional"):
        load(True)


def test_ratings_of_health_are_words():
    X, y = load_health(return_X_y=True)
    frame = pd.read_csv(load_health().filename)
    np.testing.assert_array_equal(X, frame[["conditions", "visits", "school"]])
    np.testing.assert_array_equal(y, np.array(["poor", "average", "excellent"])[frame["health"]])
    assert (
        X.shape == (4406, 3)
        and X[0].tolist() == [2, 5, 6]
        and X.mean(axis=0).round(3).tolist() == [1.542, 5.774, 10.29]
    )
    named = load_health(as_frame=True)
    assert named.target.name == "health" and named.target.iloc[0] == "average" and "Licence: MIT" in named.DESCR
