"""Named studies build at every scale, and do what their docstrings say."""

import inspect
import math

import numpy as np
import pytest

from helpers import assert_close, sampled
from naive import SOFTMAX_GAUSSIAN, gaussian_log_density, gaussian_m_step, linear_scores, log_sum_exp, softmax
from smoe.experts import GaussianExpertParams
from smoe.gates import LinearGateParams, TopKGate, TreeGate
from smoe.params import MoEParams, permute
from smoe.simulation import (
    ComparisonStudy,
    StudyResult,
    Truth,
    as_params,
    density_error,
    near_truth,
    papers,
    voronoi_loss,
)
from smoe.simulation._placed import joint_start, lines, of_y, places_loss
from smoe.simulation._plan import Run
from smoe.simulation._protocols import (
    AllSplits,
    EMByLoglik,
    by_split,
    class_copies,
    class_density,
    class_spread,
    expert_loss,
    published_d2,
    shared_start,
    support,
)
from smoe.simulation._separation import smallest_distance
from smoe.simulation._truths import (
    classes,
    comparable,
    constant,
    gaussian_gated,
    places,
    profiled,
    published,
    shared,
    sparse,
    top_2_of_3,
)
from smoe.simulation.cells import fit_with_solver
from smoe.solvers import EMNewton

NAMES = [
    "softmax-exact",
    "softmax-over3",
    "softmax-over4",
    "softmax-published",
    "topk1-exact",
    "topk2-exact",
    "topk2-over",
    "topk2-over-narrow",
    "temperature-dense",
    "temperature-sigmoid",
    "temperature-tanh",
    "profile-softmax",
    "softmax-sharp3",
    "softmax-flat4",
    "topk-core",
    "topk-published-over",
    "gaussian-conditional",
    "tree-exact",
    "laplace-over",
    "family-over",
    "robust-t",
    "shared-linear",
    "sigmoid-dense",
    "constant-over",
    "logit-flat",
    "lasso-support",
    "gaussian-joint",
    "gaussian-curved",
    "gaussian-over",
]
FIXED = "profile-softmax"  # nothing in it is random
SAMPLED = [name for name in NAMES if name != FIXED]
EXACT_SIZES = [*range(100, 901, 200), *(round(n) for n in np.linspace(1000, 100_000, 195))]
_DONE = {}


def tiny(name, start=None, sizes=(300, 600), n_replications=2, **settings):
    """The result of a small version of a study, computed once."""
    key = name, start, tuple(sizes), *settings.items()
    if key not in _DONE:
        run = Run(list(sizes), n_replications, start, 0)
        _DONE[key] = papers.STUDIES[name].builder(run, **settings).run()
    return _DONE[key]


def test_names():
    assert list(papers.STUDIES) == NAMES


@pytest.mark.parametrize("scale", sampled(list(papers.SCALES)[::-1], 1))
@pytest.mark.parametrize("name", SAMPLED)
def test_every_study_builds_at_every_scale(name, scale):
    study = papers.build(name, scale)
    sizes = study.sizes
    assert sizes == sorted(set(sizes)) and study.n_replications >= 20
    if scale == "paper":
        exact = name.endswith(("-exact", "-conditional", "-joint", "-curved", "-support", "robust-t"))
        exact = exact or name.startswith("temperature")
        assert sizes == (EXACT_SIZES if exact else [round(n) for n in np.linspace(10_000, 100_000, 200)])
        assert (len(sizes), study.n_replications) == (200, 40)
    else:
        np.testing.assert_allclose(np.diff(np.log(sizes)), np.log(sizes[-1] / sizes[0]) / (len(sizes) - 1), rtol=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_a_study_says_what_it_is(name):
    study = papers.STUDIES[name]
    text = inspect.getdoc(study.builder)
    assert study.description == text.splitlines()[0] and len(study.description) < 112
    assert "start" in text.lower() and papers.describe(name).startswith(text)
    assert papers.describe(name).splitlines()[-1].startswith(f"paper: {5 if name == FIXED else 200} sizes from ")


@pytest.mark.parametrize("name", SAMPLED)
def test_a_tiny_version_gives_records(name):
    result = tiny(name)
    study = papers.STUDIES[name]
    assert [record.address for record in result.records] == [(n, r) for n in (300, 600) for r in range(2)]
    assert result.share_failed == 0 and not any("failed" in record.status for record in result.records)
    losses = {
        loss for loss in [*study.theory, *study.shown] if not loss.startswith("split.") and ".copies." not in loss
    }
    assert losses <= set(result.losses)
    for loss in (loss for loss in result.losses if loss.endswith("density")):
        values = np.concatenate(list(result.values(loss).values()))
        assert len(values) == 4 and values.min() > 0
    if name not in ("topk2-over-narrow", "softmax-published", "robust-t", "gaussian-curved", "lasso-support"):
        assert result.share_below_truth == 0


@pytest.mark.parametrize("name", ["softmax-exact", "topk1-exact", "temperature-sigmoid"])
def test_starts_from_data_reach_the_same_maximum(name):
    near, data = (tiny(name, start, sizes=[600], n_replications=1).records[0] for start in (None, "data"))
    assert near.truth_loglik == data.truth_loglik
    assert abs(near.loglik - data.loglik) < 0.5 if name == "topk1-exact" else near.loglik <= data.loglik + 1e-6


def test_what_cannot_be_built():
    for arguments, message in [
        ({"name": "softmax"}, "study 'softmax' is not known"),
        ({"scale": "huge"}, "scale 'huge' is not known; choose one of quick, standard, paper"),
        ({"start": "truth"}, "start must be"),
        ({"name": "softmax-published", "start": "data"}, "belongs to what is studied"),
    ]:
        with pytest.raises(ValueError, match=message):
            papers.build(**{"name": "softmax-exact", **arguments})


def test_settings_differ_between_studies():
    described = [repr(papers.build(name, "quick").settings) for name in NAMES]
    assert len(set(described)) == len(NAMES)
    assert papers.build("softmax-exact", random_state=3).settings["random_state"] == 3


# Sharp rates ----------------------------------------------------------------------------------------------------------


def test_profile_exponents():
    """Two separations of one parameter each: fourth powers of the intercept, squares with t noise; a curved gate."""
    for kind, part, field, exponent in [
        ("softmax", "expert", "intercept", 4),
        ("t", "expert", "intercept", 2),
        ("curved", "gate", "coef", 4),
        ("curved", "gate", "curvature", 2),
    ]:
        distance = [smallest_distance(profiled(kind), 2, part, field, h, n_starts=3)[0] for h in (0.1, 0.05)]
        assert math.log2(distance[0] / distance[1]) == pytest.approx(exponent, abs=0.1), (kind, field)


def test_the_smallest_distance_is_one():
    """It is the distance of the parameters that it returns, whose copies are apart as they should be."""
    truth = profiled()
    distance, params = smallest_distance(truth, 2, "expert", "coef", 0.1, n_starts=3)
    coef, log_weight = params.expert.coef[:, 0], params.gate.intercept
    assert coef[0] - coef[1] == pytest.approx(0.2, rel=0.5) and log_weight[0] == pytest.approx(log_weight[1])
    gap = (np.sqrt(density) for density in (naive_density(params), naive_density(permute(truth.params, [0, 1]))))
    first, second = gap
    square = 0.5 * ((first - second) ** 2).sum() * 0.01 / 400
    assert distance == pytest.approx(math.sqrt(square), rel=1e-3)
    nearby = params._replace(expert=params.expert._replace(intercept=params.expert.intercept + [0.01, 0, 0]))
    assert 0.5 * ((np.sqrt(naive_density(nearby)) - second) ** 2).sum() * 0.01 / 400 > square


def naive_density(params):
    """On 400 x between -1 and 1 and y from -8 to 8 in steps of 0.01."""
    x, y = np.linspace(-1, 1, 801)[1::2], np.arange(-8, 8, 0.01)
    proba = np.array([softmax(linear_scores([value], params.gate)) for value in x])
    (coef, intercept, variance), out = params.expert, 0.0
    for k in range(len(intercept)):
        mean = intercept[k] + coef[k, 0] * x[:, None]
        out = out + proba[:, [k]] * np.exp(-((y - mean) ** 2) / 2 / variance[k]) / np.sqrt(2 * np.pi * variance[k])
    return out


def test_flat_splits_have_no_loss_and_others_do():
    losses = tiny("softmax-flat4").losses
    assert "2+2.copies.apart" in losses and "2+2.copies.sharp" not in losses
    assert {"3+1.copies.sharp", "1+3.copies.sharp"} & set(losses)


def test_a_core_expert_needs_its_margin():
    """Copies with equal shares of the core: two are exact, three are selected on part of the rows only."""
    truth = top_2_of_3()
    for copies, exact in ((2, True), (3, False)):
        gate, expert = permute(truth.params, [2] * (copies - 1) + [0, 1, 2])
        share = np.where(np.arange(copies + 2) % (copies + 1) < copies - 1, copies, 1.0)
        share[-1] = copies
        split = MoEParams(gate._replace(intercept=gate.intercept - np.log(share)), expert)
        error = density_error(split, truth, model=(TopKGate(copies + 1), "gaussian")).value
        assert (error < 1e-7) == exact


def test_a_spare_expert_is_climbed_from_every_copy():
    """Where the search from a doubled core ends far below the truth, that from every doubled expert does not."""
    spare = papers.STUDIES["topk-core"].builder(Run([300], 1, None, 0))._cells.arms["spare"]
    every, core = (cells.run(1220, 20) for cells in (spare, spare._replace(fitter=spare.fitter.solver)))
    assert core.loglik < core.truth_loglik - 10 and not every.below_truth


def test_a_scale_that_runs_off_is_seen():
    """Two of three for one of two have no maximum and no certificate; two of four may have both."""
    result = tiny("topk-published-over")
    certified = {arm: np.concatenate(list(result.values(f"{arm}.certified").values())) for arm in ("three", "four")}
    assert not certified["three"].any() and certified["four"].any()


def test_expert_loss_by_hand():
    truth = comparable()
    gate, expert = permute(truth.params, [0, 0, 1])
    gate = gate._replace(intercept=gate.intercept - [np.log(2), np.log(2), 0])
    moved = expert._replace(intercept=expert.intercept + [0.1, -0.1, 0], variance=expert.variance + [0.02, 0.02, 0.01])
    share = 1 / (1 + np.exp(-2 * ((np.arange(500) + 0.5) / 250 - 1)))
    expected = share.mean() * (0.1**4 + 0.02**2) + (1 - share.mean()) * 0.01
    assert expert_loss(MoEParams(gate, moved), truth) == pytest.approx(expected)
    assert expert_loss(MoEParams(gate, moved), truth, power=2.0) > expected + 0.004


def normal(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / 2 / variance) / np.sqrt(2 * np.pi * variance)


def test_what_a_joint_fit_says_of_y_given_x():
    """The law of both over that of x, at one point; the start has the truth's shares, one of them halved."""
    truth, x, y = gaussian_gated(1), 0.07, -0.2
    params = joint_start(truth, 4, 1000, np.random.default_rng(0), extra=[1])
    share = softmax(list(params.gate.intercept))
    np.testing.assert_allclose(share, [0.2, 0.3, 0.2, 0.3])
    law = params.expert
    of_x = share * normal(x, law.centre[:, 0], law.x_variance[:, 0])
    both = of_x * normal(y, law.coef[:, 0, 0] * x + law.intercept[:, 0], law.variance[:, 0])
    conditional = Truth(lines(), of_y(params))
    assert conditional.loglik([[x]], [y]) == pytest.approx(np.log(both.sum() / of_x.sum()))
    # The truth's own likelihood is that of both.
    (coef, intercept, variance), places = truth.params.expert, truth.covariates
    of_x = places.weights * normal(x, places.centres[:, 0], places.covariances[:, 0, 0])
    both = (of_x * normal(y, coef[:, 0] * x + intercept, variance)).sum()
    assert truth.loglik([[x]], [y]) == pytest.approx(np.log(both))


def test_places_loss_by_hand():
    """Expert 1 is split in halves that are 0.01 to either side in slope and 0.02 in centre; expert 0 is 0.03 off."""
    for flat, power in (((), 2.0), ((1,), 2.0), ((0,), 2.0)):
        truth = gaussian_gated(1)
        start = joint_start(truth, 4, 1000, np.random.default_rng(0), extra=[1])
        expert, places, atoms = truth.params.expert, truth.covariates, [1, 0, 1, 2]
        off, slope, side = np.array([0, 0.03, 0, 0]), expert.coef[atoms], np.array([[0.01], [0.0], [-0.01], [0.0]])
        law = start.expert._replace(
            centre=places.centres[atoms] + 2 * side,
            x_variance=places.covariances[atoms][:, 0],
            coef=(slope + side)[:, None],
            intercept=(expert.intercept[atoms] + off)[:, None],
            variance=expert.variance[atoms][:, None],
        )
        expected = 0.3 * 0.03 + 0.4 * (0.02**4 + 0.01**power)
        assert places_loss(start._replace(expert=law), truth, flat) == pytest.approx(expected)
    three = MoEParams(start.gate, start.expert)  # as drawn: near, and not there
    assert 0 < places_loss(three, truth) < 0.05 and places_loss(truth.params, truth) == 0.0


def test_curved_means_are_what_is_drawn():
    truth = places(False, curved=True)
    X, y = truth.draw(40_000, np.random.default_rng(0))
    near = np.abs(X[:, 0] - 0.3) < 0.05
    first = 1 / (1 + np.sqrt(0.1 / 0.15) * np.exp(0.01 / 0.2 - 0.25 / 0.3))
    expected = first * (1 - 1.8 + 0.09) - (1 - first) * 0.036
    assert y[near].mean() == pytest.approx(expected, abs=0.02)


def test_a_doubled_shared_expert_leaves_the_density_alone():
    truth = shared()
    start = shared_start(truth, 4, 1000, np.random.default_rng(0))
    (coef, intercept, _), atoms = truth.params.gate, [0, 0, 1, 2]
    expert = permute(truth.params.expert, atoms)
    gate = start.gate._replace(coef=coef[atoms] * [[0], [1], [1], [1]], intercept=np.array([0.3, *intercept]))
    wide = (TreeGate.shared(2, 2), "gaussian")
    assert density_error(MoEParams(gate, expert), truth, model=wide).value < 1e-7
    assert density_error(start, truth, model=wide).value > 1e-3
    np.testing.assert_allclose(start.gate.coef, gate.coef, atol=0.03)


def test_copies_of_an_expert_without_slopes_may_be_anywhere():
    """Two copies with equal shares and mean log odds apart, the mean of their probabilities as before."""
    for flat in (True, False):
        truth = classes(flat)
        gate, expert = permute(truth.params, [0, 0, 1])
        gate = gate._replace(intercept=gate.intercept - np.log([2.0, 2.0, 1.0]))
        share, shift = np.array([0.6, 0.3, 0.1]), np.array([0.1, -0.1, 0.0])
        intercept = expert.intercept.copy()
        for i, sign in ((0, 1), (1, -1)):
            moved = share + sign * shift
            intercept[i] = np.log(moved[:2] / moved[2])
        apart = MoEParams(gate, expert._replace(intercept=intercept))
        assert (class_density(apart, truth) < 1e-7) == flat
        if flat:
            first = np.mean(1 / (1 + np.exp(-3 * ((np.arange(500) + 0.5) / 250 - 1))))
            assert class_spread(apart, truth) == pytest.approx(first * 0.02)
            assert class_copies(apart, truth) == {"2+1": pytest.approx(first * 0.02)}
            other = apart._replace(expert=apart.expert._replace(coef=apart.expert.coef + [[[0.0]], [[0.0]], [[0.1]]]))
            assert class_spread(other, truth) > class_copies(other, truth)["2+1"] == pytest.approx(first * 0.02)


def test_support_by_hand():
    """One true slope missed and two false ones, whichever expert comes first; the gate is compared by its odds."""
    truth = sparse(6)
    (coef, intercept), (slopes, *rest) = truth.params
    assert support(truth.params, truth) == {"kept": 1.0, "missed": 0.0, "false": 0.0, "error": 0.0}
    slopes = slopes.copy()
    slopes[0, 1], slopes[1, 5], coef = 0.0, 0.5, coef + [[0, 0, 0, 0, 0, 0.25], [0, 0, 0, 0, 0, 0]]
    fitted = MoEParams(LinearGateParams(coef, intercept), GaussianExpertParams(slopes, *rest))
    for one in (fitted, permute(fitted, [1, 0])):
        found = support(one, truth)
        assert found.pop("error") == pytest.approx(np.sqrt(1.0 + 0.5**2 + 0.25**2))
        assert found == {"kept": pytest.approx(7 / 6), "missed": pytest.approx(1 / 6), "false": pytest.approx(2 / 6)}


def test_weights_that_do_not_depend_on_x():
    """Slopes of the gate stay zero, and the weights are the mean responsibilities."""
    truth = constant()
    X, y = truth.draw(500, np.random.default_rng(0))
    fit = fit_with_solver(EMNewton(), truth.model, X, y, near_truth(truth, 2, 500, np.random.default_rng(1)))
    assert fit.converged and not fit.params.gate.coef.any()
    _, resp = naive_posterior(X, y, fit.params)
    np.testing.assert_allclose(softmax(list(fit.params.gate.intercept)), resp.mean(axis=0), atol=1e-7)


# Comparisons ----------------------------------------------------------------------------------------------------------


def test_arms_are_their_studies():
    """Each arm's losses are those of its study alone; the record has the likelihoods of the worst."""
    run = Run([300, 600], 2, None, 0)
    one = papers.STUDIES["softmax-exact"].builder(run)
    other = papers.STUDIES["softmax-sharp3"].builder(run)
    record = ComparisonStudy({"one": one, "other": other}).run_cell(300, 1)
    alone = [study.run_cell(300, 1) for study in (one, other)]
    for name, own in zip(("one", "other"), alone, strict=True):
        assert record.losses[name].items() >= own.losses.items()
        assert record.losses[name]["gain"] == own.loglik - own.truth_loglik
        assert record.parameters[name] == own.parameters
    worst = min(alone, key=lambda own: own.loglik - own.truth_loglik)
    assert (record.loglik, record.truth_loglik) == (worst.loglik, worst.truth_loglik)
    assert record.converged == all(own.converged for own in alone)
    with pytest.raises(ValueError, match="arms must have the same sizes"):
        ComparisonStudy({"one": one, "other": papers.build("softmax-exact", "quick")})
    with pytest.raises(TypeError, match="arms must be a dict"):
        ComparisonStudy({"one": 3})


def test_only_judged_arms_are_held_against_the_truth():
    """One selected expert is far below a truth with two; the record is that of the arm which can hold it."""
    run = Run([300], 1, None, 0)
    arms = {
        "narrow": papers.STUDIES["topk2-over-narrow"].builder(run),
        "wide": papers.STUDIES["topk2-over"].builder(run),
    }
    every, wide = (ComparisonStudy(arms, judged).run_cell(300, 0) for judged in (None, ["wide"]))
    assert every.below_truth and every.losses["narrow"]["gain"] < -10 and not wide.below_truth
    assert wide.loglik == arms["wide"].run_cell(300, 0).loglik
    assert wide.losses == every.losses and wide.converged == every.converged
    assert ComparisonStudy(arms).settings != ComparisonStudy(arms, ["wide"]).settings
    for judged in ((), "wide", ["wide", "other"]):
        with pytest.raises(ValueError, match="judged must be names of arms, some of narrow, wide"):
            ComparisonStudy(arms, judged)


def test_how_long_it_takes():
    study = papers.STUDIES["softmax-exact"].builder(Run([300, 600], 30, None, 0))
    assert 0 < study.expected_seconds() < 20
    assert study.expected_seconds(2) < study.expected_seconds() * 2


# The published protocol -----------------------------------------------------------------------------------------------


def naive_posterior(X, y, params):
    """Log-likelihood and responsibilities (n, k), row by row."""
    total, resp = 0.0, []
    for x, v in zip(X, y, strict=True):
        scores = linear_scores(x, params.gate)
        joint = [s + d for s, d in zip(scores, gaussian_log_density(v, x, params.expert), strict=True)]
        total += log_sum_exp(joint) - log_sum_exp(scores)
        resp.append(softmax(joint))
    return total, np.array(resp)


def naive_gate_step(X, gate, resp):
    """One Newton step on the expected log-likelihood of a multinomial logistic model, the last class pinned."""
    design = np.column_stack([X, np.ones(len(X))])
    proba = np.array([softmax(linear_scores(x, gate)) for x in X])
    k, p = resp.shape[1] - 1, design.shape[1]
    gradient = ((resp - proba)[:, :k].T @ design).ravel()
    information = np.zeros((k * p, k * p))
    for i in range(k):
        for j in range(k):
            weight = proba[:, i] * ((i == j) - proba[:, j])
            information[i * p : (i + 1) * p, j * p : (j + 1) * p] = (design * weight[:, None]).T @ design
    step = np.linalg.solve(information, gradient).reshape(k, p)
    rows = np.vstack([np.column_stack([gate.coef, gate.intercept])[:k] + step, np.zeros(p)])
    return LinearGateParams(rows[:, :-1], rows[:, -1])


def naive_em(X, y, params, rtol=1e-6, max_iter=2000):
    """EM that stops when the log-likelihood changes by rtol of itself; return parameters and the log-likelihoods."""
    loglik, resp = naive_posterior(X, y, params)
    trace = [loglik]
    while len(trace) <= max_iter:
        gate = naive_gate_step(X, params.gate, resp)
        expert = GaussianExpertParams(*gaussian_m_step(X, y, resp, np.ones(len(y))))
        params = MoEParams(gate, expert)
        loglik, resp = naive_posterior(X, y, params)
        trace.append(loglik)
        assert trace[-1] > trace[-2]  # or else a guard would have to act
        if abs(trace[-1] - trace[-2]) <= rtol * abs(trace[-2]):
            break
    return params, trace


def test_published_em_is_the_naive_loop():
    truth = published("grid")
    X, y = truth.draw(150, np.random.default_rng(1))
    start = near_truth(truth, 3, 150, np.random.default_rng(3))
    params, trace = naive_em(X, y, start)
    outcome = fit_with_solver(EMByLoglik(), truth.model, X, y, start)
    assert outcome.iterations == len(trace) - 1 > 20
    assert outcome.loglik == pytest.approx(trace[-1], rel=1e-9)
    assert outcome.loglik == pytest.approx(SOFTMAX_GAUSSIAN.loglik(outcome.params, X, y), rel=1e-10)
    assert_close(outcome.params, params, rtol=1e-5)
    assert not outcome.converged and "relative change of the log-likelihood at most 1e-06" in outcome.status


def test_published_em_has_an_iteration_limit():
    truth = published()
    X, y = truth.draw(300, np.random.default_rng(2))
    start = near_truth(truth, 3, 300, np.random.default_rng(3))
    outcome = fit_with_solver(EMByLoglik(max_iter=3, rtol=0.0), truth.model, X, y, start)
    assert outcome.iterations == 3 and "iteration limit" in outcome.status


def test_published_loss_does_not_converge_when_the_reference_is_split():
    """Doubling the reference leaves the density alone, and the published loss at one; the proper loss is zero."""
    truth = published()
    gate, expert = permute(truth.params, [1, 0, 1])
    halved = gate._replace(intercept=gate.intercept - [np.log(2), 0, np.log(2)])
    doubled = MoEParams(truth.model.gate.canonical(halved), expert)
    assert density_error(doubled, truth).value < 1e-7
    assert voronoi_loss(doubled, truth.params) == pytest.approx(0.0, abs=1e-9)
    assert published_d2(doubled, truth) == pytest.approx(1.0, abs=2e-3)
    assert tiny("softmax-published", n_experts=2).records[0].parameters["expert"]["variance"][2:] == []


# Over-specified fits --------------------------------------------------------------------------------------------------


def test_all_splits_returns_the_highest_of_its_climbs():
    truth = published()
    X, y = truth.draw(1500, np.random.default_rng(0))
    start = near_truth(truth, 4, 1500, np.random.default_rng(1))
    best = fit_with_solver(AllSplits(2), truth.model, X, y, start)
    alone = []
    for extra in [(0, 0), (0, 1), (1, 1)]:
        begin = near_truth(truth, 4, 1500, np.random.default_rng(2), extra=extra)
        alone.append(fit_with_solver(EMNewton(), truth.model, X, y, begin).loglik)
    assert best.converged and best.loglik >= truth.loglik(X, y)
    assert best.loglik >= sorted(alone)[1] - 1e-6  # noise may lead a climb elsewhere, not all of them
    assert fit_with_solver(AllSplits(2), truth.model, X, y, start).loglik == best.loglik


def test_extra_experts_by_choice():
    truth = published()
    start = near_truth(truth, 4, 100, np.random.default_rng(0), extra=(1, 0))
    np.testing.assert_allclose(start.expert.intercept, [-5, 15, 15, -5], atol=0.2)
    with pytest.raises(ValueError, match="n_experts=4 is 2 more than the truth has"):
        near_truth(truth, 4, 100, np.random.default_rng(0), extra=(1,))


def test_losses_by_split():
    truth = published()
    for atoms, name in [([0, 0, 1], "2+1"), ([1, 0, 1], "1+2"), ([0, 1], "1+1")]:
        fitted = permute(truth.params, atoms)
        fitted = fitted._replace(expert=fitted.expert._replace(variance=fitted.expert.variance * 1.1))
        assert list(by_split(fitted, truth)) == [name]
        assert by_split(fitted, truth)[name]["D2"] == voronoi_loss(fitted, truth.params)
    names = {name for record in tiny("softmax-over3").records for name in record.losses["split"]}
    assert {f"split.{name}.D2" for name in names} <= set(papers.STUDIES["softmax-over3"].theory)
    theory = papers.STUDIES["softmax-over4"].theory
    assert theory["split.3+1.gate_coef.0"] == pytest.approx(-1 / 12) and theory["split.3+1.gate_coef.1"] == -0.5
    assert not any(name.startswith("split.2+2") for name in theory)
    assert "D2" not in by_split(permute(truth.params, [0, 1, 0, 1]), truth)["2+2"]


def test_a_doubled_expert_that_is_always_selected_leaves_the_density_alone():
    truth = top_2_of_3()
    model = papers.build("topk2-over", "quick")._cells.model
    gate, expert = permute(truth.params, [2, 0, 1, 2])
    halved = MoEParams(gate._replace(intercept=gate.intercept - np.log([2.0, 1, 1, 2])), expert)
    assert density_error(halved, truth, model=model).value < 1e-7
    gate, expert = permute(truth.params, [0, 0, 1, 2])
    other = MoEParams(gate._replace(intercept=gate.intercept - np.log([2.0, 2, 1, 1])), expert)
    assert density_error(other, truth, model=model).value > 0.01


def test_too_narrow_levels_off_and_wide_enough_does_not():
    narrow, wide = (tiny(name).values("density")[600] for name in ("topk2-over-narrow", "topk2-over"))
    assert narrow.min() > 0.2 and wide.max() < 0.12
    assert tiny("topk2-over").share_uncertified == 0


# The temperature ------------------------------------------------------------------------------------------------------


def test_the_ray_is_what_is_not_known():
    """Another start on the ray ends elsewhere in (b1, tau), at the same log-likelihood, b1/tau and density."""
    study = papers.build("temperature-dense", "quick")
    truth, model = study._cells.truth, study._cells.model
    X, y = truth.draw(800, np.random.default_rng(0))
    start = near_truth(truth, 2, 800, np.random.default_rng(1))
    ends = [
        fit_with_solver(EMNewton(), model, X, y, start._replace(gate=type(start.gate)(*(c * f for f in start.gate))))
        for c in (1.0, 3.0)
    ]
    one, other = (end.params.gate for end in ends)
    assert ends[0].loglik == pytest.approx(ends[1].loglik, abs=1e-7)
    assert other.temperature / one.temperature > 2.0
    np.testing.assert_allclose(one.coef / one.temperature, other.coef / other.temperature, rtol=1e-4)
    assert all("singular information" in end.status and end.score_norm <= 1e-8 for end in ends)
    raw = StudyResult(tiny("temperature-dense").records).values("raw.temperature")
    assert np.median(np.concatenate(list(raw.values()))) > 0.02


def test_parameters_of_a_record_are_those_of_the_fitted_model():
    study = papers.build("temperature-dense", "quick")
    record = tiny("temperature-dense").records[0]
    assert as_params(record.parameters, study._cells.model).gate.temperature != 1.0
