"""Passes that are one kernel against the same passes made of the methods of gate and experts."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import binom, poisson

import smoe.fused
from smoe._kernels.linear_families import family_pass
from smoe.experts import GaussianExpert, LinearExpert
from smoe.families import Binomial, Poisson
from smoe.features import Roles
from smoe.gates import SoftmaxGate
from smoe.mixture import MixtureOfExperts
from smoe.params import flatten
from smoe.rows import ArraySource, Blocks, Scaling
from smoe.rows.grouped import by_group

EXPERTS = {"gaussian": GaussianExpert(), "poisson": LinearExpert(Poisson()), "binomial": LinearExpert(Binomial())}


def problem(family, k, d, rng, n=1100, groups=None, weighted=False, order="C"):
    """Blocks and parameters: columns of the experts, then of the gate, of roles, of groups."""
    gate_columns = np.arange(d, 2 * d)
    X, gate, y = rng.normal(size=(n, d)), rng.normal(size=(n, d)), rng.poisson(3.0, n).astype(float)
    first = np.arange(n) if groups is None else np.searchsorted(groups, groups)
    columns, names = [X, gate[first]], []
    if family != "gaussian":
        columns, names = [*columns, 0.2 * rng.normal(size=n)], ["offset"]
    if family == "binomial":
        columns, names = [*columns, np.maximum(y, rng.integers(1, 8, n))], [*names, "trials"]
    if groups is not None:
        columns, names = [*columns, groups], [*names, "group"]
    roles = Roles(**{name: 2 * d + i for i, name in enumerate(names)})
    source = ArraySource(
        np.asarray(np.column_stack(columns), order=order), y, rng.uniform(0.5, 2.0, n)[first] if weighted else None
    )
    source = by_group(source, roles.group, gate_columns)
    model = MixtureOfExperts(SoftmaxGate(), EXPERTS[family])
    params = model.init_params(k, d, d)
    params = params._replace(
        gate=type(params.gate)(rng.normal(size=(k, d)), rng.normal(size=k)),
        expert=params.expert._replace(coef=0.4 * rng.normal(size=(k, d)), intercept=rng.normal(size=k)),
    )
    scaling = Scaling.identity(gate_columns, np.arange(d))
    return SimpleNamespace(model=model, params=params, blocks=Blocks(model, source, scaling, roles))


def results(found):
    """Everything that passes add up, as flat arrays by name."""
    model, blocks, params = found.model, found.blocks, found.params
    stats, curvature = blocks.sum(model.statistics, params), blocks.sum(model.curvature, params)
    experts = {f"expert {i}": np.ravel(part) for i, part in enumerate(stats.expert)}
    return experts | {
        "log-likelihood": np.array([stats.loglik, curvature.loglik]),
        "gate": np.concatenate([*map(np.ravel, stats.gate_score), np.ravel(stats.gate_information)]),
        "score": flatten(curvature.score),
        "information": np.ravel(curvature.information),
    }


def assert_composed(found, monkeypatch):
    assert smoe.fused.applies(found.model, found.blocks.take(slice(0, 5)))
    fused = results(found)
    monkeypatch.setattr(smoe.fused, "applies", lambda model, block: False)
    for name, wanted in results(found).items():
        np.testing.assert_allclose(fused[name], wanted, rtol=1e-10, atol=1e-10 * np.abs(wanted).max(), err_msg=name)


@pytest.mark.parametrize("order, weighted", [("C", False), ("F", True)])
@pytest.mark.parametrize("k, d", [(1, 1), (2, 1), (3, 2), (5, 4)])
@pytest.mark.parametrize("family", ["poisson", "binomial"])
def test_counts(family, k, d, order, weighted, rng, monkeypatch):
    assert_composed(problem(family, k, d, rng, order=order, weighted=weighted), monkeypatch)


@pytest.mark.parametrize("order, weighted", [("C", True), ("F", False)])
@pytest.mark.parametrize("k, d", [(1, 1), (2, 1), (3, 2), (4, 3)])
@pytest.mark.parametrize("family", list(EXPERTS))
def test_groups(family, k, d, order, weighted, rng, monkeypatch):
    """Groups of one to many rows, one of them longer than a chunk of rows."""
    groups = np.sort(np.append(rng.integers(0, 200, 500), np.full(600, 77)))
    assert_composed(problem(family, k, d, rng, groups=groups, order=order, weighted=weighted), monkeypatch)


@pytest.mark.parametrize("family", list(EXPERTS))
def test_groups_of_one_row_are_rows(family, rng):
    """Groups of one in the kernel itself, which nobody else asks for."""
    found = problem(family, 3, 2, rng, n=700)
    block, kind = found.blocks.take(slice(None)), list(EXPERTS).index(family)
    lines = [field for part in found.params for field in part] + ([] if family == "gaussian" else [np.empty(0)])
    beside = [np.empty(0) if values is None else values for values in (block.offset, block.trials)]
    rows, groups = (
        family_pass(kind, *smoe.fused._arguments(block, *lines), first, *beside, True, True)
        for first in (np.empty(0, dtype=np.int64), np.arange(700))
    )
    for a, b in zip(rows, groups, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_log_densities_of_counts_against_scipy(rng):
    """One expert: the log-likelihood is the family's; counts beyond the table, and predictors at their bounds."""
    y, trials = np.array([0.0, 1.0, 7.0, 1023.0, 1024.0, 5e6]), np.array([1.0, 1.0, 9.0, 2000.0, 1024.0, 6e6])
    for family, beside, slope in [("poisson", 0.0, 1.0), ("binomial", trials, 0.3), ("poisson", 0.0, 1e4)]:
        X = np.column_stack([np.linspace(-2.0, 2.0, 6), np.broadcast_to(beside, 6)])
        model, roles = (
            MixtureOfExperts(SoftmaxGate(), EXPERTS[family]),
            Roles(trials=1 if family == "binomial" else None),
        )
        blocks = Blocks(model, ArraySource(X, y), Scaling.identity(np.arange(1), np.arange(1)), roles)
        params = model.init_params(1, 1, 1)
        params = params._replace(expert=params.expert._replace(coef=np.array([[slope]]), intercept=np.array([0.5])))
        eta = np.clip(slope * X[:, 0] + 0.5, -300.0, 300.0)
        if family == "poisson":
            wanted = y * eta - np.exp(eta) - gammaln(y + 1.0)
            if slope == 1.0:
                np.testing.assert_allclose(wanted, poisson.logpmf(y, np.exp(eta)), rtol=1e-12)
        else:
            wanted = binom.logpmf(y, trials, 1.0 / (1.0 + np.exp(-eta)))
        np.testing.assert_allclose(blocks.sum(model.statistics, params).loglik, wanted.sum(), rtol=1e-12)
