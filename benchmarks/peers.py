"""smoe and its peers behind one face: some iterations from a given start, and a fit with defaults."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy_em import numpy_em
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.mixture import GaussianMixture
from speed_common import (
    loglik,
    moe_params,
    package_version,
    posterior,
    r_version,
    seconds,
    split_start,
    two_experts,
    working,
)

from smoe import SoftmaxMoERegressor
from smoe.solvers import EM

_SCRIPT = Path(__file__).with_name("flexmix.R")
_ENOUGH = 10.0  # seconds of default fits after which no further repeat begins


class Peer:
    """One implementation; the default is a Python package that is timed in this process."""

    name = package = ""
    counts = (10, 60)  # iterations of the two runs whose difference is the cost of one
    bar = None  # how many times as long as smoe's an iteration takes at least
    quantity = "y given x"  # whose log-likelihood is climbed

    def missing(self):
        """Say what is not installed; None if nothing is missing."""
        return None if package_version(self.package) else f"{self.package} is not installed"

    def iterate(self, problem, n):
        """Do n iterations from the start of the problem."""
        raise NotImplementedError

    def default(self, X, y, seed):
        """Fit with defaults; return the model."""
        raise NotImplementedError

    def reached(self, model, X, y):
        """Return the log-likelihood of y given X of a fitted model."""
        raise NotImplementedError

    def per_iteration(self, problem):
        """Return seconds per iteration: what more iterations cost, so that the beginning and the end do not count."""
        few, many = self.counts
        return (seconds(self.iterate, problem, many) - seconds(self.iterate, problem, few)) / (many - few)

    def warm_up(self):
        """Load or compile what a fit needs."""
        small = two_experts(500)
        self.default(small.X, small.y, 0)

    def default_fits(self, problem):
        """Yield seconds and log-likelihood of up to five fits, each with its seed; slow ones are not repeated."""
        total = 0.0
        for seed in range(5):
            begin = time.perf_counter()
            model = self.default(problem.X, problem.y, seed)
            took = time.perf_counter() - begin
            yield took, self.reached(model, problem.X, problem.y)
            total += took
            if total > _ENOUGH:
                break


class Smoe(Peer):
    """EM from the start; by default 40 screened starts, Newton to the top, certificate, standard errors."""

    name = package = "smoe"
    counts = (50, 550)

    def iterate(self, problem, n):
        return EM(n, 0.0).solve(*self._task(problem))

    def _task(self, problem):
        blocks, start = working(problem.X, problem.y, problem.start)
        return blocks.model, blocks, start

    def default(self, X, y, seed):
        return SoftmaxMoERegressor(2, random_state=seed).fit(X, y)

    def reached(self, model, X, y):
        return loglik(X, y, model.params_)


class NumpyEM(Peer):
    """The same algorithm in plain numpy; its "defaults" are one run from the same start to a tight tolerance."""

    name, package = "numpy EM", "numpy"

    def iterate(self, problem, n):
        return numpy_em(problem.X, problem.y, problem.start, n)

    def default(self, X, y, seed):
        return numpy_em(X, y, split_start(X, y, (y > np.median(y)).astype(int)), 1000, 1e-10)

    def reached(self, model, X, y):
        return loglik(X, y, moe_params(*model[:3]))


class Cgmm(Peer):
    """The same model; one Python call per row and expert in its E-step, a full Newton run for the gate."""

    name = package = "cgmm"
    counts = (2, 5)
    bar = 2000

    def iterate(self, problem, n):
        from cgmm import MixtureOfExpertsRegressor
        from cgmm.moe import _Params

        gate, expert = problem.start
        cov = expert.variance[:, None, None].copy()
        # Its iterations write into the parameters, so every run gets its own.
        begin = _Params(
            A=expert.coef[:, None].copy(),
            b=expert.intercept[:, None].copy(),
            cov=cov,
            W=gate.coef[:-1].copy(),
            c=gate.intercept[:-1].copy(),
            chol=np.sqrt(cov),
        )
        model = MixtureOfExpertsRegressor(2, max_iter=n, tol=-np.inf)
        model._init_params = lambda X, y, rng: begin
        return model.fit(problem.X, problem.y)

    def default(self, X, y, seed):
        from cgmm import MixtureOfExpertsRegressor

        return MixtureOfExpertsRegressor(2, random_state=seed).fit(X, y)

    def reached(self, model, X, y):
        p = model._params
        gate = np.vstack([np.column_stack([p.W, p.c]), np.zeros(X.shape[1] + 1)])
        return loglik(X, y, moe_params(gate, np.column_stack([p.A[:, 0], p.b]), p.cov[:, 0, 0]))


class JointGaussian(Peer):
    """scikit-learn's mixture of joint Gaussians of (x, y): climbs another likelihood, that of x and y together."""

    name, package = "GaussianMixture", "scikit-learn"
    bar = 20
    quantity = "x and y"

    def iterate(self, problem, n):
        rows = np.column_stack([problem.X, problem.y])
        parts = [rows[problem.label == i] for i in range(2)]
        begin = {
            "weights_init": np.array([len(part) for part in parts]) / len(rows),
            "means_init": np.array([part.mean(axis=0) for part in parts]),
            "precisions_init": np.array([np.linalg.inv(np.cov(part.T)) for part in parts]),
        }
        return GaussianMixture(2, tol=0.0, max_iter=n, init_params="random_from_data", **begin).fit(rows)

    def default(self, X, y, seed):
        return GaussianMixture(2, random_state=seed).fit(np.column_stack([X, y]))

    def reached(self, model, X, y):
        sd = np.sqrt(model.covariances_[:, 0, 0])
        marginal = logsumexp(np.log(model.weights_) + norm.logpdf(X, model.means_[:, 0], sd), axis=1)
        return float(np.sum(model.score_samples(np.column_stack([X, y])) - marginal))


class StepMix(Peer):
    """The nearest model that it has: a gate that is linear in x, and experts without slopes."""

    name = package = "stepmix"

    def _model(self, **settings):
        from stepmix import StepMix

        return StepMix(2, measurement="gaussian_full", structural="covariate", progress_bar=0, **settings)

    def iterate(self, problem, n):
        model = self._model(max_iter=n, abs_tol=0.0)
        draw = model._initialize_parameters

        def begin(X, random_state):
            draw(X, random_state)
            model.log_resp_ = np.log(np.clip(np.eye(2)[problem.label], 1e-15, 1.0))
            model._initialize_parameters_measurement(X, random_state)

        model._initialize_parameters = begin
        return model.fit(problem.y[:, None], problem.X)

    def default(self, X, y, seed):
        return self._model(random_state=seed).fit(y[:, None], X)

    def reached(self, model, X, y):
        gate = model._sm.parameters["beta"][:, [*range(1, X.shape[1] + 1), 0]]
        lines = np.column_stack([np.zeros((2, X.shape[1])), model._mm.means_])
        return loglik(X, y, moe_params(gate, lines, model._mm.covariances_[:, 0, 0]))


class Flexmix(Peer):
    """The same model in R, with multinom for the gate; timed inside R."""

    name = package = "flexmix"
    counts = (5, 25)
    bar = 200

    def missing(self):
        found = shutil.which("Rscript") and r_version("flexmix")
        return None if found else "R with flexmix is not installed"

    def per_iteration(self, problem):
        return self._slope("iterate", posterior(problem.X, problem.y, problem.start), problem)

    def per_iteration_of_counts(self, problem, resp):
        """The same with Poisson experts."""
        return self._slope("counts", resp, problem)

    def _slope(self, what, resp, problem):
        few, many = self.counts
        first, second = self._run(problem.X, problem.y, resp, what, few, many)
        return (second - first) / (many - few)

    def warm_up(self):
        """R warms up by itself."""

    def default_fits(self, problem):
        resp = posterior(problem.X, problem.y, problem.start)
        yield from np.reshape(self._run(problem.X, problem.y, resp, "default", _ENOUGH), (-1, 2)).tolist()

    def _run(self, X, y, resp, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "data.csv"
            rows = np.column_stack([X, y, resp])
            np.savetxt(path, rows, fmt="%.17g", delimiter=",", header="x,y,p1,p2", comments="")
            command = ["Rscript", _SCRIPT, path, *map(str, arguments)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [float(word) for word in printed.split()]


SMOE, FLEXMIX = Smoe(), Flexmix()
PEERS = {peer.name: peer for peer in (SMOE, Cgmm(), JointGaussian(), StepMix(), NumpyEM(), FLEXMIX)}
