"""Solvers: how the observed log-likelihood is climbed. A new solver is one file and one line here."""

from smoe.solvers.annealing import Annealing
from smoe.solvers.base import Fit, Solver
from smoe.solvers.certificate import Certificate, certify
from smoe.solvers.chain import EMNewton
from smoe.solvers.em import EM
from smoe.solvers.lbfgs import LBFGS
from smoe.solvers.newton import Newton
from smoe.solvers.proximal_newton import ProximalNewton
from smoe.solvers.support_search import SupportSearch

SOLVERS = {
    "em_newton": EMNewton,
    "support_search": SupportSearch,
    "em": EM,
    "newton": Newton,
    "lbfgs": LBFGS,
    "proximal_newton": ProximalNewton,
}

__all__ = [
    "EM",
    "LBFGS",
    "SOLVERS",
    "Annealing",
    "Certificate",
    "EMNewton",
    "Fit",
    "Newton",
    "ProximalNewton",
    "Solver",
    "SupportSearch",
    "certify",
]
