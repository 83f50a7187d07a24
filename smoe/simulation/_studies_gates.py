"""Other gates, families and penalties: exact fits, and one expert too many."""

from smoe.simulation._plan import EXACT, OVER, QUICK, ROOT, STANDARD, arms_theory, register

__all__ = []


@register(
    "gaussian-conditional",
    QUICK,
    STANDARD,
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
    return run.exact(run.kit.truths.localised())


@register("tree-exact", QUICK, STANDARD, EXACT, {"density": ROOT, "experts": ROOT}, ("experts", "density"))
def tree_exact(run):
    """A balanced tree of four experts, fitted with its own shape: density and experts at n^(-1/2).

    Our own truth. Experts of a tree have places; fits begin near the truth's, and are compared expert by nearest
    expert. Start: near the truth.
    """
    return run.exact(run.kit.truths.hierarchical())


@register(
    "laplace-over",
    QUICK,
    STANDARD,
    OVER,
    arms_theory("laplace", "softmax"),
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
    return run.compare({"laplace": run.over(truths.laplace()), "softmax": run.over(truths.comparable())})


@register(
    "family-over",
    QUICK,
    STANDARD,
    OVER,
    arms_theory("normal", "t"),
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
    return run.compare({"normal": run.over(truths.comparable()), "t": run.over(truths.heavy_tailed(), 2.0)})


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


@register(
    "shared-linear",
    QUICK,
    STANDARD,
    OVER,
    arms_theory("exact", "over"),
    ("over.experts", "over.density", "exact.experts", "exact.density"),
    own_start=True,
)
def shared_linear(run):
    """One shared and two routed experts, with and without a shared one too many: density and experts at n^(-1/2).

    The model of Nguyen et al. (arXiv 2505.10860), a truth of our own on x uniform on [-1, 1]: the shared expert has
    half of the weight everywhere (there it is fixed, here it is estimated). Published rates of a doubled shared linear
    expert are n^(-1/4) for the slope, n^(-1/(2r)) for the intercept and n^(-1/r) for the variance: the loss "experts"
    has the powers 2, 4, 2 and is at n^(-1/2). Their code has the power 1 in place of 4. Start: near the truth, the
    shared expert doubled.
    """
    kit, truth = run.kit, run.kit.truths.shared()
    wide = kit.shared_experts(2, 2)
    losses = {"density": kit.density_of(wide), "experts": kit.expert_loss_of(4.0, wide)}
    over = run.study(truth, kit.EMNewton(), losses, start=kit.shared_start, n_experts=4, model=wide)
    exact = run.study(truth, kit.EMNewton(), {"density": kit.density, "experts": kit.expert_loss})
    return run.compare({"exact": exact, "over": over})


@register(
    "sigmoid-dense",
    QUICK,
    STANDARD,
    OVER,
    {**arms_theory("exact"), "three.density": ROOT},
    ("exact.experts", "exact.density", "three.density", "three.spare"),
    own_start=True,
)
def sigmoid_dense(run):
    """Normalised sigmoid gate, two and three experts for two: the density at n^(-1/2), two experts as well.

    The gate of arXiv 2505.10860, a truth of our own on x uniform on [-1, 1]. A normalised sigmoid gate with k experts
    is none with k + 1 unless the additional one has no weight: the density of three is at n^(-1/2), and "spare", the
    smallest mean probability, should fall to zero, but maxima at which the third expert has a share come so near to
    the truth that it hardly does at these sizes. Start: near the truth, all splits.
    """
    kit, truth = run.kit, run.kit.truths.normalised_sigmoid()
    losses = {"density": kit.density, "spare": kit.smallest_load}
    return run.compare({"exact": run.exact(truth), "three": run.study(truth, kit.AllSplits(2), losses, n_experts=3)})


@register("constant-over", QUICK, STANDARD, OVER, {"density": ROOT, "experts": ROOT}, ("experts", "density"))
def constant_over(run):
    """Weights that do not depend on x, three regressions for two: density and experts at n^(-1/2).

    The mixture of regressions of Ho, Yang and Jordan (Journal of Machine Learning Research, 2022), who publish no
    simulation of it; a truth of our own. Their Theorem 2 has slopes at n^(-1/4), intercepts at n^(-1/8) and variances
    at n^(-1/4) for an expert split in two: the powers 2, 4, 2 of the loss "experts". Start: near the truth, all splits.
    """
    return run.over(run.kit.truths.constant())


@register(
    "logit-flat",
    (500, 4000, 4, 20),
    (1000, 32_000, 6, 24),
    OVER,
    {
        **{f"{arm}.density": ROOT for arm in ("flat", "sloped", "flat pulled", "sloped pulled")},
        **{"flat.copies.2+1": 0.0, "flat.copies.1+2": ROOT, "sloped.spread": ROOT, "sloped pulled.spread": ROOT},
    },
    ("flat.copies.2+1", "flat.copies.1+2", "sloped.spread", "sloped pulled.spread"),
    own_start=True,
)
def logit_flat(run):
    """Experts of classes, three for two: copies of one without slopes do not converge, those of others do slowly.

    The model of Nguyen et al. (arXiv 2310.14188), whose simulation was not to be had; truths of our own with three
    classes. An expert whose class probabilities p do not depend on x ("flat") may be split into any p' and p'' whose
    mean by their weights is p, and the density stays. Copies of experts with slopes ("sloped") are at n^(-1/4). The
    loss "spread" is the mean square of the difference of class probabilities from the nearest true expert's, weighted
    by the gate; "copies" is its part of the expert that is split, by split. Of the flat truth either is split, the one
    with slopes more often: only fits in "flat.copies.2+1" split the one without. The density is that of the classes.
    "pulled" are the same fits with the pull of gate and classes (`smoe.penalties.Pull`), whose likelihoods may be below
    the truth's. Start: near the truth, all splits.
    """
    kit, arms = run.kit, {}
    for pull in (False, True):
        for name in ("flat", "sloped"):
            truth = kit.truths.classes(name == "flat")
            losses = {"density": kit.class_density, "spread": kit.class_spread, "copies": kit.class_copies}
            model = kit.pulled(truth.model) if pull else truth.model
            arms[name + " pulled" * pull] = run.study(truth, kit.AllSplits(2), losses, n_experts=3, model=model)
    return run.compare(arms)


@register(
    "lasso-support",
    (250, 2000, 4, 20),
    (250, 8000, 6, 30),
    EXACT,
    {"support.error": ROOT, "support.kept": 0.0},
    ("support.error", "support.kept"),
    own_start=True,
)
def lasso_support(run):
    """Lasso on experts and gate, 20 columns of which five matter: no true slope is lost, a few false ones come in.

    Our own truth on normal covariates: two slopes of each expert and of the gate are not zero, 54 are. The weight of
    the penalty is sqrt(log d / n). "kept" is the number of slopes that are not zero, over the true one: one is right;
    also recorded are the shares of true slopes that were missed, and of false ones. "error" is the Euclidean distance
    of all slopes, shrunk as they are: the gate's, which lose most, are at n^(-1/2) beyond half a million rows only. A
    penalised fit may be below the truth's likelihood. Start: near the truth.
    """
    kit, truth = run.kit, run.kit.truths.sparse()
    return run.study(truth, kit.RuledLasso(2), {"support": kit.support})
