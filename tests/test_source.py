"""Rows may be anywhere: a source with nothing but the contract's methods gives the results of arrays."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers import assert_close
from smoe.datasets import make_moe
from smoe.experts import GaussianExpert, LinearExpert
from smoe.families import Poisson
from smoe.features import Roles
from smoe.fields import entries
from smoe.gates import SoftmaxGate
from smoe.inference import covariance
from smoe.mixture import MixtureOfExperts
from smoe.params import permute
from smoe.rows import ArraySource, Blocks, Raw, Source, standardise, survey
from smoe.rows.columns import look, mean_and_scale
from smoe.search import search
from smoe.solvers import EMNewton
from smoe.starts import Elemental, Task

N, CHUNK, FEW = 9_000, 700, 2_500
COLUMNS = np.arange(2)


class Chunks(Source):
    """Chunks that are made anew each time: no array of all rows, slices of its own, only few rows at random."""

    def __init__(self, X, y, weight, chunk=CHUNK):
        def read(rows):
            return Raw(*(None if a is None else a[rows].copy() for a in (X, y, weight)))

        self._read, self.n_reads, self._chunk = read, 0, chunk
        self.n_rows, self.n_features = X.shape
        self.total_weight = float(self.n_rows if weight is None else weight.sum())

    def cuts(self, size):
        return super().cuts(self._chunk)

    def read(self, rows):
        assert rows in self.cuts(None)
        self.n_reads += 1
        return self._read(rows)

    def take(self, rows):
        assert len(rows) <= FEW
        return self._read(rows)


def gaussian(weighted):
    moe = make_moe(N, 2, 2, random_state=3)
    weight = np.random.default_rng(0).uniform(0.5, 2.0, N) if weighted else None
    return MixtureOfExperts(SoftmaxGate(), GaussianExpert()), Roles(), (moe.data, moe.target, weight)


def poisson(weighted):
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.uniform(-2, 2, (N, 2)), rng.uniform(0.5, 3.0, N)])
    rate = np.where(rng.random(N) < 1 / (1 + np.exp(-3 * X[:, 0])), np.exp(1.5 + X[:, 1] / 2), np.exp(-0.5 - X[:, 1]))
    weight = rng.integers(1, 3, N).astype(float) if weighted else None
    data = X, rng.poisson(X[:, 2] * rate).astype(float), weight
    return MixtureOfExperts(SoftmaxGate(), LinearExpert(Poisson())), Roles(exposure=2), data


def everything(model, roles, source, n_threads, kind):
    """Standardise, search, certify, and the covariance of the estimates."""
    scaling = standardise(model, source, COLUMNS, COLUMNS, n_threads)
    blocks, rng = Blocks(model, source, scaling, roles).shared_by(n_threads), np.random.default_rng(0)
    task = Task(model, None, 2, scaling)
    fit, certificate, _ = search(task, blocks, Elemental(), 10, EMNewton(), 1e-8, rng)
    order = np.argsort(fit.params.expert.intercept)  # rounding may number them otherwise
    fit = fit._replace(params=scaling.canonical(model, permute(fit.params, order)))
    certificate = certificate.permuted(order)
    names = [
        *entries("gate", fit.params.gate, model.gate.fields, ["a", "b"]),
        *entries("expert", fit.params.expert, model.expert.fields, ["a", "b"]),
    ]
    groups = np.random.default_rng(1).permutation(N) // 4 if kind == "cluster" else None
    found = covariance(model, blocks, fit.params, certificate, names, kind, groups)
    return scaling, fit, certificate, found


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("problem, kind, n_threads", [(gaussian, "cluster", 1), (poisson, "sandwich", 2)])
def test_a_fit_does_not_depend_on_where_rows_are(problem, kind, n_threads, weighted):
    model, roles, data = problem(weighted)
    chunks = Chunks(*data)
    found = everything(model, roles, chunks, n_threads, kind)
    wanted = everything(model, roles, ArraySource(*data), 1, kind)
    assert chunks.n_reads > N / CHUNK
    assert wanted[2].valid and found[2].status == wanted[2].status
    np.testing.assert_allclose(found[1].loglik, wanted[1].loglik, rtol=1e-12)
    assert_close(found[0], wanted[0], rtol=1e-11, atol=1e-13)
    assert_close(found[1].params, wanted[1].params, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(found[3].matrix, wanted[3].matrix, rtol=1e-6, atol=1e-8)


def test_a_memory_map_is_neither_read_nor_copied_as_a_whole(tmp_path):
    model, roles, (X, y, _) = gaussian(False)
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=float, mode="r", shape=X.shape)
    source = ArraySource(mapped, y)
    assert np.shares_memory(source.read(source.cuts(100)[3]).X, mapped)
    found, wanted = (everything(model, roles, s, 1, "observed")[1] for s in (source, ArraySource(X, y)))
    assert_close(found.params, wanted.params, rtol=0, atol=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_named(bad):
    model, _, (X, y, _) = gaussian(False)
    wrong_X, wrong_y = X.copy(), y.copy()
    wrong_X[8_123, 1], wrong_y[5] = bad, bad
    with pytest.raises(ValueError, match="column 1 of X is NaN or infinite in row 8123"):
        standardise(model, Chunks(wrong_X, y, None), COLUMNS, COLUMNS)
    with pytest.raises(ValueError, match="y is NaN or infinite in row 5"):
        standardise(model, ArraySource(X, wrong_y), COLUMNS, COLUMNS)


def test_cluster_sums_of_many_groups_take_several_passes(monkeypatch):
    model, roles, data = gaussian(True)
    wanted = everything(model, roles, ArraySource(*data), 1, "cluster")[3]
    monkeypatch.setattr("smoe.inference.rows._SUMS", 5_000)
    found = everything(model, roles, ArraySource(*data), 1, "cluster")[3]
    np.testing.assert_allclose(found.matrix, wanted.matrix, rtol=1e-9, atol=1e-14)


# One look -------------------------------------------------------------------------------------------------------------


def awkward(rng, n=40_000):
    """Columns of which the first rows say little: sorted, far from the first, rare, constant, tiny, huge, rounded."""
    t = np.sort(rng.normal(size=n))
    started = np.arange(n) >= 100
    late = started * rng.normal(1e6, 1.0, n)
    rare = (np.arange(n) > n - 50).astype(float)
    return np.column_stack(
        [t, late, rare, np.full(n, 0.1), 1e-170 * t * started, 1e200 * t * started, rng.normal(size=n).astype("f4")]
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("columns", [[0, 1, 2, 3, 4, 5, 6], [0, 4], [0, 5], [0, 6], [2, 3]])
def test_a_look_has_the_moments_of_all_rows(columns, weighted, rng):
    X, columns = awkward(rng), np.array(columns)
    y, weight = X[:, columns[-1]].copy(), rng.uniform(0.5, 2.0, len(X)) if weighted else None
    looked = look(ArraySource(X, y, weight), columns)
    for moments, values in (looked.X, X[:, columns]), (looked.y, y[:, None]):
        unit = np.abs(values).max(axis=0)
        mean = np.average(values / unit, axis=0, weights=weight)
        Z = values / unit - mean
        products = np.cov(Z.T, ddof=0, aweights=weight).reshape(len(unit), -1)
        shift, scale, constant, correlations, _ = mean_and_scale(moments)
        sd = np.where(constant, 0.0, np.sqrt(products.diagonal()))
        np.testing.assert_allclose(shift / unit, mean, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(scale[~constant] / unit[~constant], sd[~constant], rtol=1e-11)
        if correlations.ndim > 1:
            inner = np.ix_(~constant, ~constant)
            wanted = products[inner] / np.outer(sd[~constant], sd[~constant])
            np.testing.assert_allclose(correlations[inner], wanted, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(constant := mean_and_scale(looked.X)[2], columns == 3)
    np.testing.assert_array_equal(looked.X.single, columns == 6)


def test_a_look_reads_the_rows_once_unless_the_first_say_little(rng):
    X = awkward(rng)
    for columns, n_looks in ([0, 6], 1), ([1, 6], 3):
        chunks = Chunks(X, X[:, 0].copy(), None)
        look(chunks, np.array(columns))
        assert chunks.n_reads == n_looks * len(chunks.cuts(1))


def test_a_survey_lets_responses_be_missing_where_experts_take_that():
    X, y = np.ones((9, 1)), np.arange(9.0)
    y[3] = np.nan
    expert = SimpleNamespace(takes_missing=False, check_response=lambda *_: None)
    with pytest.raises(ValueError, match="y is missing, NaN or infinite in row 3"):
        survey(ArraySource(X, y), expert, Roles(), ["x"])
    assert survey(ArraySource(X, y), SimpleNamespace(**vars(expert) | {"takes_missing": True}), Roles(), ["x"]).event
