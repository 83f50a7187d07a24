"""Studies by name: the published convergence experiments, as then and as here, and those that nobody has made.

>>> from smoe.simulation import papers
>>> {"softmax-exact", "topk-core"} <= set(papers.STUDIES)
True
>>> study = papers.build("softmax-exact", "quick")
>>> study.run_cell(300, 0).converged
True

In common to all, unless a study says otherwise: covariates are iid uniform on [0, 1] where the code of the papers has a
grid; fits are certified maxima where the papers stop EM early; the losses are the theory's, with their infimum; sizes
are evenly spaced on the log scale. Fits begin near the truth, which is a way to find the maximum fast and no part of
the estimator: ``start="data"`` finds its own starts with the estimator that a user would call.
"""

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

from smoe.simulation._plan import SCALES, STUDIES, Run, sizes_of

if TYPE_CHECKING:
    from smoe.simulation.study import Study

__all__ = ["SCALES", "STUDIES", "build", "describe"]

for _group in ("published", "sharp", "gates", "placed"):  # each enters its studies, in this order
    import_module(f"smoe.simulation._studies_{_group}")


def build(
    name: str, scale: str = "standard", *, start: str | None = None, random_state: int = 0, **settings: Any
) -> "Study":
    """Return a named study.

    Parameters
    ----------
    name : str
        One of ``STUDIES``.
    scale : {"quick", "standard", "paper"}, default="standard"
        Under a minute, a few minutes, or the published 200 sizes with 40 replications; on two cores.
    start : {"near_truth", "data"} or None, default=None
        None for the study's own, which is near the truth.
    random_state : int, default=0
    **settings
        Of the study: ``n_experts`` of "softmax-published".

    Returns
    -------
    ConvergenceStudy

    Raises
    ------
    ValueError
        An unknown name, scale or start; or a start for a study whose start belongs to what is studied.

    Examples
    --------
    >>> from smoe.simulation import papers
    >>> papers.build("softmax-published", "paper", n_experts=4).sizes[-1]
    100000
    """
    entry = _entry(name)
    if scale not in SCALES:
        raise ValueError(f"scale {scale!r} is not known; choose one of {', '.join(SCALES)}.")
    if start not in (None, "near_truth", "data"):
        raise ValueError(f"start must be 'near_truth' or 'data', got {start!r}.")
    if entry.own_start and start is not None:
        raise ValueError(f"start: that of {name} belongs to what is studied; leave it out.")
    sizes, n_replications = sizes_of(entry.scales[scale])
    return entry.builder(Run(sizes, n_replications, start, random_state), **settings)


def describe(name: str) -> str:
    """Return what a study is and its scales, as text.

    Parameters
    ----------
    name : str
        One of ``STUDIES``.
    """
    entry = _entry(name)
    scales = [(scale, *sizes_of(entry.scales[scale])) for scale in SCALES]
    lines = [f"{scale}: {len(n)} sizes from {n[0]} to {n[-1]}, {times} replications" for scale, n, times in scales]
    return "\n".join([inspect.getdoc(entry.builder) or "", "", *lines])


def _entry(name):
    if not isinstance(name, str) or name not in STUDIES:
        raise ValueError(f"study {name!r} is not known; choose one of {', '.join(STUDIES)}.")
    return STUDIES[name]
