"""Other gates and families: exact fits, and one expert too many."""

from functools import partial

from smoe.simulation._plan import EXACT, OVER, ROOT, register

__all__ = []

_QUICK, _STANDARD = (1000, 10_000, 4, 20), (1000, 100_000, 6, 40)


def _exact(run, truth):
    kit = run.kit
    return run.study(truth, kit.EMNewton(), {"density": kit.density, "experts": kit.expert_loss})


def _over(run, truth, power):
    """One expert more than the true two, climbed from both ways to split; losses of any gate and family."""
    kit = run.kit
    losses = {"density": kit.density, "experts": partial(kit.expert_loss, power=power)}
    return run.study(truth, kit.AllSplits(2), losses, n_experts=3)


def _theory(*arms):
    return {f"{arm}.{loss}": ROOT for arm in arms for loss in ("density", "experts")}


@register(
    "gaussian-conditional",
    _QUICK,
    _STANDARD,
    EXACT,
    {"density": ROOT, "experts": ROOT},
    ("experts", "density"),
)
def gaussian_conditional(run):
    """Gaussian gate fitted to y given x, as many experts as the truth: density and experts at n^(-1/2).

    The conditional density of the well-specified model of Nguyen et al. (Electronic Journal of Statistics, 2022):
    weights 1/2, centres 0.2 and 0.8, variances 0.1 and 0.15, lines 2 - 5x and 0.1x with standard deviation 0.3; here x
    is uniform on [0, 1], which no Gaussian mixture is, so that a joint fit of x and y would be biased. The published
    Kullback-Leibler divergence at 1/n is a Hellinger distance at n^(-1/2). Start: near the truth.
    """
    return _exact(run, run.kit.truths.localised())


@register("tree-exact", _QUICK, _STANDARD, EXACT, {"density": ROOT, "experts": ROOT}, ("experts", "density"))
def tree_exact(run):
    """A balanced tree of four experts, fitted with its own shape: density and experts at n^(-1/2).

    Our own truth. Experts of a tree have places; fits begin near the truth's, and are compared expert by nearest
    expert. Start: near the truth.
    """
    return _exact(run, run.kit.truths.hierarchical())


@register(
    "laplace-over",
    _QUICK,
    _STANDARD,
    OVER,
    _theory("laplace", "softmax"),
    ("laplace.experts", "softmax.experts", "laplace.density", "softmax.density"),
    own_start=True,
)
def laplace_over(run):
    """Laplace and softmax gates side by side, three experts for two: the same powers, the same rate.

    Published rates say that the Laplace gate beats the softmax gate: slopes at n^(-1/4) in place of n^(-1/r). With
    sharp bounds they are the same. The loss "experts" is that of the theory with 2, 4, 2 as the powers of slope,
    intercept and variance on a split cell, weighted with the mean probabilities of the experts, so that it is defined
    for every gate. Start: near the truth, all splits.
    """
    truths = run.kit.truths
    return run.compare({"laplace": _over(run, truths.laplace(), 4.0), "softmax": _over(run, truths.comparable(), 4.0)})


@register(
    "family-over",
    _QUICK,
    _STANDARD,
    OVER,
    _theory("normal", "t"),
    ("normal.experts", "t.experts", "normal.density", "t.density"),
    own_start=True,
)
def family_over(run):
    """Normal and Student t experts side by side, three for two: with t noise the intercept has power 2, not 4.

    What makes intercepts slow is that a normal mean moved twice looks like a change of variance. With t noise of four
    degrees of freedom it does not: the loss "experts" has 2, 4, 2 as the powers of slope, intercept and variance for
    normal experts, and 2, 2, 2 for those, and both are at n^(-1/2). Start: near the truth, all splits.
    """
    truths = run.kit.truths
    return run.compare({"normal": _over(run, truths.comparable(), 4.0), "t": _over(run, truths.heavy_tailed(), 2.0)})


_SHARES = (0.0, 0.01, 0.03, 0.05)


@register(
    "robust-t",
    (250, 2000, 4, 20),
    (250, 16_000, 7, 50),
    EXACT,
    {"t 0 %.mean": ROOT, "normal 0 %.mean": ROOT, "normal 5 %.mean": 0.0},
    ("t 0 %.mean", "normal 0 %.mean", "t 5 %.mean", "normal 5 %.mean"),
    own_start=True,
)
def robust_t(run):
    """Student t and normal experts on data of which up to 5 % are outliers: how far the mean function is off.

    The set-up of Chamroukhi (Neural Networks, 2016): gate 8x, lines with slopes -2.5 and 2.5 through the origin, t
    noise with scale 0.5 and 5 and 7 degrees of freedom, x from -1 to 1 (here uniform, there 500 points on a grid), and
    a share of 0, 1, 3 or 5 % of the responses replaced by -5. The loss "mean" is the root mean square over x of the
    error of the mean of y given x without outliers. That of the normal fit levels off at a height that grows with the
    share. No fit is about the law of what is contaminated, so that a likelihood below the truth's says nothing: the
    truth is that without outliers. Start: near the truth without outliers, for each data set and family.
    """
    kit, arms = run.kit, {}
    for share in _SHARES:
        truth = kit.truths.contaminated(share)
        for name, model, start in (("t", truth.model, "near_truth"), ("normal", kit.normal_model(), kit.normal_start)):
            losses = {"mean": kit.mean_error_of(model)}
            arms[f"{name} {share:.0%}".replace("%", " %")] = run.study(
                truth, kit.EMNewton(), losses, start=start, model=model
            )
    return run.compare(arms)
