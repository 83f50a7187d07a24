"""What a fitted mixture says about its own parameters: standard errors, intervals, tests, the summary."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from smoe.fitted import FittedMixture
from smoe.inference.summary import summary_text
from smoe.params import flatten, permute

__all__ = ["InferredMixture"]


class InferredMixture(FittedMixture):
    """Methods of an estimator that also has its standard errors."""

    def summary(self, names=None):
        """Return a table of estimates, standard errors, z statistics, p values and 95 % intervals, as text.

        Standard errors come from the observed information at a certified maximum; other fits have none.

        Parameters
        ----------
        names : list of str or None, default=None
            What to call the columns of X; None for their names in the data, or else x0, x1, ...
        """
        check_is_fitted(self)
        if names is None:
            names = getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)])
        n, df = self.n_samples_, self.n_parameters_
        header = [
            ("rows (sum of weights)", f"{n:g}"),
            ("log-likelihood", f"{self.loglik_:.6f}"),
            ("free parameters", f"{df}"),
            ("AIC, BIC", f"{2 * df - 2 * self.loglik_:.3f}, {df * np.log(n) - 2 * self.loglik_:.3f}"),
            *self._shared_rows(),
            ("certificate", f"{self.status_} (score norm per row {self.score_norm_:.1e})"),
        ]
        tables = []
        for k in range(self.n_experts):
            gate = [*(names[j] for j in self.gate_columns_), "intercept"]
            expert = [*(names[j] for j in self.expert_columns_), "intercept", "variance"]
            tables += [(f"gate {k}", gate, *self._rows("gate", k)), (f"expert {k}", expert, *self._rows("expert", k))]
        title = f"{self.n_experts} {type(self.expert_).__name__}s behind a {type(self.gate_).__name__}"
        return summary_text(title, header, tables)

    def _shared_rows(self):
        """Numbers of the gate that all experts share, with their standard errors where they have one."""
        gate, errors = self.params_.gate, getattr(self.standard_errors_, "gate", None)
        for name in (name for name, field in gate._asdict().items() if not np.ndim(field)):
            error = np.nan if errors is None else getattr(errors, name)
            note = f" (std. err. {error:.4g})" if np.isfinite(error) else ""
            yield name, f"{getattr(gate, name):.5g}{note}"

    def _rows(self, side, k):
        """Estimates and standard errors of one expert's gate or regression."""
        part, errors = getattr(self.params_, side), getattr(self.standard_errors_, side, None)
        n = sum(np.asarray(f)[k].size for f in part if np.ndim(f))  # what all experts share comes last
        return tuple(None if p is None else flatten(permute(p, [k]))[:n] for p in (part, errors))

    def diagnose(self, X, y, random_state=None):
        """Return residuals, PIT values and what they, the experts and the starts say about the fit.

        See `smoe.diagnostics.diagnose`.
        """
        from smoe.diagnostics import diagnose  # only for those who ask

        return diagnose(self, X, y, random_state)
