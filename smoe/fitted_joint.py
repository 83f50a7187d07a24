"""What a joint fit of x and y leaves, as a value: the law of both, of x, and of y given what is known of x."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property, wraps
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax
from sklearn.base import clone

from smoe.distribution import ConditionalMixture
from smoe.experts.observed import patterns
from smoe.features import Rows
from smoe.fields import Entry
from smoe.fitted import ExpertLoad, FittedMixture, load_of, used
from smoe.gates import GaussianGate
from smoe.hints import Data, Names, Seed
from smoe.inference import Covariance
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten
from smoe.validation import MISSING, check_generator, check_number, check_weights

__all__ = ["FittedJointMixture"]

_JOINT = "fitted to x and y together: no maximum of the likelihood of y given x"


_Method = TypeVar("_Method", bound=Callable)


def _like(function: _Method) -> Callable[[Callable], _Method]:
    """Return what gives a method the name, the documentation and the signature of a function."""
    return wraps(function)  # type: ignore[return-value]


def _given_x(function: _Method) -> _Method:
    """Return the method whose rows are answered by the law of y given what is observed in them of x."""

    @_like(function)
    def method(self, X, *args, **kwargs):
        return self._by_pattern(X, lambda fit, some, _: function(fit, some, *args, **kwargs))

    return method


def _given_x_and_y(function: _Method) -> _Method:
    """Return the same of a method that takes y, too."""

    @_like(function)
    def method(self, X, y=None):
        if y is not None:
            y = self._read(X, y)[1]
        return self._by_pattern(X, lambda fit, some, rows: function(fit, some, None if y is None else y[rows]))

    return method


@dataclass(frozen=True, eq=False, repr=False)
class FittedJointMixture(FittedMixture):
    r"""What a joint fit leaves: ``fitted_`` of a `smoe.JointGaussianMoERegressor`.

    Its log-likelihood, criteria, certificate, parameters and their covariance are those of the law of x and y; it
    predicts y given x, where values of x may be missing.

    Attributes
    ----------
    loglik_x : float
        Log-likelihood of x alone under ``params``.
    """

    density = "x and y"

    loglik_x: float = 0.0

    @property
    def title(self) -> str:
        """What summaries call it."""
        return f"Joint law of x and y: {self.n_experts} Gaussian expert{'s' * (self.n_experts > 1)}"

    # Rows -------------------------------------------------------------------------------------------------------------

    def blocks(self, X, y=MISSING, sample_weight=None, copy=False):
        """Validate rows and return them as blocks of (y, x); a y that is left out counts as unknown."""
        X, y = self._read(X, y)
        unknown = y is None
        weight = None if unknown else check_weights(sample_weight, len(X))
        y = np.full((len(X), len(self.model.expert.responses)), np.nan) if unknown else y
        return self.blocks_of(X, np.column_stack([y, X]), weight)

    def _read(self, X, y=MISSING):
        """Return X and y as floats; X may hold NaN."""
        return self.columns.check_rows(X, y, read=self.model.expert.expert_of_y.read, missing=True)

    def expert_load(self, X: Data) -> ExpertLoad:
        """Return how the gate given what is observed of x uses the experts, see `FittedMixture.expert_load`."""
        proba = self.gate_proba(X).T
        return load_of(used(proba), proba.T)

    # The laws ---------------------------------------------------------------------------------------------------------

    @property
    def proportions(self) -> np.ndarray:
        """The experts' shares, (n_experts,)."""
        return softmax(self.model.gate.scores(np.ones((1, 1)), self.params.gate)[:, 0])

    @cached_property
    def conditional(self) -> FittedMixture:
        """The law of y given all of x: a `FittedMixture` with a Gaussian gate."""
        return self.given(np.ones(self.columns.count, dtype=bool))

    def given(self, observed: np.ndarray) -> FittedMixture:
        """Return the law of y given some features (a mask): a `FittedMixture` with a Gaussian gate."""
        chosen, joint = np.flatnonzero(observed), self.model.expert
        gate = GaussianGate(joint.kind_of_x if len(chosen) else "tied")
        place = joint.place(self.params.expert, observed)
        experts = joint.given(self.params.expert, observed)
        params = MoEParams(gate.from_gaussians(self.proportions, *place), experts)
        model = MixtureOfExperts(gate, joint.expert_of_y)
        n_free = model.chart(params).n_free
        size, none = flatten(params).size, np.zeros((0, 0))
        shared = {field.name: getattr(self, field.name) for field in fields(FittedMixture)}
        own = {"model": model, "params": params, "gate_columns": chosen, "expert_columns": chosen}
        of_y = FittedMixture(**shared | own)
        unknown = Covariance("observed", of_y.entries(), _JOINT, params, np.zeros((size, 0)), none, none, none)
        loglik = self.loglik - self.loglik_x
        return replace(
            of_y,
            loglik=loglik,
            objective=loglik,
            n_parameters=n_free,
            n_active_parameters=n_free,
            certificate=self.certificate.noted(_JOINT),
            starts=[one._replace(loglik=one.loglik - self.loglik_x) for one in self.starts],
            covariance=unknown,
            response_sums=self.response_sums[:, 0 if joint.flat else slice(len(joint.responses))],  # type: ignore[index]
        )

    def entries(self, names: Names | None = None) -> list[Entry]:
        """Return what the entries of the parameters are, in flat order, with these names for the columns of X."""
        if names is None:
            return super().entries()
        expert = clone(self.model.expert).set_params(features=tuple(self.columns.named(names)))
        return replace(self, model=self.model._replace(expert=expert)).entries()

    def array(self, name: str) -> np.ndarray | None:
        """Return the array of the parameters of y given x with this ``name``, such as "expert_coef", or None."""
        return self.conditional.array(name)

    def _by_pattern(self, X, ask):
        """Return ask(law of y, X, rows) for the rows of each pattern of missing values, in the order of the rows."""
        X = self._read(X)[0]
        groups = patterns(X.T)
        if len(groups) == 1 and groups[0][1].all():
            return ask(self._unnamed(self.conditional), X, slice(None))
        filled, out = np.nan_to_num(X), None
        for rows, observed in groups:
            part = ask(self._unnamed(self.given(observed)), filled[rows], rows)
            several = part if isinstance(part, tuple) else (part,)
            if out is None:
                out = [np.empty((len(X), *one.shape[1:]), dtype=one.dtype) for one in several]
            for whole, one in zip(out, several, strict=True):
                whole[rows] = one
        return tuple(out) if isinstance(part, tuple) else out[0]

    def _unnamed(self, fit):
        """Return the fit without names of columns: they have been looked at."""
        return replace(fit, columns=replace(fit.columns, names=None))

    # What it answers --------------------------------------------------------------------------------------------------

    predict = _given_x(FittedMixture.predict)
    predict_quantiles = _given_x(FittedMixture.predict_quantiles)
    predict_interval = _given_x(FittedMixture.predict_interval)
    gate_proba = _given_x(FittedMixture.gate_proba)
    expert_predict = _given_x(FittedMixture.expert_predict)
    responsibilities = _given_x_and_y(FittedMixture.responsibilities)
    score_samples = _given_x_and_y(FittedMixture.score_samples)

    @_like(FittedMixture.sample)
    def sample(self, X: Data, random_state: Seed = None) -> np.ndarray:  # noqa: D102
        rng = check_generator(random_state)
        return self._by_pattern(X, lambda fit, some, _: fit.sample(some, rng))

    @_like(FittedMixture.predict_given)
    def predict_given(self, X: Data, values: dict) -> np.ndarray:  # noqa: D102
        def ask(fit, some, rows):
            own = {k: v if np.ndim(v) == 0 else np.asarray(v)[rows] for k, v in dict(values).items()}
            return fit.predict_given(some, own)

        return self._by_pattern(X, ask)

    @_like(FittedMixture.predict_distribution)
    def predict_distribution(self, X: Data) -> ConditionalMixture:  # noqa: D102
        X = self._read(X)[0]
        groups = patterns(X.T)
        if len(groups) > 1:
            raise ValueError(
                f"X: rows lack values in {len(groups)} different sets of columns, whose distributions differ in kind; "
                "ask for the rows of one set at a time. predict, predict_interval and predict_quantiles take all rows."
            )
        return self._unnamed(self.given(groups[0][1])).predict_distribution(np.nan_to_num(X))

    def score_samples_joint(self, X: Data, y: ArrayLike) -> np.ndarray:
        """Return the log density (natural logarithm) of x and y together for each row, (n_samples,).

        Values of x that are missing are integrated out.
        """
        return self._log_density(X, y)

    def score_samples_x(self, X: Data) -> np.ndarray:
        """Return the log density (natural logarithm) of x for each row, (n_samples,): rows of a low one are outliers.

        Values that are missing are integrated out: a row without any has a log density of zero.
        """
        return self._log_density(X)

    def _log_density(self, X, y=MISSING):
        return self.blocks(X, y).map(lambda block, params: self.model.posterior(block, params)[2], self.params)

    def sample_joint(self, n_samples: int = 1, random_state: Seed = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw rows of x and y.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, Generator, RandomState or None, default=None

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,) or (n_samples, q)
        label : ndarray of shape (n_samples,)
            The expert that each row comes from.
        """
        check_number(n_samples, "n_samples", 1, integer=True)
        rng = check_generator(random_state)
        label = rng.choice(self.n_experts, size=n_samples, p=self.proportions)
        columns = self.model.expert.sample(Rows(np.ones((1, n_samples))), label, self.params.expert, rng)
        q = len(self.model.expert.responses)
        y = columns[0] if self.model.expert.flat else columns[:q].T
        return np.ascontiguousarray(columns[q:].T), np.ascontiguousarray(y), label
