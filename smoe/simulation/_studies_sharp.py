"""Sharp rates, and truths that over-specified fits cannot tell or cannot reach: what theory says, shown."""

from smoe.simulation._plan import OVER, ROOT, register

__all__ = []

_FIELDS = [("gate", "coef"), ("expert", "coef"), ("expert", "intercept"), ("expert", "variance")]
_EXPONENTS = {
    "m2": {"gate_coef": -2.0, "expert_coef": -2.0, "expert_intercept": -4.0, "expert_variance": -2.0},
    "m3": {"gate_coef": -2.0, "expert_coef": -2.0, "expert_intercept": -6.0, "expert_variance": -3.0},
    "t": {"gate_coef": -2.0, "expert_coef": -2.0, "expert_intercept": -2.0, "expert_scale": -2.0},
    "curved": {
        "gate_coef": -4.0,
        "gate_curvature": -2.0,
        "expert_coef": -2.0,
        "expert_intercept": -4.0,
        "expert_variance": -2.0,
    },
}


@register(
    "profile-softmax",
    (10, 20, 2, 1),
    (10, 80, 4, 1),
    (10, 160, 5, 1),
    {f"{name}.{field}": slope for name, slopes in _EXPONENTS.items() for field, slope in slopes.items()},
    (*(f"m2.{field}" for field in _EXPONENTS["m2"]), "m3.expert_intercept", "m3.expert_variance"),
    own_start=True,
    axis="1 / separation of the copies",
)
def profile_softmax(run):
    """Where rates come from, without data: the smallest Hellinger distance at which copies of an expert are apart.

    Nothing is drawn and nothing is estimated. Two or three copies of equal weight stand for one true expert; the first
    two differ by twice a separation in one parameter, and all others are chosen to bring the density as near to the
    truth as it gets, by least squares in the root of the density. The sizes are one over the separation, so that a
    slope of -4 is a distance that falls with its fourth power: an estimate whose density is at n^(-1/2) then knows the
    parameter at n^(-1/8). Softmax gate, two copies ("m2"): gate slope 2, slope 2, intercept 4, variance 2; three copies
    ("m3"): 2, 2, 6, 3. So gate slope and slope are at n^(-1/4) whatever the number of copies, where n^(-1/(2 r)) and
    n^(-1/r) are published. With Student t noise ("t") all exponents are 2; with a quadratic gate ("curved") the linear
    part of the gate trades with the curvature as the intercept does with the variance, and has 4. Start: six random
    ones for every separation, and the minimum at twice the separation, which belong to what is studied.
    """
    truths = run.kit.truths
    t = [*_FIELDS[:3], ("expert", "scale")]
    curved = [_FIELDS[0], ("gate", "curvature"), *_FIELDS[1:]]
    return run.profile(
        {
            "m2": (truths.profiled(), 2, _FIELDS),
            "m3": (truths.profiled(), 3, _FIELDS),
            "t": (truths.profiled("t"), 2, t),
            "curved": (truths.profiled("curved"), 2, curved),
        }
    )


@register(
    "softmax-sharp3",
    (1000, 10_000, 5, 40),
    (1000, 100_000, 9, 60),
    OVER,
    {"sharp": ROOT, "D2": ROOT, "density": ROOT},
    ("sharp", "D2", "density"),
)
def softmax_sharp3(run):
    """Softmax gate, three experts for two of comparable weight: the sharp loss at n^(-1/2), beside D2.

    Our own truth: T0 gives an expert the weight exp(-8), which hides what happens to it. D2 has the fourth power of the
    distance of gate slopes; the sharp loss has the square, asks for more, and falls as fast. Every data set is climbed
    from both ways to split an expert. Start: near the truth, all splits.
    """
    kit = run.kit
    losses = {"sharp": "sharp", "D2": "D2", "density": kit.density}
    return run.study(kit.truths.comparable(), kit.AllSplits(2), losses, n_experts=3)


@register(
    "softmax-flat4",
    (1000, 10_000, 5, 20),
    (1000, 100_000, 7, 40),
    OVER,
    {
        **{f"{split}.copies.sharp": ROOT for split in ("3+1", "1+3")},
        **{f"{split}.density": ROOT for split in ("3+1", "2+2", "1+3")},
        "2+2.copies.apart": 0.0,
    },
    ("3+1.copies.sharp", "1+3.copies.sharp", "2+2.copies.apart", "2+2.density"),
    own_start=True,
)
def softmax_flat4(run):
    """Softmax gate, four experts for two: split in three and one the loss falls, in two and two it is none.

    Our own truth of two experts of comparable weight. With two copies of each, all weights may be multiplied by
    c exp(t'x) + c', and the density stays: the distance of the copies' gate slopes ("apart") is that of the start and
    of chance, at any n, and a Voronoi loss is refused. With three copies of one expert and one of the other there is no
    such factor, and the sharp loss falls. The density is at n^(-1/2) in all three. Start: near the truth, each of the
    three splits by itself; fits that have left their split count for the density only.
    """
    kit, arms = run.kit, {}
    for name, extra in {"3+1": (0, 0), "2+2": (0, 1), "1+3": (1, 1)}.items():
        losses = {"density": kit.density, "copies": kit.copies_of(name)}
        arms[name] = run.study(kit.truths.comparable(), kit.EMNewton(), losses, start=kit.doubling(*extra), n_experts=4)
    return run.compare(arms)


@register(
    "topk-core",
    (300, 3000, 5, 20),
    (300, 10_000, 6, 30),
    OVER,
    {"wide.density": ROOT, "spare.density": ROOT},
    ("wide.density", "spare.density", "wider.density"),
    own_start=True,
)
def topk_core(run):
    """Top-2 truth with a core expert of margin one: doubled it is matched, tripled it is not.

    K + (k - k*) selected experts reach the truth if and only if some true expert is selected on almost every x, and by
    a margin of at least log(1 + k - k*) over the best that is not. Expert 2 of this truth is such a core, with margin
    one. One expert more (log 2 = 0.69, "wide": three of four) is exact; two more (log 3 = 1.10, "wider": four of five)
    are not: with equal shares the density is off by 0.006, which takes some 50,000 rows to be seen. As many as the
    truth selects always reach it, with spare experts that are selected nowhere ("spare": two of four). Start: near the
    truth, the core doubled; for "spare", in which no copy of an expert is the truth, each expert in turn. Fits of
    "wider" may be below the truth's likelihood and do not count as such.
    """
    kit, truth = run.kit, run.kit.truths.top_2_of_3()
    arms, search = {}, kit.SupportSearch()
    every = kit.AllSplits(3, search)
    for name, k, selected, solver in (("wide", 4, 3, search), ("spare", 4, 2, every), ("wider", 5, 4, search)):
        model, start = kit.top_k(selected), kit.doubling(*[2] * (k - 3))
        losses = {"density": kit.density_of(model)}
        arms[name] = run.study(truth, solver, losses, start=start, n_experts=k, model=model)
    return run.compare(arms, judged=["wide", "spare"])


@register(
    "topk-published-over",
    (300, 3000, 5, 20),
    (300, 10_000, 6, 30),
    OVER,
    {"four.density": ROOT},
    ("three.density", "three.scale", "four.density", "four.scale"),
    own_start=True,
)
def topk_published_over(run):
    """The published over-specified top-K set-up: two selected of three, for one of two, has no maximum.

    Nguyen, Akbarian, Yan and Ho (ICLR 2024): T0 with one selected expert, fits with two of three ("three"). On either
    side of the border one expert is to be alone, and two are selected: the additional one doubles the expert on its
    own side and must have no weight on the other. That takes a gate as steep as one likes: the best density of scale M
    is at a Kullback-Leibler distance of 0.0425 / M, there is no maximum, and the scale runs off at every n ("scale" is
    the largest slope of the gate). Fits end where the likelihood rises by less than can be seen; none is certified,
    since the certificate tries gates that are far steeper. Two of four ("four") are exact, k >= Kbar k* is what K = 1
    needs; their gate slopes are not identified either, since every expert is doubled. Fits of "three" may be below the
    truth's likelihood and do not count as such. Start: near the truth, expert 0 doubled, or both.
    """
    kit, truth = run.kit, run.kit.truths.published_top_1()
    arms = {}
    for name, extra in {"three": (0,), "four": (0, 1)}.items():
        model = kit.top_k(2)
        losses = {"density": kit.density_of(model), "scale": kit.gate_scale}
        start = kit.doubling(*extra)
        arms[name] = run.study(truth, kit.SupportSearch(), losses, start=start, n_experts=2 + len(extra), model=model)
    return run.compare(arms, judged=["four"])
