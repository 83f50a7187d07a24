"""What a named study consists of: a builder, sizes by scale, theoretical slopes."""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

import numpy as np

from smoe.simulation._orders import ORDERS

__all__ = [
    "EXACT",
    "OVER",
    "QUICK",
    "ROOT",
    "SCALES",
    "STANDARD",
    "STUDIES",
    "PaperStudy",
    "Run",
    "arms_theory",
    "register",
    "sizes_of",
    "split_theory",
]

SCALES = ("quick", "standard", "paper")
ROOT = -0.5
# The published sizes and replications, for as many experts as the truth has and for more.
EXACT = ((100, 900, 5), (1000, 100_000, 195), 40)
OVER = ((10_000, 100_000, 200), 40)
# Our own.
QUICK, STANDARD = (1000, 10_000, 4, 20), (1000, 100_000, 6, 40)


class PaperStudy(NamedTuple):
    """A study that can be built.

    Attributes
    ----------
    builder : callable
        ``builder(run)`` returns the `ConvergenceStudy`; its docstring says what was done and what is done here.
    scales : dict
        By scale: smallest and largest size, number of sizes, replications.
    theory : dict
        Theoretical slope by loss.
    shown : tuple of str
        The losses for a picture.
    own_start : bool
        Whether the start belongs to what is studied, so that there is no choice.
    axis : str
        What the sizes are.
    """

    builder: Callable
    scales: dict
    theory: dict
    shown: tuple
    own_start: bool
    axis: str = "number of rows n"

    @property
    def description(self):
        """One line."""
        return inspect.getdoc(self.builder).splitlines()[0]


class Run(NamedTuple):
    """The sizes, replications, seed and start that a builder is asked for."""

    sizes: list
    n_replications: int
    start: str | None
    random_state: int

    @property
    def kit(self):
        """The module `smoe.simulation._kit`, loaded late: a list of studies should not wait for a compiler."""
        return import_module("smoe.simulation._kit")

    def study(self, truth, solver, losses, *, start="near_truth", n_experts=None, model=None):
        """Return the study, with the estimator in place of solver and start if the start is "data"."""
        from smoe.estimators import MoERegressor
        from smoe.simulation.study import ConvergenceStudy

        settings = {"losses": losses, "random_state": self.random_state}
        if self.start == "data":
            model = truth.model if model is None else model
            fitter = MoERegressor(n_experts or truth.n_experts, gate=model.gate, expert=model.expert)
        else:
            fitter = solver
            settings |= {"start": start, "n_experts": n_experts, "model": model}
        return ConvergenceStudy(truth, fitter, self.sizes, self.n_replications, **settings)

    def exact(self, truth):
        """Return the study of as many experts as are true, by losses that any gate and family has."""
        kit = self.kit
        return self.study(truth, kit.EMNewton(), {"density": kit.density, "experts": kit.expert_loss})

    def over(self, truth, power=4.0):
        """Return the same of one expert more than the true two, climbed from both ways to split."""
        kit = self.kit
        losses = {"density": kit.density, "experts": kit.expert_loss_of(power)}
        return self.study(truth, kit.AllSplits(2), losses, n_experts=3)

    def compare(self, arms, judged=None):
        """Return several studies, cell by cell; those ``judged`` hold the truth, None for all."""
        from smoe.simulation.study import ComparisonStudy

        return ComparisonStudy(arms, judged)

    def profile(self, profiles):
        """Return smallest distances at separations one over the sizes, for truths, numbers of copies and fields."""
        from smoe.simulation._separation import SeparationCells
        from smoe.simulation.study import Study

        settings = {
            name: {"truth": truth.describe(), "copies": copies, "fields": [list(pair) for pair in fields]}
            for name, (truth, copies, fields) in profiles.items()
        }
        cells = SeparationCells(profiles, self.random_state)
        return Study(cells, self.sizes, self.n_replications, {**settings, "random_state": self.random_state})


STUDIES: dict[str, PaperStudy] = {}


def sizes_of(scale):
    """Return sizes, and the number of replications."""
    *span, n_replications = scale
    if not isinstance(span[0], tuple):
        return _rounded(np.geomspace(*span)), n_replications
    return _rounded(np.concatenate([np.linspace(*piece) for piece in span])), n_replications


def _rounded(sizes):
    return sorted({int(round(n)) for n in sizes})


def register(name, quick, standard, paper, theory, shown, own_start=False, **settings):
    """Return a decorator that enters a builder under this name.

    A scale is (smallest size, largest size, number of sizes, replications), evenly spaced in log n; the published ones
    have evenly spaced pieces in place of the first three.
    """

    def add(builder):
        scales = dict(zip(SCALES, (quick, standard, paper), strict=True))
        STUDIES[name] = PaperStudy(builder, scales, theory, shown, own_start, **settings)
        return builder

    return add


def arms_theory(*arms):
    """Return the slopes of density and experts of these arms."""
    return {f"{arm}.{loss}": ROOT for arm in arms for loss in ("density", "experts")}


def split_theory(*splits):
    """Return the slopes of everything that `by_split` returns for these splits."""
    slopes = {}
    for split in splits:
        prefix = f"split.{'+'.join(map(str, split))}"
        slopes[f"{prefix}.D2"] = ROOT
        for cell, m in enumerate(split):
            fast, slow = (ROOT, ROOT) if m == 1 else (-1.0 / ORDERS[m], -0.5 / ORDERS[m])
            slopes[f"{prefix}.gate_weight.{cell}"] = ROOT
            slopes |= {f"{prefix}.{field}.{cell}": slow for field in ("gate_coef", "expert_intercept")}
            slopes |= {f"{prefix}.{field}.{cell}": fast for field in ("expert_coef", "expert_variance")}
    return slopes
