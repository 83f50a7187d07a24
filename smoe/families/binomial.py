"""Numbers of successes in a number of trials."""

from typing import NamedTuple

import numpy as np
from scipy.special import betainc, erfcx, expit, log_expit, log_ndtr, logit, ndtr, ndtri
from scipy.stats import binom

from smoe.families.base import Family, Support
from smoe.families.poisson import log_factorial
from smoe.validation import check_choice

__all__ = ["LINKS", "Binomial"]

_HALF_PI = np.sqrt(2.0 / np.pi)


class _Logit(NamedTuple):
    """Log odds."""

    link = staticmethod(logit)
    inverse = staticmethod(expit)

    @staticmethod
    def logs(eta):
        """Return the logarithms of the probabilities of success and of failure."""
        return log_expit(eta), log_expit(-eta)

    @staticmethod
    def slopes(eta):
        """Return their first, and minus their second derivatives by the predictor."""
        p = expit(eta)
        bend = p * (1.0 - p)
        return (1.0 - p, -p), (bend, bend)


class _Probit(NamedTuple):
    """Normal quantiles."""

    link = staticmethod(ndtri)
    inverse = staticmethod(ndtr)

    @staticmethod
    def logs(eta):
        return log_ndtr(eta), log_ndtr(-eta)

    @staticmethod
    def slopes(eta):
        one, none = (_HALF_PI / erfcx(-sign * eta / np.sqrt(2.0)) for sign in (1.0, -1.0))  # density over probability
        return (one, -none), (one * (one + eta), none * (none - eta))


class _CLogLog(NamedTuple):
    """Logarithms of rates: at least one event of a Poisson number is a success."""

    @staticmethod
    def link(p):
        return np.log(-np.log1p(-p))

    @staticmethod
    def inverse(eta):
        return -np.expm1(-np.exp(eta))

    @staticmethod
    def logs(eta):
        rate = np.exp(eta)
        return np.log(-np.expm1(-rate)), -rate

    @staticmethod
    def slopes(eta):
        rate = np.exp(eta)
        ratio = rate / -np.expm1(-rate)
        share = ratio * np.exp(-rate)
        return (share, -rate), (share * (ratio - 1.0), rate)


LINKS = {"logit": _Logit, "probit": _Probit, "cloglog": _CLogLog}


class Binomial(Family):
    r"""Binomial regression: y successes in N trials.

    .. math:: f(y) = \binom{N}{y} p^y (1 - p)^{N - y}, \qquad g(p) = a^\top x + b

    ``trials_feature`` names the column of X that holds N; without one every row is a single trial. Means and draws are
    numbers of successes. A mixture whose gate does not depend on x can be told apart at a given x only if there are at
    least 2k - 1 trials for k experts; with fewer, a fit says so. Log-likelihoods hold the binomial coefficients, so
    that those of counts and of the single trials differ by these.

    Parameters
    ----------
    link_function : {"logit", "probit", "cloglog"}, default="logit"
        g: log odds, normal quantiles, or log(-log(1 - p)).

    References
    ----------
    Follmann, D. A. and Lambert, D. (1991). Identifiability of finite mixtures of logistic regression models. Journal of
    Statistical Planning and Inference 27, 375-381.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe import MoERegressor
    >>> rng = np.random.default_rng(0)
    >>> x, trials = rng.uniform(-1, 1, 500), rng.integers(5, 20, 500)
    >>> y = rng.binomial(trials, 1 / (1 + np.exp(-2 * x)))
    >>> model = MoERegressor(1, expert="binomial", trials_feature=1).fit(np.column_stack([x, trials]), y)
    >>> model.expert_coef_.round(1)
    array([[2.1]])
    """

    support = Support(0.0, closed=(True, False), kind="integers")
    concave = True
    takes_trials = True

    def __init__(self, link_function: str = "logit") -> None:
        self.link_function = link_function

    def check(self):
        check_choice(self.link_function, "Binomial: link_function", LINKS)

    def read(self, y):
        """Return the successes as floats; of two columns, successes and failures, say how they are given."""
        if getattr(y, "shape", ())[1:] == (2,):
            raise ValueError(
                "y: Binomial takes numbers of successes alone; of two columns (successes, failures) pass the first, "
                "and add their sum to X as the column that trials_feature names: predictions need it, too."
            )
        return super().read(y)

    @property
    def _link(self):
        return LINKS[self.link_function]

    def log_prob(self, rows, eta, phi):
        y, n = rows.y, _trials(rows)
        one, none = self._link.logs(eta[0])
        left = np.maximum(n - y, 0.0)
        # 0 times the logarithm of a probability of zero is zero
        inside = np.where(y > 0, y * np.where(y > 0, one, 0.0), 0.0) + left * np.where(left > 0, none, 0.0)
        return np.where(y <= n, inside + log_factorial(n) - log_factorial(y) - log_factorial(left), -np.inf)

    def derivatives(self, rows, eta, phi):
        y, left = rows.y, _trials(rows) - rows.y
        (one, none), (bend, fold) = self._link.slopes(eta[0])
        return (y * one + left * none)[None], (y * bend + left * fold)[None, None]

    def link(self, rows):
        return self._link.link((rows.y + 0.5) / (_trials(rows) + 1.0))

    def mean(self, rows, eta, phi):
        return _trials(rows) * self._link.inverse(eta[0])

    def mean_slopes(self, rows, eta, phi):
        (one, _), _ = self._link.slopes(eta[0])
        return (_trials(rows) * one * self._link.inverse(eta[0]))[None]  # p' is p times the slope of its logarithm

    def variance(self, rows, eta, phi):
        one, none = self._link.logs(eta[0])
        return _trials(rows) * np.exp(one + none)

    def cdf(self, rows, eta, phi, upper=False):
        """Return the distribution functions at y, or with ``upper`` one minus them."""
        count, n, p = np.floor(rows.y), _trials(rows), self._link.inverse(eta[0])
        at = np.clip(count, 0.0, np.maximum(n - 1.0, 0.0))
        inside = betainc(at + 1.0, n - at, p) if upper else betainc(n - at, at + 1.0, 1.0 - p)
        return np.where(count < 0, float(upper), np.where(count >= n, 1.0 - upper, inside))

    def ppf(self, rows, q, eta, phi, upper=False):
        """Return the smallest numbers at which the distribution function is at least q."""
        return (binom.isf if upper else binom.ppf)(q, _trials(rows), self._link.inverse(eta[0]))

    def sample(self, rows, eta, phi, rng):
        n = np.broadcast_to(_trials(rows), eta[0].shape).astype(np.int64)
        return rng.binomial(n, self._link.inverse(eta[0])).astype(float)


def _trials(rows):
    """Return the number of trials of each row: one unless they are given."""
    return np.ones(1) if rows is None or rows.trials is None else rows.trials
