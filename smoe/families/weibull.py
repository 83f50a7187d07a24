"""Weibull responses."""

from smoe.families.location_scale import LocationScale
from smoe.families.noise import ExtremeValue
from smoe.families.transforms import Log

__all__ = ["Weibull"]


class Weibull(LocationScale):
    r"""Weibull regression of positive times, some of which may be right-censored.

    .. math:: \log Y = a^\top x + b + \sigma \epsilon, \qquad
        S(y) = \exp\big(-(y / \lambda)^{1/\sigma}\big), \qquad \log \lambda = a^\top x + b

    with standard extreme-value noise. It is an accelerated failure time model, a unit of x multiplies times by
    :math:`e^a`, and one of proportional hazards, with the log hazard ratio :math:`-a/\sigma`. The mean is
    :math:`\lambda\,\Gamma(1 + \sigma)`, the median :math:`\lambda (\log 2)^\sigma`; :math:`\sigma = 1` is the
    exponential distribution.

    ``event_feature`` names the column of X that says whether y is the time of the event (1) or the time up to which
    it had not happened (0). Without one all events are seen. Censoring must tell nothing of the time beyond
    what x says. An expert all of whose rows are censored has no finite maximum: ``status_`` names it.

    Parameters
    ----------
    floor : float, default=1e-4
        Smallest scale :math:`\sigma`: the likelihood has no bound where it vanishes, and a fit that ends on the floor
        says so.

    References
    ----------
    Kalbfleisch, J. D. and Prentice, R. L. (2002). The Statistical Analysis of Failure Time Data, 2nd ed., chapter 3.
    Wiley.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe import MoERegressor
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(-1, 1, 500)
    >>> time, end = np.exp(1.0 + 2.0 * x) * rng.weibull(2.0, 500), rng.exponential(5.0, 500)
    >>> X = np.column_stack([x, time <= end])
    >>> model = MoERegressor(1, expert="weibull", event_feature=1).fit(X, np.minimum(time, end))
    >>> model.expert_coef_.round(1), model.expert_scale_.round(1)
    (array([[2.]]), array([0.5]))
    """

    noise, g = ExtremeValue(), Log()
