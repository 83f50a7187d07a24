"""Log-logistic responses."""

from smoe.families.location_scale import LocationScale
from smoe.families.noise import Logistic
from smoe.families.transforms import Log

__all__ = ["LogLogistic"]


class LogLogistic(LocationScale):
    r"""Log-logistic regression of positive times, some of which may be right-censored.

    .. math:: \log Y = a^\top x + b + \sigma \epsilon, \qquad
        S(y) = \frac{1}{1 + (y / \lambda)^{1/\sigma}}, \qquad \log \lambda = a^\top x + b

    with standard logistic noise. It is an accelerated failure time model, a unit of x multiplies times by :math:`e^a`,
    and one of proportional odds of survival, with the log odds ratio :math:`a/\sigma`. Hazards rise and fall if
    :math:`\sigma < 1`. The median is :math:`\lambda`. Tails fall like a power: the mean is
    :math:`\lambda\, \pi\sigma / \sin \pi\sigma` for :math:`\sigma < 1` and infinite else, which ``predict`` says; the
    variance is infinite from :math:`\sigma = 1/2` on. Quantiles are always finite.

    ``event_feature`` names the column of X that says whether y is the time of the event (1) or the time up to which
    it had not happened (0), see `Weibull`.

    Parameters
    ----------
    floor : float, default=1e-4
        Smallest scale :math:`\sigma`: the likelihood has no bound where it vanishes, and a fit that ends on the floor
        says so.

    References
    ----------
    Bennett, S. (1983). Log-logistic regression models for survival data. Applied Statistics 32, 165-171.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe import MoERegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (500, 1))
    >>> y = np.exp(1.0 + 2.0 * X[:, 0] + 0.5 * rng.logistic(size=500))
    >>> model = MoERegressor(1, expert="log_logistic").fit(X, y)
    >>> model.expert_coef_.round(1), model.expert_scale_.round(1)
    (array([[1.9]]), array([0.5]))
    """

    noise, g = Logistic(), Log()
