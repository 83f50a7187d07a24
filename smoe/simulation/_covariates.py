"""Laws of the covariates: how to draw them, which one-dimensional law they follow, how to name them."""

import numpy as np
from scipy import stats

from smoe.settings import described, rounded

__all__ = ["resolve_covariates"]

_LISTED = '"uniform", "normal", "grid", a frozen distribution of scipy.stats, or a callable (n, rng) -> (n, n_features)'
_PROBE_ROWS = 3  # draws that tell one callable from another of the same name
_PROBE_LEVELS = (0.03, 0.3, 0.7, 0.97)


class _Columns:
    """Independent columns, all of one univariate law."""

    def __init__(self, law, name=None):
        self.law, self.name = law, name

    def draw(self, n, n_features, rng):
        return self.law.rvs(size=(n, n_features), random_state=rng)

    def describe(self, n_features):
        if self.name is not None:
            return self.name
        law = self.law  # own laws may share a name, or have none: some quantiles tell them apart
        quantiles = rounded(law.ppf(_PROBE_LEVELS))
        return {"law": law.dist.name, "args": described(law.args), "kwds": described(law.kwds), "quantiles": quantiles}


class _Grid:
    """The fixed design linspace(0, 1, n); as n grows its rows spread like the uniform law."""

    law = stats.uniform()

    def draw(self, n, n_features, rng):
        if n_features != 1:
            raise ValueError(f'covariates="grid" is for one feature, the truth has {n_features}; choose "uniform".')
        return np.linspace(0.0, 1.0, n)[:, None]

    def describe(self, n_features):
        return "grid"


class _Rows:
    """Independent rows of a multivariate law."""

    law = None

    def __init__(self, distribution):
        self.distribution = distribution

    def draw(self, n, n_features, rng):
        return np.reshape(self.distribution.rvs(size=n, random_state=rng), (n, -1))

    def describe(self, n_features):
        settings = {key: value for key, value in vars(self.distribution).items() if not key.startswith("_")}
        settings["cov"] = getattr(self.distribution, "cov", None)  # the normal law keeps it behind a property
        numbers = {k: described(v) for k, v in settings.items() if isinstance(v, float | int | np.ndarray)}
        draws = rounded(self.draw(_PROBE_ROWS, n_features, np.random.default_rng(0)))
        return {"law": type(self.distribution).__name__, **numbers, "draws": draws}


class _Function:
    """Rows from a function of their number and a generator."""

    law = None

    def __init__(self, function):
        self.function = function

    def draw(self, n, n_features, rng):
        return self.function(n, rng)

    def describe(self, n_features):
        # Two functions may share a name (two lambdas do): a few rows tell them apart.
        draws = rounded(self.function(_PROBE_ROWS, np.random.default_rng(0)))
        return {"function": described(self.function), "draws": draws}


def resolve_covariates(covariates):
    """Return an object with ``draw(n, n_features, rng)``, ``law`` (univariate, or None) and ``describe(n_features)``.

    Raises
    ------
    ValueError, TypeError
        An unknown name, or no kind of covariates.
    """
    named = {"uniform": stats.uniform, "normal": stats.norm}
    if isinstance(covariates, str):
        if covariates == "grid":
            return _Grid()
        if covariates in named:
            return _Columns(named[covariates](), covariates)
        raise ValueError(f"covariates={covariates!r} is not known; choose {_LISTED}.")
    if hasattr(covariates, "rvs") and not isinstance(covariates, stats.rv_continuous | stats.rv_discrete):
        return _Columns(covariates) if hasattr(covariates, "ppf") else _Rows(covariates)
    if callable(covariates) and not hasattr(covariates, "rvs"):
        return _Function(covariates)
    raise TypeError(f"covariates must be {_LISTED}, got {covariates!r}; freeze a distribution by calling it.")
