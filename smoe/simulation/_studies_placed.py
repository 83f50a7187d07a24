"""Experts with places in x: fits to x and y together, beside those to y given x."""

from smoe.simulation._plan import EXACT, OVER, QUICK, ROOT, STANDARD, register

__all__ = []


def _side_by_side(run, curved):
    """The joint fit and the conditional one to the same data."""
    kit, losses = run.kit, {"density": run.kit.joint_density}
    joint = kit.JointGaussianMoERegressor(2)
    return run.compare(
        {
            "joint": run.study(kit.truths.places(True, curved), joint, losses, start=kit.joint_start),
            "conditional": run.study(kit.truths.places(False, curved), kit.EMNewton(), losses, model=kit.lines()),
        }
    )


@register(
    "gaussian-joint",
    QUICK,
    STANDARD,
    EXACT,
    {"joint.density": ROOT, "conditional.density": ROOT},
    ("joint.density", "conditional.density"),
    own_start=True,
)
def gaussian_joint(run):
    """Gaussian gate, x from its normal laws: the fit to x and y together beside that to y given x, both at n^(-1/2).

    The well-specified model of Nguyen et al. (Electronic Journal of Statistics, 2022), who fit x and y together: sizes
    1,000 to 10,000, 30 replications, Kullback-Leibler divergence at 1/n, which is a Hellinger distance at n^(-1/2).
    Weights 1/2, centres 0.2 and 0.8, variances 0.1 and 0.15, lines 2 - 5x and 0.1x with standard deviation 0.3. The
    joint fit is better by some per cent, as it knows the law of x, and not by a rate. The density is that of y given
    x, averaged over 1,000 draws of x. Start: near the truth.
    """
    return _side_by_side(run, curved=False)


@register(
    "gaussian-curved",
    QUICK,
    STANDARD,
    EXACT,
    {"joint.density": 0.0, "conditional.density": 0.0},
    ("joint.density", "conditional.density"),
    own_start=True,
)
def gaussian_curved(run):
    """As "gaussian-joint" with curved means, which no two lines are: both fits level off, at heights of their own.

    The misspecified model of the same paper: means 1 - 6x + x^2 and -0.4x^2. The truth is not in the model; a joint fit
    ends at the law of x and y that is nearest, which need not be nearest for y given x. "Below the truth" says nothing
    here. Start: near the truth without its curvature.
    """
    return _side_by_side(run, curved=True)


@register(
    "gaussian-over",
    (500, 4000, 4, 20),
    (1000, 16_000, 5, 24),
    OVER,
    {f"model {m}.loss": ROOT for m in (1, 2, 3, 4)},
    ("model 1.loss", "model 2.loss", "model 3.loss", "model 4.loss", "one step.loss"),
    own_start=True,
)
def gaussian_over(run, n_experts=4):
    """Gaussian gates fitted jointly, four experts for three: the four published models, with the maximum found.

    Nguyen, Nguyen, Nguyen and Ho (AISTATS 2024): four models in one or two features, 100 sizes up to 100,000, 20
    replications, EM from within thousandths of the truth, stopped by a rule that every fit meets after one iteration;
    the published slopes are -0.50 to -0.52. Here every data set is climbed from all ways to split experts, until the
    score vanishes. "one step" is the published protocol for model 1: what falls is the error of one step from the
    truth, which is no maximum and never certified. The loss is the published one, with the powers r and r/2 for split
    experts. ``n_experts`` makes it 5. Start: near the truth, all splits.
    """
    kit = run.kit

    def arm(number, solver):
        fitter, losses = kit.JointGaussianMoERegressor(n_experts, solver=solver), {"loss": kit.places_loss_of()}
        if number % 2 == 0:  # the first centre is zero
            losses = {"loss": kit.places_loss_of(0)}
        return run.study(kit.truths.gaussian_gated(number), fitter, losses, start=kit.joint_start, n_experts=n_experts)

    arms = {f"model {m}": arm(m, kit.AllSplits(3)) for m in (1, 2, 3, 4)}
    return run.compare({**arms, "one step": arm(1, kit.EM(1))})
