"""Responses that are normal after a transformation."""

import math
import numbers

from smoe.families.location_scale import LocationScale
from smoe.families.noise import Normal
from smoe.families.transforms import BoxCox, Log, Logit, SquareRoot

__all__ = ["TransformedGaussian"]

_TRANSFORMS = {"log": Log(), "logit": Logit(), "sqrt": SquareRoot()}


class TransformedGaussian(LocationScale):
    r"""Normal regression of a transformed response, as a density of y.

    .. math:: f(y) = g'(y)\, N\big(g(y);\; a^\top x + b,\; \sigma^2\big)

    Log-likelihoods hold the Jacobian :math:`g'(y)` and can be compared with those of other families of y. The median
    is :math:`g^{-1}(a^\top x + b)`. "log" (``expert="log_normal"``) has the mean
    :math:`\exp(a^\top x + b + \sigma^2/2)`; other means and variances are Gauss-Legendre sums of 64 points.

    Square roots and Box-Cox powers are bounded below (at 0 and :math:`-1/\lambda`), a normal distribution is not: it
    is cut off there, f is divided by what is left, :math:`\Phi((a^\top x + b - \inf g)/\sigma)`, and has mass one.
    Where predictors are some four :math:`\sigma` above the bound that is one and the normal regression remains. Where
    they are not, :math:`a^\top x + b` is the mode of g(y) and not its mean or median; with most of the distribution cut
    off, predictor and scale can hardly be told apart, and "log" is the better choice.

    Rows may be right-censored, by ``event_feature``: see `Weibull`.

    Parameters
    ----------
    transform : {"log", "logit", "sqrt"} or ("box_cox", exponent), default="log"
        g: the logarithm of positive numbers, the log odds of numbers between 0 and 1, the square root of positive
        numbers, or :math:`(y^\lambda - 1)/\lambda` of positive numbers with a positive exponent :math:`\lambda`.
    floor : float, default=1e-4
        Smallest scale :math:`\sigma` (with "sqrt" and Box-Cox for y in units of its mean): the likelihood has no bound
        where it vanishes, and a fit that ends on the floor says so.

    References
    ----------
    Crow, E. L. and Shimizu, K. (eds.) (1988). Lognormal Distributions: Theory and Applications. Dekker.
    Poirier, D. J. (1978). The use of the Box-Cox transformation in limited dependent variable models. JASA 73, 284-287.

    Examples
    --------
    >>> import numpy as np
    >>> from smoe import MoERegressor
    >>> from smoe.families import TransformedGaussian
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (500, 1))
    >>> y = np.exp(1.0 + 2.0 * X[:, 0] + 0.5 * rng.normal(size=500))
    >>> model = MoERegressor(1, expert="log_normal").fit(X, y)
    >>> model.expert_coef_.round(1), model.expert_scale_.round(1)
    (array([[2.]]), array([0.5]))
    >>> power = MoERegressor(1, expert=TransformedGaussian(("box_cox", 0.5))).fit(X, y)
    >>> power.loglik_ < model.loglik_
    True
    """

    noise = Normal()

    def __init__(self, transform: str | tuple = "log", floor: float = 1e-4) -> None:
        self.transform = transform
        self.floor = floor

    @property
    def name(self):
        """Its name in the field: LogNormal, LogitNormal, ..."""
        return f"{self.g.name}Normal"

    @property
    def g(self):
        """The transformation that is meant."""
        if isinstance(self.transform, str) and self.transform in _TRANSFORMS:
            return _TRANSFORMS[self.transform]
        kind, exponent = self.transform if _is_pair(self.transform) else (None, None)
        if kind != "box_cox":
            raise ValueError(
                "TransformedGaussian: transform must be 'log', 'logit', 'sqrt' or ('box_cox', exponent), "
                f"got {self.transform!r}."
            )
        if not isinstance(exponent, numbers.Real) or not 0.0 < exponent < math.inf:
            raise ValueError(
                f"TransformedGaussian: the exponent of 'box_cox' must be a positive number, got {exponent!r}; zero is "
                "transform='log', and a negative one the model of 1 / y with minus the exponent."
            )
        return BoxCox(float(exponent))


def _is_pair(value):
    return isinstance(value, tuple | list) and len(value) == 2
