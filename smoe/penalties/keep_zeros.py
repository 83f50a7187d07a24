"""No penalty but a restriction: slopes that are zero stay zero."""

import numpy as np

from smoe.params import flatten
from smoe.penalties.elastic_net import ElasticNet, check_group, slope_places
from smoe.penalties.groups import moved

__all__ = ["KeepZeros"]


class KeepZeros(ElasticNet):
    r"""Maximum likelihood among parameters whose slopes are zero where those are that the fit begins with.

    .. math:: P = 0 \text{ if all slopes that were zero are zero, else } \infty

    Relaxed fits, without the shrinkage of the elastic net that has chosen the columns: ``start`` with its ``params_``.
    Standard errors are given the selected slopes, as if these had been chosen without the data, and so too small.

    For a softmax gate what counts is in which columns experts have equal slopes: of those that have most often the same
    one it is zero.

    Parameters
    ----------
    group : {None, "experts"}, default=None
        Whether slopes stay zero one by one, or, with "experts", in columns alone where they are zero in all experts, as
        `smoe.penalties.ElasticNet` takes them out.

    References
    ----------
    Meinshausen, N. (2007). Relaxed lasso. Computational Statistics and Data Analysis 52, 374-393.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from smoe import MoERegressor
    >>> from smoe.penalties import ElasticNet, KeepZeros
    >>> X, y = load_diabetes(return_X_y=True)
    >>> lasso = MoERegressor(2, penalty=ElasticNet(0.1, 0.07), n_init=5, random_state=0).fit(X, y)
    >>> model = MoERegressor(2, penalty=KeepZeros(), start=lasso.params_).fit(X, y)
    >>> bool(((model.expert_coef_ != 0) == (lasso.expert_coef_ != 0)).all()), model.loglik_ > lasso.loglik_
    (True, True)
    >>> model.status_
    'converged; given the selected slopes'
    """

    words = "selection of slopes"
    remark = given = "given the selected slopes"
    moves_estimates = False

    def __init__(self, group: str | None = None) -> None:
        super().__init__(scaled=False, group=group)

    def check(self, gate):
        check_group(self)
        self._check_gate(gate)

    def weights(self, params):
        """Return infinite weights of the absolute values of slopes that are zero, and none of squares."""
        chosen = moved(flatten(params), self.groups(params))
        l1 = np.zeros(len(chosen))
        for places in slope_places(params)[:2]:
            l1[places] = np.where(chosen[places], 0.0, np.inf)
        return l1, np.zeros(len(chosen))

    def free(self, params, free, held):
        """Return which entries are free: slopes that are not zero, less one in columns of the gate without a zero."""
        if not self.centres:
            return super().free(params, free, held)
        coef, out = slope_places(params)[0], np.array(free)
        others = flatten(params)[coef] != 0
        if self.group is None:
            out[coef] = np.where(others.all(axis=0), out[coef], others)
        return out & ~(self.weights(params)[0] > 0)

    def centred(self, params):
        """Return the parameters with the shift of each column of the gate at which most slopes are zero."""
        if not self.centres:
            return params
        coef = params.gate.coef
        if self.group is not None:
            return params._replace(gate=params.gate._replace(coef=coef - coef[-1]))
        alike = (coef[:, None] == coef).sum(axis=1)[::-1]
        mode = coef[::-1][np.argmax(alike, axis=0), np.arange(coef.shape[1])]
        return params._replace(gate=params.gate._replace(coef=coef - mode))
