"""Groups of rows with one label: what a row is elsewhere a group is here."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import naive
from helpers import assert_close, assert_derivative, estimable, expert_of, quietly, random_expert, random_gate, twin
from smoe import MoEClassifier, MoERegressor
from smoe.features import Roles
from smoe.gates import GATES
from smoe.inference.rows import row_scores
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten
from smoe.rows import ArraySource, Blocks, Scaling, by_group

PAIRS = [
    *(("softmax", expert) for expert in ("gaussian", "negative_binomial", "multinomial", "multivariate_gaussian")),
    *((gate, "gaussian") for gate in ("gaussian", "tree", "dense_to_sparse", "sigmoid")),
]


class Panel:
    """Five groups of one to four rows in any order, drawn from a random truth, in one set of coordinates."""

    def __init__(self, gate, expert, k=2, seed=0):
        rng = np.random.default_rng(seed)
        self.group = rng.permutation(np.repeat(np.arange(5), [3, 1, 4, 2, 3]))
        self.model = MixtureOfExperts(GATES[gate](), expert_of(expert))
        self.X = np.column_stack([rng.normal(size=5)[self.group], rng.normal(size=13), self.group])
        self.params = MoEParams(random_gate(self.model.gate, k, 1, rng), random_expert(self.model.expert, k, 1, rng))
        self.weight = rng.uniform(0.5, 2.0, 5)
        self.y = self.model.expert.read(self.model.expert.write(self.drawn(rng)))
        self.blocks = self.visited(ArraySource(self.X, self.y, self.weight[self.group]))
        self.twin = twin(self.model)

    def visited(self, source):
        return Blocks(self.model, by_group(source, 2, [0]), Scaling.identity([0], [1]), Roles(group=2))

    def drawn(self, rng):
        return self.visited(ArraySource(self.X)).map_rows(lambda b, p: self.model.sample(b, p, rng)[0], self.params)

    def joint(self, params, code):
        """Log pi_k(w_g) plus the sum of the log densities of the rows of a group."""
        rows = np.flatnonzero(self.group == code)
        gate = np.log(naive.softmax(self.twin.scores(self.X[rows[0], :1], params.gate)))
        return gate + sum(np.array(self.twin.log_density(self.y[i], self.X[i, 1:2], params.expert)) for i in rows)

    def loglik(self, params):
        return math.fsum(w * naive.log_sum_exp(self.joint(params, code)) for code, w in enumerate(self.weight))


@pytest.mark.parametrize("gate, expert", PAIRS)
def test_a_pass_over_groups_is_the_likelihood_written_out(gate, expert):
    panel = Panel(gate, expert)
    model, params, blocks = panel.model, panel.params, panel.blocks
    found = blocks.sum(model.curvature, params)
    own = estimable(params, model.fields)
    score = naive.gradient(panel.loglik, params, step=1e-4)
    hessian = naive.hessian(panel.loglik, params)
    np.testing.assert_allclose(found.loglik, panel.loglik(params), rtol=1e-11)
    assert_derivative(flatten(found.score)[own], score[own], 1e-7)
    assert_derivative(found.information[np.ix_(own, own)], -hessian[np.ix_(own, own)], 5e-6)
    statistics = blocks.sum(model.statistics, params)
    assert_derivative(flatten(model.score(params, statistics, 1.0))[own], score[own], 1e-7)
    rows = blocks.map(lambda block, p: row_scores(model, block, p), params) @ blocks.source.weight
    assert_derivative(rows[own], score[own], 1e-7)
