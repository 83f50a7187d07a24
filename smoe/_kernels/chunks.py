"""What passes over chunks of rows are made of: designs, the gate's score and information, sums of log densities."""

import numpy as np

from smoe._kernels._jit import ZERO, inner
from smoe._kernels.designs import rotate, standardise
from smoe._kernels.elementary import log
from smoe._kernels.moments import add_dots, dot, mirror, negative_product, total
from smoe._kernels.observed import close_cross_products, close_expert_products
from smoe._kernels.posterior import add_logs

CHUNK = 512  # rows
LOGS = 64  # logarithms of products of rows, one for each so many rows apart


@inner
def _pull(weight, proba, resp, out):
    for i in range(len(out)):
        out[i] = resp[i] - weight[i] * proba[i]


@inner
def _add_pair(a, b, inverse, out):
    for i in range(len(out)):
        out[i] += a[i] * inverse[i] * b[i]


@inner
def _every(flat, start, step, shift, inverse_scale, out):
    """Standardise every step-th number from ``start`` on."""
    for i in range(len(out)):
        out[i] = (flat[start + i * step] - shift) * inverse_scale


@inner
def designs(flat, row_step, column_step, low, columns, shift, inverse_scale, factor, m, Z):
    """Put the design of m rows from ``low`` on into Z."""
    for j in range(len(columns)):
        start = low * row_step + columns[j] * column_step
        if row_step == 1:
            standardise(flat[start : start + m], shift[j], inverse_scale[j], Z[j, :m])
        else:
            _every(flat, start, row_step, shift[j], inverse_scale[j], Z[j, :m])
    rotate(Z, factor, m)


@inner
def ones(n_rows, width):
    """Return room for a design, whose last row stays one."""
    Z = np.empty((n_rows + 1, width))
    Z[n_rows] = 1.0
    return Z


@inner
def _fold(ratio, product):
    for i in range(len(ratio)):
        product[i] *= ratio[i]


@inner
def _log(product):
    for i in range(len(product)):
        product[i] = log(product[i])


@inner
def row_logs(top, ratio, weight, one_weight, product):
    """Return the weighted sum of log(ratio) + top; with one weight for all, of products of ratios: logs are dear."""
    if not one_weight:
        add_logs(ratio, top)
        return dot(weight, top)
    product[:] = 1.0
    for low in range(0, len(ratio), len(product)):
        _fold(ratio[low : low + len(product)], product)
    _log(product)
    return weight[0] * (total(product) + total(top))


@inner
def add_gate_score(proba, resp, weight, Z, pull, score):
    """Add all rows but the last, which is minus their sum."""
    m = len(weight)
    for i in range(len(proba) - 1):
        _pull(weight, proba[i, :m], resp[i, :m], pull)
        add_dots(pull, Z, ZERO, ZERO, score[i])


@inner
def gate_weights(proba, weight, weights):
    """Fill the weights -w p_i p_j of the pairs i < j."""
    m, pair = len(weight), 0
    for i in range(len(proba)):
        for j in range(i + 1, len(proba)):
            negative_product(weight, proba[i, :m], proba[j, :m], weights[pair, :m])
            pair += 1


@inner
def add_observed(resp, inverse, weights):
    """Add r_i r_j / w, with resp times the weights."""
    m, pair = len(inverse), 0
    for i in range(len(resp)):
        for j in range(i + 1, len(resp)):
            _add_pair(resp[i, :m], resp[j, :m], inverse, weights[pair, :m])
            pair += 1


@inner
def invert(weight, out):
    """Out = 1 / weight."""
    for i in range(len(out)):
        out[i] = 1.0 / weight[i]


@inner
def close(score, gram, pairs, between, both, observed):
    """Fill in what follows from what was summed: the last expert's score, and the other halves of symmetric arrays."""
    last = len(score) - 1
    for i in range(last):
        for a in range(score.shape[1]):
            score[last, a] -= score[i, a]
    mirror(gram)
    mirror(pairs)
    if observed:
        close_expert_products(between)
        close_cross_products(both)
