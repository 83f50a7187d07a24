"""Formulas, ``"y ~ experts | gate"``: what they make of the rows of a data frame."""

import ast
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from smoe.optional import needed
from smoe.validation import check_groups

__all__ = ["Design"]

ROLES = ("offset", "exposure", "trials", "event", "group")
# Python's names in an expression, without those that are called, keywords or attributes; and names in backticks.
_NAME = re.compile(r"`([^`]+)`|(?<![\w.])([^\W\d]\w*)(?!\s*(?:\(|=[^=]))")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_LEVELS = re.compile(r"\{(.*?)\}")
_INTERCEPT = "Intercept"
_CONTRASTS = tuple(f"{name}Contrasts" for name in ("Treatment", "SAS", "Sum", "Helmert", "Diff", "Poly"))
_HARMLESS = (ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.List, ast.Tuple)
_HARMLESS += (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)


@dataclass(frozen=True, eq=False)
class Design:
    """What a formula has learnt of the rows of a fit: levels of categories, knots, means; it makes X of other rows.

    Attributes
    ----------
    formula : str
    response : tuple of str
        The columns of the data left of ``~``.
    used : list of str
        The columns of the data that the right side needs.
    specs : dict of str to formulaic.ModelSpec
        What makes the columns of "expert" and "gate".
    sides : dict of str to list of str
        Names of the columns of X that "expert" and "gate" see.
    roles : dict of str to list of str
        By role the terms that are added up to its column.
    """

    formula: str
    response: tuple
    used: list
    specs: dict
    sides: dict
    roles: dict

    @classmethod
    def of(cls, formula, data):
        """Return the design of a formula, learnt from the rows of a data frame.

        Raises
        ------
        ImportError
            formulaic is not installed.
        TypeError, ValueError
            No formula, no data frame, or a formula that makes no sense for it; the message says why.
        """
        if not isinstance(formula, str):
            raise TypeError(f"formula must be a string such as 'y ~ x1 + x2 | x1', got {formula!r}.")
        response, parts = _parsed(formula, _names_of(data))
        terms = [term for part in parts.values() for term in part]
        used = [name for name in _names_of(data) if name in {n for term in terms for n in _columns_of(term)}]
        frame = _frame(data, used)
        with _in_words(formula):
            specs = {side: _learnt(part, frame) for side, part in parts.items()}
        return cls(formula, response, used, specs, *_sides_and_roles(specs, parts))

    def as_data(self):
        """Return the formula and what it has learnt as numbers, text and containers of these.

        Raises
        ------
        TypeError
            A formula that calls what is not known to be harmless, or matrices of contrasts.
        """
        for side in self.specs.values():
            _refuse_unknown_calls(side.formula)
        return {
            "formula": self.formula,
            "response": self.response,
            "used": self.used,
            "learnt_of": {side: _spec_as_data(spec) for side, spec in self.specs.items()},
        }

    @classmethod
    def from_data(cls, formula, response, used, learnt_of):
        """Return the design that `as_data` has written; nothing is run before it gets rows."""
        found, parts = _parsed(formula, [*used, *response])
        if found != response or learnt_of.keys() != parts.keys():
            raise ValueError(f"formula={formula!r} does not belong to what was learnt of it.")
        for part in parts.values():
            _refuse_unknown_calls(part)
        specs = {side: _spec_from_data(parts[side], **learnt) for side, learnt in learnt_of.items()}
        return cls(formula, response, used, specs, *_sides_and_roles(specs, parts))

    def frame(self, data):
        """Return the columns that the right side needs as a pandas frame, none of them with missing values."""
        return _frame(data, self.used)

    @property
    def covariates(self):
        """The columns of the data that terms other than those of roles are made of."""
        terms = [term for spec in self.specs.values() for term in spec.formula if _role_of(term) is None]
        names = {name for term in terms for name in _columns_of(term)}
        return [name for name in self.used if name in names]

    def levels(self, name):
        """Return the levels of a column that is a category, the reference first, or None."""
        states = {f: s for spec in self.specs.values() for f, s in spec.factor_contrasts.items()}
        return next((list(state.levels) for factor, state in states.items() if name in _named_in(factor)), None)

    @property
    def choices(self):
        """What gate and experts see and the columns with a role, as settings of estimators."""
        sides = {f"{side}_features": names for side, names in self.sides.items()}
        return sides | {f"{role}_feature": " + ".join(terms) for role, terms in self.roles.items()}

    def rows(self, data):
        """Return X as a data frame with a column for each coefficient and each role."""
        import pandas as pd

        frame, columns = _without_levels(self.frame(data)), {}
        for spec in self.specs.values():
            with _in_words(self.formula):
                matrix = np.asarray(spec.get_model_matrix(frame, context=_functions()), dtype=float)
            columns |= dict(zip(spec.column_names, matrix.T, strict=True))
        _refuse_not_finite(columns)
        ones = columns.pop(_INTERCEPT)
        for role, terms in self.roles.items():
            columns |= {self.choices[f"{role}_feature"]: sum(columns.pop(term) for term in terms)}
        return pd.DataFrame(columns or {_INTERCEPT: ones}, index=frame.index)

    def groups(self, data):
        """Return the label of each row's group, as the column of the data has it."""
        terms = [term for spec in self.specs.values() for term in spec.formula if _role_of(term) == "group"]
        (name,) = {name for term in terms for name in _columns_of(term)} & set(self.used)
        return np.asarray(self.frame(data)[name])

    def response_of(self, data):
        """Return y: the column of the data left of ``~``, or several as a frame."""
        if not self.response:
            raise ValueError(f"y is None, and formula={self.formula!r} has no response left of ~.")
        columns = _names_of(data)
        for name in self.response:
            if name not in columns:
                raise ValueError(f"formula: no column {name!r} in the data; its columns are {columns}.")
        return data[self.response[0]] if len(self.response) == 1 else data[list(self.response)]


def _sides_and_roles(specs, parts):
    """Return the names of the columns that each side sees, and the terms of each role."""
    names = {side: [name for name in spec.column_names if name != _INTERCEPT] for side, spec in specs.items()}
    roles = _roles_of(parts)
    others = {term for added in roles.values() for term in added}
    return {side: [name for name in found if name not in others] for side, found in names.items()}, roles


def _spec_as_data(spec):
    """Return what formulaic has learnt of one side."""
    return {
        "state": {factor: dict(state) for factor, state in spec.transform_state.items()},
        "kinds": {factor: (kind.value, _levels_as_data(state)) for factor, (kind, state) in spec.encoder_state.items()},
        "structure": [
            [[_scoped(one) for one in row.scoped_terms], [str(name) for name in row.columns]] for row in spec.structure
        ],
    }


def _scoped(term):
    return [term.scale, [[factor.factor.expr, bool(factor.reduced)] for factor in term.factors]]


def _levels_as_data(state):
    """Return the categories of a factor and its contrasts, by name, with their settings."""
    if "contrasts" not in state:
        return dict(state)
    contrasts = state["contrasts"].contrasts
    settings = {name: value for name, value in vars(contrasts).items() if "UNSET" not in repr(value)}
    if type(contrasts).__name__ not in _CONTRASTS:
        raise TypeError(f"formula: {type(contrasts).__name__} cannot be written; contr.treatment, contr.sum, ... can.")
    return {"categories": list(state["categories"]), "contrasts": type(contrasts).__name__, "settings": settings}


def _spec_from_data(terms, state, kinds, structure):
    """Return formulaic's specification of one side."""
    formulaic = _formulaic()
    from formulaic.materializers.base import EncodedTermStructure
    from formulaic.materializers.types import EvaluatedFactor, ScopedFactor, ScopedTerm
    from formulaic.parser.types import Factor

    formula, factors = formulaic.SimpleFormula(terms), {f.expr: f for term in terms for f in term.factors}
    rows = [
        EncodedTermStructure(
            term,
            [ScopedTerm([ScopedFactor(EvaluatedFactor(factors[e], None), r) for e, r in own], s) for s, own in scoped],
            columns,
        )
        for term, (scoped, columns) in zip(formula, structure, strict=True)
    ]
    encoders = {expr: (Factor.Kind(kind), _levels_from_data(**levels)) for expr, (kind, levels) in kinds.items()}
    fixed = {"materializer": "pandas", "materializer_params": {}, "na_action": "ignore", "output": "numpy"}
    return formulaic.ModelSpec(formula, structure=rows, transform_state=state, encoder_state=encoders, **fixed)


def _levels_from_data(categories=None, contrasts=None, settings=None):
    if contrasts is None:
        return {} if categories is None else {"categories": categories}
    from formulaic.transforms import contrasts as known

    if contrasts not in _CONTRASTS:
        raise ValueError(f"formula: contrasts {contrasts!r:.50} are not known.")
    made = getattr(known, contrasts)(**settings)
    return {"categories": categories, "contrasts": known.ContrastsState(made, categories)}


def _refuse_unknown_calls(terms):
    """Raise TypeError for a formula that is more than arithmetic and known functions: it would be run as code."""
    from formulaic.transforms import TRANSFORMS

    allowed = {*ROLES, *TRANSFORMS} - {"np", "contr"}
    for factor in {factor for term in terms for factor in term.factors if factor.eval_method.value == "python"}:
        tree = ast.parse(re.sub("`[^`]*`", "x", factor.expr).strip(), mode="eval")
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            harmless = isinstance(node, _HARMLESS) and not (isinstance(node, ast.Name) and node.id.startswith("_"))
            if isinstance(node, ast.Name) and id(node) in called:
                harmless = node.id in allowed
            if isinstance(node, ast.Attribute):
                owner = getattr(node.value, "id", "")
                ufunc = owner == "np" and isinstance(getattr(np, node.attr, None), np.ufunc)
                harmless = ufunc or owner == "contr" and not node.attr.startswith("_")
            if not harmless:
                raise TypeError(
                    f"formula: {factor.expr!r} has more than columns, arithmetic and the functions of formulas, and "
                    "files keep no code: make a column of it."
                )


def _formulaic():
    return needed("formulaic", "formula=", "'smoe[formula]'")


def _functions():
    """What formulas may call beside the functions of formulaic: roles are numbers, also of booleans and of labels."""
    return dict.fromkeys(ROLES, _number) | {"group": _codes}


def _codes(labels):
    return check_groups(labels, len(labels), "formula: group(...)").astype(float)


def _number(values):
    return values * 1.0


def _names_of(data):
    names = getattr(data, "columns", None)
    if names is None or callable(names):
        raise TypeError(f"with a formula X must be a data frame, whose columns it names, got {type(data).__name__}.")
    return [name for name in names if isinstance(name, str)]  # formulas have no words for others


def _parsed(formula, names):
    """Return the response and the terms of experts and gate."""
    formulaic = _formulaic()
    with _in_words(formula):
        found = formulaic.Formula.from_spec(formula, context={"__formulaic_variables_available__": names})
    sided = hasattr(found, "rhs")
    right = found.rhs if sided else found if isinstance(found, formulaic.SimpleFormula) else found.root
    parts = right if isinstance(right, tuple) else (right, right)
    if len(parts) != 2:
        raise ValueError(f"formula={formula!r} has {len(parts)} parts; 'y ~ experts | gate' has one or two.")
    experts, gate = (list(part) for part in parts)
    if not isinstance(right, tuple):
        gate = [term for term in gate if _role_of(term) is None]
    for term in gate:
        if role := _role_of(term):
            raise ValueError(f"formula: {role}(...) belongs to the experts, left of |.")
    for part in (experts, gate):
        if not any(str(term) == "1" for term in part):
            raise ValueError(
                f"formula={formula!r}: gate and experts always have an intercept; leave out '0 +' and '- 1', and write "
                "'| 1' for a gate that has nothing else."
            )
    return _response(formula, found.lhs if sided else ()), {"expert": experts, "gate": gate}


def _response(formula, left):
    """Return the names of the columns left of ``~``."""
    terms = [] if isinstance(left, tuple) and not left else left
    if isinstance(left, tuple) and left:
        raise ValueError(f"formula={formula!r}: responses are joined by +, not by |.")
    for term in terms:
        if len(term.factors) != 1 or term.factors[0].eval_method.value != "lookup":
            raise ValueError(
                f"formula: the response {term} is not a column of the data, and predictions and likelihood would be of "
                "what is computed. Make a column of it if that is meant; expert='log_normal' and "
                "smoe.families.TransformedGaussian have the density of y itself."
            )
    return tuple(str(term) for term in terms)


def _role_of(term):
    """Return the role that a term gives to a column, or None."""
    called = [factor.expr.split("(")[0] for factor in term.factors if "(" in factor.expr]
    role = next((name for name in called if name in ROLES), None)
    if role and len(term.factors) > 1:
        raise ValueError(f"formula: {role}(...) is a term by itself and has no interactions, got {term}.")
    return role


def _roles_of(parts):
    roles = {}
    for term in parts["expert"]:
        if role := _role_of(term):
            roles.setdefault(role, []).append(str(term))
    for role, terms in roles.items():
        if len(terms) > 1 and role != "offset":
            raise ValueError(f"formula: {role}(...) can be given once, got {', '.join(terms)}.")
    return roles


def _columns_of(term):
    """Return the names that may be columns of the data."""
    return [name for factor in term.factors for name in _named_in(factor)]


def _named_in(factor):
    if factor.eval_method.value == "lookup":
        return [factor.expr]
    return [a or b for a, b in _NAME.findall(_QUOTED.sub("", factor.expr))]


def _frame(data, names):
    """Return these columns as a pandas frame: a column that is not used cannot hide a function of its name."""
    import pandas as pd

    columns = _names_of(data)
    for name in names:
        if name not in columns:
            raise ValueError(f"formula: no column {name!r} in the data; its columns are {columns}.")
    index = data.index if isinstance(data, pd.DataFrame) else pd.RangeIndex(len(data))
    frame = data[names] if isinstance(data, pd.DataFrame) else pd.DataFrame({n: np.asarray(data[n]) for n in names})
    if frame.shape[1] != len(names):
        raise ValueError(f"formula: the data have more than one column of the same name among {names}.")
    for name in names:
        if (lost := np.asarray(frame[name].isna())).any():
            raise ValueError(
                f"formula: column {name!r} contains NaN or None in {lost.sum()} rows, the first is row "
                f"{lost.argmax()}: impute them, or leave the rows out, data.dropna(subset=[...])."
            )
    return frame.set_axis(index)


def _without_levels(frame):
    """Return categories as plain values: the levels are those of the fit, in their order."""
    return frame.astype({name: object for name, kind in frame.dtypes.items() if kind.name == "category"})


def _learnt(terms, frame):
    formulaic = _formulaic()
    matrix = formulaic.Formula(terms).get_model_matrix(
        frame, context=_functions(), output="numpy", na_action="ignore"
    )  # what is not finite is refused, not dropped
    return matrix.model_spec


def _refuse_not_finite(columns):
    for name, values in columns.items():
        if not (finite := np.isfinite(values)).all():
            raise ValueError(
                f"formula: {name} is not finite in {(~finite).sum()} rows, the first is row {finite.argmin()}."
            )


@contextmanager
def _in_words(formula):
    """Make errors of formulaic, and its warning of levels that become reference levels, errors that say what to do."""
    errors = _formulaic().errors
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", errors.DataMismatchWarning)
            yield
    except errors.DataMismatchWarning as warning:
        levels = _LEVELS.search(str(warning))
        raise ValueError(
            f"formula={formula!r}: levels {levels[1] if levels else ''} are not among those of the fit. Leave these "
            "rows out, or fit to a categorical column that has all levels."
        ) from None
    except Exception as error:  # a formula is code, and may raise anything
        raise ValueError(f"formula={formula!r}: {_explained(str(error))}") from None


def _explained(message):
    message = message.strip().split("\n")[0]
    if "object is not callable" in message:
        return f"{message} A column of the data has the name of a function: rename it."
    if "beyond upper and/or lower bounds" in message:
        factor = message.split("`")[1]
        return (
            f"{factor} has values outside the range of the fit; give it lower_bound, upper_bound, or "
            "extrapolation='extend' (or 'clip')."
        )
    if "is not present in the dataset" in message or "is not defined" in message:
        return f"{message} Formulas know the columns of the data and formulaic's functions, log, exp, bs, C, ..."
    return message
