"""The contract of a penalty: what is taken off the log-likelihood before it is maximised."""

import numpy as np
from sklearn.base import BaseEstimator

from smoe.params import MoEParams

__all__ = ["Penalty", "zeros_like"]


class Penalty(BaseEstimator):
    r"""A smooth function of the parameters, and perhaps of the rows, that fits subtract from the log-likelihood.

    .. math:: \ell(\theta) - P(\theta)

    Every solver, the search and the certificate see the difference; log-likelihoods are reported without it. Parameters
    are in working coordinates (columns of mean zero and variance one, y likewise where its family allows it), so that a
    penalty means the same whatever the units.

    A penalty implements ``value``, ``gradient`` and ``curvature``. One that depends on the rows collects what it needs
    of them in ``sums``, which adds up over blocks and is passed back to the others.

    Attributes
    ----------
    words : str
        What it is called, in ``status_``.
    remark : str
        What ``status_`` says of it.
    given : str
        What standard errors are given, or nothing.
    equivariant : bool
        Whether it is the same for all linear combinations of the columns that say the same. Else fits work on the
        standardised columns themselves, however collinear.
    moves_estimates : bool
        Whether it moves them so far that standard errors would mean nothing; else they are those of the penalised
        log-likelihood.
    kinked : bool
        Whether it has kinks at zero, where slopes then may be held. Such a penalty has ``weights(params)``, those of
        absolute values first, ``groups(params)``, ``steepest``, ``kink_curvature``, ``free`` and ``centred``, as
        `smoe.penalties.ElasticNet` does; ``gradient`` and ``curvature`` are those of the rest.
    keeps_columns : bool
        Whether it tells apart columns that are linear combinations of others.
    default_solver : str or None
        Name of the solver that ``solver="auto"`` means with it; None for the gate's.
    """

    words = "penalty"
    given = ""
    equivariant = False
    moves_estimates = False
    kinked = False
    keeps_columns = False
    default_solver: str | None = None

    @property
    def remark(self):
        return f"the {self.words} takes part: no maximum of the likelihood alone"

    def bind(self, model, scaling):
        """Return the penalty that knows what it must of the working coordinates: itself."""
        return self

    def check(self, gate):
        """Raise ValueError or TypeError for settings that make no sense with this gate."""

    def sums(self, model, block, params, curved):
        """Return what it needs of a block of rows, an array or a named tuple that adds up; None for nothing.

        Parameters
        ----------
        model : MixtureOfExperts
        block : Block
        params : MoEParams
        curved : bool
            Whether ``curvature`` will be asked for.
        """
        return None

    def value(self, model, params, sums, n):
        """Return P; n is the sum of the weights."""
        raise TypeError(f"{type(self).__name__} must implement value.")

    def gradient(self, model, params, sums, n):
        """Return its derivative, shaped like the parameters."""
        raise TypeError(f"{type(self).__name__} must implement gradient.")

    def curvature(self, model, params, sums, n):
        """Return its second derivative, a matrix in flat order."""
        raise TypeError(f"{type(self).__name__} must implement curvature.")


def zeros_like(params):
    """Return parameters of the same shapes that are all zero."""
    return MoEParams(*(type(part)(*(np.zeros(np.shape(field)) for field in part)) for part in params))
