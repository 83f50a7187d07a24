"""The truths of the named studies: the published one, and our own where nothing was published or it will not do."""

import numpy as np
from scipy import stats

from smoe.experts import GaussianExpertParams, LinearExpert
from smoe.families import LinearParams, Multinomial, ScaleParams, StudentT, StudentTParams
from smoe.gates import (
    ActivationDenseToSparseGate,
    DenseToSparseGate,
    GaussianGate,
    GaussianGateParams,
    LaplaceGate,
    LaplaceGateParams,
    LinearGateParams,
    NormalisedSigmoidGate,
    SoftmaxGate,
    TemperatureGateParams,
    TopKGate,
    TreeGate,
    TreeGateParams,
)
from smoe.params import MoEParams
from smoe.simulation._placed import Placed, Places
from smoe.simulation._protocols import ConstantGate
from smoe.simulation.truth import Truth

__all__ = [
    "classes",
    "comparable",
    "constant",
    "contaminated",
    "gaussian_gated",
    "heavy_tailed",
    "hierarchical",
    "laplace",
    "localised",
    "normalised_sigmoid",
    "places",
    "profiled",
    "published",
    "published_at_temperature",
    "published_top_1",
    "shared",
    "sigmoid",
    "sparse",
    "tanh",
    "top_2_of_3",
]

_GATE = LinearGateParams(np.array([[25.0], [0.0]]), np.array([-8.0, 0.0]))
_CENTRED = stats.uniform(-1.0, 2.0)  # x from -1 to 1
_SLOPES, _INTERCEPTS = [-20.0, 20.0], [15.0, -5.0]


def published(covariates="uniform"):
    """T0 with spreads that are standard deviations 0.3, 0.4, as in the code of the softmax paper."""
    return Truth(SoftmaxGate(), MoEParams(_GATE, _experts(_SLOPES, _INTERCEPTS, [0.09, 0.16])), covariates)


def published_top_1():
    """T0 with spreads that are variances, one expert selected: two lines that meet at no point, a jump at x = 0.32."""
    return Truth(TopKGate(1), MoEParams(_GATE, _experts(_SLOPES, _INTERCEPTS, [0.3, 0.4])))


def top_2_of_3():
    """Expert 2 is selected on every row, expert 0 beside it for x < 1/2, expert 1 for x > 1/2.

    Scores 4 - 10x, -6 + 10x and 0: the density jumps at x = 1/2, where the partner, of weight 0.27, changes.
    """
    gate = LinearGateParams(np.array([[-10.0], [10.0], [0.0]]), np.array([4.0, -6.0, 0.0]))
    return Truth(TopKGate(2), MoEParams(gate, _experts([-8.0, 8.0, 2.0], [6.0, -6.0, -1.0], [0.3, 0.3, 0.4])))


def published_at_temperature(tau=0.5):
    """T0 as a dense-to-sparse gate: (b1, b0) = tau (25, -8), the same density for every tau."""
    gate = TemperatureGateParams(tau * _GATE.coef, tau * _GATE.intercept, np.array(tau))
    return Truth(DenseToSparseGate(), MoEParams(gate, _experts(_SLOPES, _INTERCEPTS, [0.09, 0.16])))


def sigmoid():
    """Two experts; slopes 5 and 1 on [-2, 2] show the sigmoid's bend as well as its plateau.

    Of some 2,000 truths tried one of those whose information bounds the gate best: asymptotic standard errors are
    0.6 / sqrt(n) for the temperature 0.1, and 33 / sqrt(n) and 6 / sqrt(n) for the slopes.
    """
    gate = TemperatureGateParams(np.array([[5.0], [1.0]]), np.array([0.2, 0.0]), np.array(0.1))
    experts = _experts([-2.0, 2.0], [1.0, -1.0], [0.3, 0.4])
    return Truth(ActivationDenseToSparseGate("sigmoid"), MoEParams(gate, experts), stats.uniform(-2.0, 4.0))


def tanh():
    """Three experts, found in the same way; with two, tanh is the sigmoid in other units.

    Asymptotic standard errors are 0.45 / sqrt(n) for the temperature 0.1 and 2, 3 and 12 / sqrt(n) for the slopes.
    """
    gate = TemperatureGateParams(np.array([[0.5], [1.5], [3.0]]), np.array([-0.4, 0.0, 0.0]), np.array(0.1))
    experts = _experts([-2.0, 2.0, 0.0], [1.0, -1.0, 3.0], [0.3, 0.4, 0.3])
    return Truth(ActivationDenseToSparseGate("tanh"), MoEParams(gate, experts), stats.uniform(-2.0, 4.0))


def _experts(slopes, intercepts, variances):
    return GaussianExpertParams(np.array(slopes)[:, None], np.array(intercepts), np.array(variances))


def comparable():
    """Two lines that cross, with weights of one size, on x uniform on [-1, 1]: T0's exp(-8) hides an expert."""
    gate = LinearGateParams(np.array([[2.0], [0.0]]), np.zeros(2))
    return Truth(
        SoftmaxGate(), MoEParams(gate, _experts([-2.0, 2.0], [1.0, -1.0], [0.3, 0.4])), stats.uniform(-1.0, 2.0)
    )


def profiled(kind="softmax"):
    """The truth of the profiles: two lines under a softmax gate, with Gaussian or Student t noise, or a curved gate."""
    slopes, intercepts, law = [1.5, -1.0], [1.0, -1.0], stats.uniform(-1.0, 2.0)
    linear = LinearGateParams(np.array([[1.0], [0.0]]), np.zeros(2))
    if kind == "t":
        expert = LinearExpert(StudentT(4))
        scale = ScaleParams(np.array(slopes)[:, None], np.array(intercepts), np.array([0.5, 0.5]))
        return Truth((SoftmaxGate(), expert), MoEParams(linear, scale), law)
    experts = _experts(slopes, intercepts, [0.5, 0.5])
    if kind == "softmax":
        return Truth(SoftmaxGate(), MoEParams(linear, experts), law)
    curved = GaussianGateParams(*linear, np.array([[-0.5], [0.0]]))
    return Truth(GaussianGate("diag"), MoEParams(curved, experts), law)


def heavy_tailed():
    """As `comparable`, with t noise of four degrees of freedom."""
    truth = comparable()
    expert = ScaleParams(*truth.params.expert[:2], np.sqrt(truth.params.expert.variance))
    return Truth((SoftmaxGate(), LinearExpert(StudentT(4))), truth.params._replace(expert=expert), truth.covariates)


def laplace():
    """The experts of `comparable` under a Laplace gate with centres on either side of zero and sharpness two."""
    gate = LaplaceGateParams(np.array([[0.5], [-0.5]]), np.zeros(2), np.array([[3.0]]), np.array(2.0))
    truth = comparable()
    return Truth(LaplaceGate(sharpness=2.0), MoEParams(gate, truth.params.expert), truth.covariates)


def localised():
    """Two lines with places in x, that of the published model selection with Gaussian gates, on uniform x."""
    gate = GaussianGate("full").from_gaussians(
        np.array([0.5, 0.5]), np.array([[0.2], [0.8]]), np.array([[[0.1]], [[0.15]]])
    )
    return Truth(GaussianGate("full"), MoEParams(gate, _experts([-5.0, 0.1], [2.0, 0.0], [0.09, 0.09])))


def places(both, curved=False):
    """As `localised` with x from the normal laws of the gate; ``curved``: means 1 - 6x + x^2 and -0.4x^2."""
    law = Places([0.5, 0.5], [[0.2], [0.8]], [[[0.1]], [[0.15]]])
    if curved:
        return Placed(law, _experts([-6.0, 0.0], [1.0, 0.0], [0.09, 0.09]), (1.0, -0.4), both)
    return Placed(law, _experts([-5.0, 0.1], [2.0, 0.0], [0.09, 0.09]), both=both)


def gaussian_gated(number):
    """The published models with Gaussian gates, in one feature (1, 2) or two (3, 4); 2 and 4 have a centre at zero.

    Meant as three normal laws of (x, y), written as regressions. The variances of y given x are those of the code, in
    which a sign and a factor differ from such laws.
    """
    d, at_zero = 1 + (number > 2), number % 2 == 0
    first = 0.0 if at_zero else -0.1
    spread = np.array([0.042824, 0.0175, 0.01])
    slope = np.array([0.017324, -0.0125, 0.0]) / spread
    intercept = np.array([0.3, -0.4, 0.2]) - slope * [first, 0.1, 0.5]
    left = 0.0081759 - slope[0] * 0.017324 * (1.0 if at_zero else first)
    variance = np.array([left, 0.0175 + 0.0125**2 / 0.0175, 0.0175])
    law = Places([0.3, 0.4, 0.3], np.repeat([[first], [0.1], [0.5]], d, axis=1), spread[:, None, None] * np.eye(d))
    return Placed(law, GaussianExpertParams(np.repeat(slope[:, None], d, axis=1), intercept, variance))


def hierarchical():
    """Four experts on a balanced tree: the root parts small x from large, either branch overlaps within."""
    gate = TreeGateParams(np.array([[2.0], [4.0], [-2.0], [0.0]]), np.array([1.0, 0.0, 1.0, 0.0]), np.arange(4.0))
    experts = _experts([-2.0, 2.0, 1.0, -1.0], [-3.0, -1.0, 1.5, 4.0], [0.3, 0.3, 0.3, 0.3])
    return Truth(TreeGate(), MoEParams(gate, experts), stats.uniform(-1.0, 2.0))


def shared():
    """One shared expert with half of the weight everywhere, and two routed ones beside it."""
    gate = TreeGateParams(np.array([[0.0], [3.0], [0.0]]), np.array([0.0, 0.5, 0.0]), np.arange(3.0))
    experts = _experts([0.5, 2.0, -1.5], [4.0, 0.5, -1.5], [0.3, 0.3, 0.4])
    return Truth(TreeGate.shared(1, 2), MoEParams(gate, experts), stats.uniform(-1.0, 2.0))


def normalised_sigmoid():
    """Two experts whose sigmoids overlap and saturate on either side, so that their level can be told."""
    gate = LinearGateParams(np.array([[6.0], [-5.0]]), np.array([2.0, 1.0]))
    return Truth(NormalisedSigmoidGate(), MoEParams(gate, _experts([2.0, -1.5], [2.0, -1.5], [0.3, 0.4])), _CENTRED)


def constant():
    """The experts of `comparable` with weights that do not depend on x: a mixture of two regressions."""
    gate = LinearGateParams(np.zeros((2, 1)), np.array([0.2, 0.0]))
    return Truth(ConstantGate(), comparable().params._replace(gate=gate), _CENTRED)


def classes(flat):
    """Three classes and two experts; of the first one the probabilities do not depend on x, or they do."""
    coef = np.array([[[0.0], [0.0]] if flat else [[-3.0], [2.0]], [[4.0], [-3.0]]])
    intercept = np.array([np.log([6.0, 3.0]), [-1.0, 0.5]])
    gate = LinearGateParams(np.array([[3.0], [0.0]]), np.zeros(2))
    expert = LinearExpert(Multinomial([0, 1, 2]))
    return Truth((SoftmaxGate(), expert), MoEParams(gate, LinearParams(coef, intercept)), _CENTRED)


def sparse(n_features=20):
    """Two experts and a gate on normal covariates: two slopes of each are not zero."""
    slopes, gate = np.zeros((2, n_features)), np.zeros((2, n_features))
    slopes[0, :2], slopes[1, 2:4], gate[0, [0, 4]] = [1.5, -1.0], [1.0, 1.5], [2.0, -2.0]
    experts = GaussianExpertParams(slopes, np.array([-1.5, 1.5]), np.array([0.5, 0.5]))
    return Truth(SoftmaxGate(), MoEParams(LinearGateParams(gate, np.zeros(2)), experts), "normal")


class Contaminated(Truth):
    """A truth of whose responses a share is replaced by one value; its likelihood is that without outliers."""

    def __init__(self, model, params, covariates, share, value):
        super().__init__(model, params, covariates)
        self.share, self.value = share, value

    def draw(self, n, rng):
        """Draw covariates and responses, outliers at random rows."""
        X, y = super().draw(n, rng)
        y[rng.random(len(y)) < self.share] = self.value
        return X, y

    def describe(self):
        """Return also share and value."""
        return {**super().describe(), "outliers": [self.share, self.value]}


def contaminated(share):
    """Two lines through the origin with t noise, and outliers at -5: the set-up of the robust mixtures of experts."""
    gate = LinearGateParams(np.array([[8.0], [0.0]]), np.zeros(2))
    lines = StudentTParams(np.array([[-2.5], [2.5]]), np.zeros(2), np.array([0.5, 0.5]), 1 / np.array([5.0, 7.0]))
    model = SoftmaxGate(), LinearExpert(StudentT())
    return Contaminated(model, MoEParams(gate, lines), stats.uniform(-1.0, 2.0), share, -5.0)
