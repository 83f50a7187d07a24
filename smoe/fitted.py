"""What a fit leaves, as a value: it reads rows, predicts and samples."""

import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from joblib import effective_n_jobs
from numpy.lib.format import open_memmap
from numpy.typing import ArrayLike

from smoe.distribution import ConditionalMixture
from smoe.features import Roles
from smoe.fields import Entry, entries
from smoe.gates import Gate
from smoe.hints import Data, FilePath, Names, Seed
from smoe.inference import Covariance
from smoe.mixture import MixtureOfExperts
from smoe.params import MoEParams, flatten, n_experts_of
from smoe.profile import ExpertProfile, profile
from smoe.rows import ArraySource, Blocks, DaskRows, Labelled, Scaling, Source, by_group, standardise, survey
from smoe.rows.dask import is_dask, mapped
from smoe.solvers import Certificate, Solver
from smoe.texts import with_article
from smoe.validation import (
    FLOATS,
    MISSING,
    Columns,
    check_floats,
    check_generator,
    check_groups,
    check_n_jobs,
    check_path,
    check_weights,
    labels_of_groups,
    refuse_beside_source,
)

__all__ = ["ExpertLoad", "FittedMixture"]

_HUGE = 1e50  # of X: NaN for smaller values has another cause, such as standard errors that are missing


class ExpertLoad(NamedTuple):
    """Use of each expert: shares of rows as first choice and as selected, mean probability, and who is dead."""

    first: np.ndarray
    selected: np.ndarray
    mass: np.ndarray
    dead: np.ndarray


class Rows(Blocks):
    """Blocks of a user's rows: where X is so large that float64 ends, an error says so instead of NaN."""

    def map(self, visit, params, *args):
        """Visit every block and join the arrays along the rows."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._checked(super().map(visit, params, *args))

    def map_rows(self, visit, params, *args):
        """Visit every block and join the arrays of single rows."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._checked(super().map_rows(visit, params, *args))

    def sum(self, visit, params, *args):
        """Add up over the blocks."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._checked(super().sum(visit, params, *args))

    def _checked(self, found):
        lost = isinstance(found, float | np.ndarray) and np.isnan(found).any()
        if lost and self._is_huge():
            raise ValueError(
                "X has values so large that the gate's scores or the experts' means leave the range of float64; look "
                "for wrong units, or for codes of missing values."
            )
        return found

    def _is_huge(self):
        reads = (self.source.read(rows) for rows in self.slices)
        return any(np.abs(raw.X[raw.rows]).max(initial=0.0) > _HUGE for raw in reads)


def _warn_of_infinite(mean):
    if n := int(np.isinf(mean).sum()):
        message = f"the mean of y is infinite in {n} of {len(mean)} rows, as tails are too heavy; quantiles are finite"
        warnings.warn(message, UserWarning, stacklevel=3)


@dataclass(frozen=True, eq=False, repr=False)
class FittedMixture:
    """What a fit leaves: ``fitted_`` of an estimator. It predicts, and inference, diagnostics and plots take it.

    A value, which nothing changes. It knows the fit and not the settings of the estimator, so what fits again (a
    bootstrap, a selection) needs the estimator itself.

    Attributes
    ----------
    model : MixtureOfExperts
        Gate, family and penalties, resolved.
    params : MoEParams
        In the user's units.
    loglik : float
        Log-likelihood of ``params``: the natural logarithm of the density, total over rows, times the weights.
    n_parameters, n_active_parameters : int
        Free parameters, and those that take part in one prediction.
    n_rows : float
        The sum of the weights, of groups where the fit has ``group_feature``.
    entropy : float
        Of the responsibilities, total over rows.
    certificate : Certificate
        Whether this is a maximum.
    covariance : Covariance
        Of the parameters, from the observed information.
    objective : float
        The log-likelihood less the penalties.
    score_norm : float
        Largest absolute entry of the score per row, in standardised units.
    n_iter : int
        Iterations of the winning start on all rows.
    trace : ndarray of shape (n_iterations + 1,)
        Log-likelihood before the first and after each of these iterations.
    starts : list of StartRecord
        What became of each start.
    solver : Solver
        What climbed.
    columns : Columns
        Number and names of the columns of X.
    gate_columns, expert_columns : ndarray of int
        Those that gate and experts see.
    roles : Roles
        Those that are an offset, an exposure, numbers of trials, events or groups.
    response : str or None
        The name of y.
    counts_rows : bool
        Whether the weights can be numbers of rows.
    n_jobs : int or None
        Number of threads that share rows.
    response_sums : ndarray of shape (2,) or (2, q)
        Sums of weight times response, and of weight times its size, by which fits to other rows are told.
    rows_per_group : float
        The mean number of rows of a group; one where rows are not grouped.
    """

    density = "y given x"  # whose logarithm the log-likelihood adds up

    model: MixtureOfExperts
    params: MoEParams
    loglik: float
    n_parameters: int
    n_active_parameters: int
    n_rows: float
    entropy: float
    certificate: Certificate
    covariance: Covariance
    objective: float
    score_norm: float
    n_iter: int
    trace: np.ndarray
    starts: list
    solver: Solver
    columns: Columns
    gate_columns: np.ndarray
    expert_columns: np.ndarray
    roles: Roles
    response: str | None = None
    counts_rows: bool = True
    n_jobs: int | None = None
    response_sums: np.ndarray | None = None
    rows_per_group: float = 1.0

    def __repr__(self):
        gate, expert = self.model.gate, self.model.expert
        return f"FittedMixture({gate!r}, {expert!r}, n_experts={self.n_experts}, loglik={self.loglik:.6g})"

    @property
    def n_experts(self) -> int:
        """Number of experts."""
        return n_experts_of(self.params)

    @property
    def what(self) -> str:
        """What the fit counts: "row" or "group"."""
        return "row" if self.rows_per_group == 1.0 else "group"

    @property
    def title(self) -> str:
        """What summaries call it."""
        name = self.model.expert.name + "s" * (self.n_experts > 1)
        return f"{self.n_experts} {name} behind {with_article(type(self.model.gate).__name__)}"

    @property
    def converged(self) -> bool:
        """Whether the fit is a certified maximum."""
        return self.certificate.valid

    @property
    def status(self) -> str:
        """Why it is none, or "converged"."""
        return "; ".join(filter(None, [self.certificate.status, self.model.remark]))

    @property
    def aic(self) -> float:
        """Akaike's criterion on the data of the fit, -2 l + 2 df."""
        return 2.0 * self.n_parameters - 2.0 * self.loglik

    @property
    def bic(self) -> float:
        """The Bayesian criterion on the data of the fit, -2 l + df log n."""
        return self.n_parameters * np.log(self.n_rows) - 2.0 * self.loglik

    @property
    def icl(self) -> float:
        """BIC plus twice the entropy of the responsibilities."""
        return self.bic + 2.0 * self.entropy

    def array(self, name: str) -> np.ndarray | None:
        """Return the array of the parameters with this ``name``, such as "gate_coef", or None."""
        part, _, field = name.partition("_")
        found = getattr(self.params, part, None)
        known = field in getattr(found, "_fields", ()) or isinstance(getattr(type(found), field, None), property)
        return getattr(found, field) if known else None

    def entries(self, names: Names | None = None) -> list[Entry]:
        """Return what the entries of the parameters are, in flat order, with these names for the columns of X."""
        names = self.columns.named(names)
        gate, expert = ([names[j] for j in columns] for columns in (self.gate_columns, self.expert_columns))
        return [
            *entries("gate", self.params.gate, self.model.gate.fields, gate),
            *entries("expert", self.params.expert, self.model.expert.fields, expert, self.model.expert.axis_labels),
        ]

    @property
    def pinned(self) -> np.ndarray:
        """Which entries the gate's convention pins to zero, in flat order; a temperature may be pinned elsewhere."""
        gate, expert = self.params
        estimated = flatten(Gate.free(self.model.gate, gate)) > 0  # all but fixed fields
        zero = (flatten(self.model.gate.free(gate)) == 0) & (flatten(gate) == 0) & estimated
        return np.concatenate([zero, np.zeros(flatten(expert).size, dtype=bool)])

    def without_formula(self, X: Data) -> tuple["FittedMixture", Data]:
        """Return the fit to the columns that its formula makes, and these of rows X; without formula itself and X."""
        if (design := self.columns.design) is None:
            return self, X
        return replace(self, columns=replace(self.columns, design=None)), design.rows(X)

    # Rows -------------------------------------------------------------------------------------------------------------

    def blocks(
        self,
        X: Data,
        y: Any = MISSING,
        sample_weight: ArrayLike | None = None,
        copy: bool = False,
        grouped: bool = False,
    ) -> Rows:
        """Validate rows and return them as blocks, in the user's units; y is left out where it is not wanted.

        None as y means what a formula says. With y, or where that is asked for, rows are grouped if the fit's are. With
        ``copy`` later changes of X do not matter to them.
        """
        if is_dask(X):
            classes = y is not MISSING and self.model.expert.support.kind == "classes"
            far = DaskRows(X, None if y is MISSING else y, sample_weight, classes)
            return self._blocks_of_source(far, MISSING if y is MISSING else None, None)
        if isinstance(X, Source):
            return self._blocks_of_source(X, y, sample_weight)
        original = X
        if y is None and self.columns.design is not None:
            y = self.columns.design.response_of(X)
        X, y = self.columns.check_rows(X, y, read=self.model.expert.read, copy=copy, dtype=FLOATS)
        weight = None if y is None else check_weights(sample_weight, len(y))
        self.roles.check(X, self.columns.named(), events=y is not None)
        if y is not None:
            self.model.expert.check_response(y, self.roles.trials_of(X), self.roles.event_of(X))
        return self.blocks_of(X, y, weight, grouped or y is not None, original)

    def blocks_of(
        self,
        X: np.ndarray,
        y: np.ndarray | None = None,
        weight: np.ndarray | None = None,
        grouped: bool = False,
        original: Any = None,
    ) -> Rows:
        """Return rows with a ``weight`` each, or None, as blocks; y is what ``model.expert.read`` returns, or None.

        They are grouped, if the fit's are and they are to be; ``original`` is X as users passed it.
        """
        source, group = ArraySource(X, y, weight), self.roles.group if grouped else None
        passed = None if self.columns.design is not None else original
        return self._visited(by_group(source, group, self.gate_columns, self.columns.named(), passed))

    def _blocks_of_source(self, source, y, sample_weight):
        refuse_beside_source(y, sample_weight)
        self.columns.check_source(source)
        if y is not MISSING and self.model.expert.support.kind == "classes":
            source = source if isinstance(source, DaskRows) else Labelled(source)
            source.code(self.model.expert.read)
        if y is not MISSING and source.take(np.arange(1)).y is None:
            raise ValueError(f"this {type(source).__name__} has no response: name it when you make it, y=...")
        blocks = self._visited(source)
        survey(source, self.model.expert, self.roles, self.columns.named(), y is not MISSING, blocks.n_threads)
        return blocks

    def _visited(self, source):
        scaling = Scaling.identity(self.gate_columns, self.expert_columns)
        blocks = Rows(self.model, source, scaling, self.roles)
        return blocks.shared_by(effective_n_jobs(check_n_jobs(self.n_jobs)))

    def working_blocks(
        self, X: Data, y: ArrayLike | None, sample_weight: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> tuple[Blocks, np.ndarray | None]:
        """Return the rows of positive weight in the coordinates that fits work in, and the number of each row's group.

        ``groups`` are labels of the rows, or None; then there are no numbers.
        """
        source = self.blocks(X, y, sample_weight).source.single
        codes = None if groups is None else check_groups(groups, source.n_rows)
        if isinstance(source, ArraySource) and not (used := source.weight > 0).all():
            codes = None if codes is None else codes[used]
            source = ArraySource(source.X[used], source.y[used], source.weight[used])
        if codes is not None and codes.min() == codes.max():
            raise ValueError("groups: all rows are in one group; a clustered covariance needs many.")
        scaling = standardise(self.model, source, self.gate_columns, self.expert_columns)
        source = by_group(source, self.roles.group)
        if codes is not None and source.grouped:
            if source.differing(codes) is not None:
                raise ValueError("groups: rows of one group of group_feature are in several; they must stay together.")
            codes = codes[source.first]
        return Blocks(self.model, source, scaling, self.roles), codes

    # What it answers, as estimators do --------------------------------------------------------------------------------

    def predict(
        self,
        X: Data,
        return_std: bool = False,
        *,
        return_cov: bool = False,
        quantiles: ArrayLike | None = None,
        coverage: float | None = None,
    ) -> Any:
        """Return the mean of y given x; on request its standard deviation too, or quantiles or an interval instead.

        Several responses stand side by side, on the axis after that of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        return_std : bool, default=False
            Also return the standard deviation of y given x: within and between the experts.
        return_cov : bool, default=False
            Also return the covariance matrix of the responses given x: within and between the experts.
        quantiles : float or array-like of shape (n_q,), default=None
            Return these quantiles in place of the mean, as ``predict_quantiles`` does. A pipeline has ``predict``
            only: ``pipeline.predict(X, quantiles=0.9)``.
        coverage : float or None, default=None
            Return the interval that holds y with this probability in place of the mean, as ``predict_interval`` does.

        Returns
        -------
        mean : ndarray of shape (n_samples,)
            Of classes the most likely one. Or the quantiles, (n_samples,) or (n_samples, n_q), or the interval,
            (n_samples, 2).
        std : ndarray of shape (n_samples,)
            Only with ``return_std``.
        cov : ndarray of shape (n_samples, q, q)
            Only with ``return_cov``.

        Raises
        ------
        ValueError
            More than one of ``return_std``, ``return_cov``, ``quantiles`` and ``coverage`` is asked for.

        Warns
        -----
        UserWarning
            Means are infinite, as those of log-logistic experts whose scale is one or more. Quantiles are not.
        """
        asked = bool(return_std) + bool(return_cov) + (quantiles is not None) + (coverage is not None)
        if self.model.expert.support.kind == "classes":
            return self._class_of(X, asked > 0 or return_std is not False)
        if asked > 1:
            raise ValueError("predict: ask for one of return_std, return_cov, quantiles and coverage at a time.")
        if quantiles is not None:
            return self.predict_quantiles(X, quantiles)
        if coverage is not None:
            return self.predict_interval(X, coverage)
        if is_dask(X) and not asked:
            many = self.model.expert.support.kind == "vectors"
            like = np.empty((0, self.model.expert.n_responses) if many else 0)
            return mapped(X, self.predict, like, list(self.model.expert.responses) if many else None)
        distribution = self._distribution(X)
        mean, std = distribution.mean_and_std() if return_std else (distribution.mean(), None)
        if self.model.expert.support.bounded:  # elsewhere it is x that is beyond float64
            _warn_of_infinite(mean)
        if return_cov:
            return mean, distribution.cov()
        return (mean, std) if return_std else mean

    def predict_to(self, path: FilePath, X: Data) -> None:
        """Write the means of y given x into a file, block by block, for rows whose predictions memory cannot hold.

        Parameters
        ----------
        path : str or path
            A file in NumPy's format, which ``np.load(path, mmap_mode="r")`` maps: float64, (n_samples,) or
            (n_samples, q), in the order of the rows.
        X : smoe.rows.Source or array-like of shape (n_samples, n_features)

        Raises
        ------
        ValueError
            Experts of classes, which have no means.
        """
        check_path(path)
        if self.model.expert.support.kind == "classes":
            raise ValueError("predict_to writes means, which classes have none of.")
        out: Any = None
        blocks, low = self.blocks(X), 0
        for part in blocks.each(self.model.mean, self.params):
            if out is None:
                out = open_memmap(path, "w+", np.float64, (len(blocks), *part.shape[:-1]))
            out[low : low + part.shape[-1]] = part.T
            low += part.shape[-1]
        out.flush()

    def predict_given(self, X: Data, values: dict) -> np.ndarray:
        """Return the mean of the other responses, given x and some of the responses.

        The known responses change the experts' probabilities, too. ``predict_distribution(X).given(values)`` is the
        whole distribution.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        values : dict
            Response, by its name or index, to its value: one number, or one for each row.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_others)
            Of the responses that are not given, in their order.

        Raises
        ------
        ValueError
            The family has one response, or all or none are given.
        """
        if (kind := self.model.expert.support.kind) != "vectors":
            raise ValueError(f"predict_given needs several responses; those of {self.model.expert.name} are {kind}.")
        if not isinstance(values, dict) or not values:
            raise TypeError(f"values must be a dict of responses and their values, got {values!r}.")
        return self._distribution(X).given(values).mean()

    def _class_of(self, X, other):
        if other:
            raise ValueError("predict: classes have no standard deviation, quantiles or intervals: see predict_proba.")
        if is_dask(X):
            return mapped(X, self.predict, self.model.expert.classes)
        return self._distribution(X).predict()

    def predict_proba(self, X: Data) -> Any:
        """Return the probabilities of the classes given x, (n_samples, n_classes), in the order of ``classes_``.

        They are the sum over experts of gate probability times the expert's probability; rows sum to one. Of a dask
        data frame it is one with the classes as columns.
        """
        return self._of_classes(X, lambda law: law.proba())

    def predict_log_proba(self, X: Data) -> Any:
        """Return the logarithms of ``predict_proba``, which do not underflow, (n_samples, n_classes)."""
        return self._of_classes(X, lambda law: law.log_proba())

    def expert_predict_proba(self, X: Data) -> np.ndarray:
        """Return the probabilities of the classes under each expert, (n_samples, n_experts, n_classes)."""
        self._refuse_numbers()
        log_proba = self.blocks(X).map(lambda b, p: self.model.expert.class_log_proba(b.rows, p.expert), self.params)
        return np.exp(np.moveaxis(log_proba, -1, 0))

    def _of_classes(self, X, function):
        """Return what a function makes of the distributions, a number for each class; lazily of dask."""
        self._refuse_numbers()
        if not is_dask(X):
            return function(self._distribution(X))
        classes = self.model.expert.classes
        return mapped(X, lambda part: function(self._distribution(part)), np.empty((0, len(classes))), list(classes))

    def _refuse_numbers(self):
        if (kind := self.model.expert.support.kind) != "classes":
            raise ValueError(f"probabilities of classes need a classifier; this family's responses are {kind}.")

    def predict_distribution(self, X: Data) -> ConditionalMixture:
        """Return the distributions of y given x, one for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Copied: later changes of X do not change the distributions. (The methods of the estimator that answer at
            once do not copy.)

        Returns
        -------
        ConditionalMixture
            With ``mean``, ``std``, ``pdf``, ``cdf``, ``ppf``, ``interval``, ``hdr``, ``mode``, ``sample`` and more, as
            the kind of response has them; ``mixture[i]`` are those of some rows. It has rows of its own:
            what becomes of X afterwards does not matter to it.
        """
        return self._distribution(X, copy=True)

    def _distribution(self, X, copy=False):
        blocks = self.blocks(X, copy=copy)
        return ConditionalMixture(self.model, self.params, blocks)

    def predict_quantiles(self, X: Data, q: ArrayLike) -> np.ndarray:
        """Return quantiles of y given x.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        q : float or array-like of shape (n_q,)
            Levels between 0 and 1, the same for every row; 0 and 1 give the ends of the support, which for normal
            experts are minus infinity and infinity.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_q)
            Solutions of the sum over experts of gate probability times distribution function = q; for families of whole
            numbers the smallest number at which the sum is at least q. Several responses, each by itself, are on the
            axis after that of the rows.
        """
        levels = check_floats(q, "q")
        if levels.ndim > 1:
            raise ValueError(f"q must be a number or have shape (n_q,), got {levels.shape}.")
        return self._by_response(X, lambda law: law.ppf(levels if levels.ndim == 0 else levels[None, :]))

    def _by_response(self, X, function):
        """Return what a function makes of the distribution of each response, on axis 1 if there are several."""
        distribution = self._distribution(X)
        if distribution.kind != "vectors":
            return function(distribution)
        return np.stack([function(margin) for margin in distribution.marginals()], axis=1)

    def predict_interval(self, X: Data, coverage: float = 0.95) -> np.ndarray:
        """Return the equal-tailed interval that holds y given x with probability ``coverage``, (n_samples, 2).

        Where y given x has several modes, ``predict_distribution(X).hdr(coverage)`` is smaller. Several responses have
        an interval each, (n_samples, q, 2), which all of them lie in less often.
        """
        return self._by_response(X, lambda law: law.interval(coverage))

    def gate_proba(self, X: Data) -> np.ndarray:
        """Return the gate's probability of each expert, (n_samples, n_experts)."""
        return self.blocks(X).map(self.model.gate_proba, self.params).T

    def responsibilities(self, X: Data, y: ArrayLike | None = None) -> np.ndarray:
        """Return the probability of each expert given x and y, (n_samples, n_experts).

        Where rows are grouped it is given all rows of the group, and the same for each of them.
        """
        blocks = self.blocks(X, y)
        return blocks.source.spread(blocks.map(self.model.responsibilities, self.params)).T

    def group_responsibilities(self, X: Data, y: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of the groups, and the probability of each expert given all rows of the group.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, q)

        Returns
        -------
        labels : ndarray of shape (n_groups,)
            In the order of their first rows, as they are in X.
        proba : ndarray of shape (n_groups, n_experts)

        Raises
        ------
        ValueError
            The fit has no ``group_feature``.
        """
        if self.roles.group is None:
            raise ValueError("group_responsibilities needs a fit with group_feature; see responsibilities.")
        proba, design = self.responsibilities(X, y), self.columns.design
        codes = self.columns.check_rows(X)[0][:, self.roles.group]
        first = np.sort(np.unique(codes, return_index=True)[1])
        if design is not None:
            return design.groups(X)[first], proba[first]
        labels = labels_of_groups(X, self.roles.group)
        return codes[first] if labels is None else labels, proba[first]

    def expert_predict(self, X: Data) -> np.ndarray:
        """Return the mean of y under each expert, (n_samples, n_experts), or (n_samples, n_experts, q) of q responses.

        Not to be confused with ``predict_expert``, which says which expert the gate prefers.
        """
        means = self.blocks(X).map(lambda b, p: self.model.expert.mean(b.rows, p.expert), self.params)
        return np.moveaxis(means, -1, 0)

    def predict_expert(self, X: Data) -> np.ndarray:
        """Return the index of the expert that the gate prefers, (n_samples,): the class of a row before y is seen.

        Not to be confused with ``expert_predict``, the mean of y under each expert. With y seen the class is
        ``responsibilities(X, y).argmax(axis=1)``.
        """
        return self.gate_proba(X).argmax(axis=1)

    def expert_load(self, X: Data) -> ExpertLoad:
        """Return how much each expert is used on these rows.

        Returns
        -------
        ExpertLoad
            ``first``: share of rows on which the expert is the gate's first choice; ``selected``: share of rows on
            which its probability is not zero; ``mass``: its mean probability, all (n_experts,); ``dead``: indices of
            the experts whose probabilities add up to less than one row (rows of equal X count each: they may differ
            in y).
        """
        blocks = self.blocks(X)
        return load_of(
            blocks.sum(lambda block, params: used(self.model.gate_proba(block, params)), self.params), blocks
        )

    def expert_profile(self, X: Data, y: ArrayLike | None = None, names: Names | None = None) -> ExpertProfile:
        """Return who lives where: the share of each expert, and means and spreads of the columns inside it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            With it rows are weighted by ``responsibilities(X, y)``, without it by ``gate_proba(X)``.
        names : list of str or None, default=None
            What to call the columns of X; None for their names in the data, or else x0, x1, ...

        Returns
        -------
        ExpertProfile
            ``print`` it, or take ``to_frame()``.

        Examples
        --------
        >>> from smoe import SoftmaxMoERegressor
        >>> from smoe.datasets import load_faithful
        >>> X, y = load_faithful(return_X_y=True)
        >>> model = SoftmaxMoERegressor(2, random_state=0).fit(X, y)
        >>> print(model.expert_profile(X, names=["waiting"]))
                    all rows     expert 0   expert 1
        share              1        0.355      0.645
        waiting  70.9 (13.6)  54.5 (5.79)  80 (6.02)
        """
        proba = self.gate_proba(X) if y is None else self.responsibilities(X, y)
        names, group = self.columns.named(names), self.roles.group
        shown = [j for j in range(self.columns.count) if j != group]  # numbers of groups have no mean
        return profile(proba, self.columns.check_rows(X)[0][:, shown], [names[j] for j in shown])

    def standardised_gate_coef(self, X: Data) -> np.ndarray:
        """Return the gate's slopes per standard deviation of each column over these rows, comparable across columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that the standard deviations are taken from, mostly those of the fit.

        Returns
        -------
        ndarray of shape (n_experts, n_gate_features)
            Log odds against the last expert; its row is zero.

        Raises
        ------
        ValueError
            A gate without slopes.
        """
        if self.array("gate_coef") is None:
            raise ValueError(f"{type(self.model.gate).__name__} has no slopes to standardise.")
        X = self.columns.check_rows(X)[0]
        return self.array("gate_coef") * np.array([X[:, j].std() for j in self.gate_columns])

    def score_samples(self, X: Data, y: ArrayLike | None = None) -> np.ndarray:
        """Return the log density (natural logarithm) of y given x for each row, (n_samples,); the joint one of several.

        Where rows are grouped it is also given the rows of the group that come before, so that the sum over the rows of
        a group is the log density of the group.

        Raises
        ------
        ValueError
            There is no y. The density has none without it, and a pipeline never passes one on: ask its last step,
            ``pipeline[-1].score_samples(pipeline[:-1].transform(X), y)``. How sharp predictions are is for
            ``predict_distribution`` to say, by ``std()`` or ``interval``.
        """
        if y is None and not isinstance(X, Source):
            raise ValueError(
                "y is None: score_samples(X, y) is the log density of y given x. Pipelines pass no y: call it on the "
                "last step, pipeline[-1].score_samples(pipeline[:-1].transform(X), y). For how sharp predictions are "
                "see predict_distribution(X).std()."
            )
        return self.blocks(X, y).map_rows(self.model.row_loglik, self.params)

    def sample(self, X: Data, random_state: Seed = None) -> np.ndarray:
        """Draw one response for each row of X, (n_samples,) or (n_samples, q).

        Where rows are grouped, those of a group come from one expert.
        """
        return self.drawn(self.blocks(X, grouped=True), check_generator(random_state))

    def drawn(self, blocks: Blocks, rng: Any) -> np.ndarray:
        """Return responses for the rows of blocks, as users pass them."""
        alone = blocks.shared_by(1)  # one stream, whatever the number of threads
        y = alone.map_rows(lambda block, params: self.model.sample(block, params, rng)[0], self.params)
        return self.model.expert.write(y)


def used(proba):
    """Return how often each expert comes first and is used at all, and its total, from probabilities (k, m)."""
    first = np.bincount(proba.argmax(axis=0), minlength=len(proba))
    return np.array([first, (proba > 0).sum(axis=1), proba.sum(axis=1)])


def load_of(total, rows):
    return ExpertLoad(*total / len(rows), np.flatnonzero(total[2] < 1.0))
