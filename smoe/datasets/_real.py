"""Loaders of the tables in ``data/``."""

import csv
from importlib.resources import files
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from smoe.optional import needed

_DATA = files(__package__) / "data"


def load_engel(*, as_frame: bool = False, return_X_y: bool = False) -> Any:
    """Load the food expenditure (y) and the income (X) of 235 Belgian households.

    Both are annual, in Belgian francs.

    Parameters
    ----------
    as_frame : bool, default=False
        Give ``data`` and ``target`` as pandas objects, and the whole table as ``frame``.
    return_X_y : bool, default=False
        Return only ``(data, target)``.

    Returns
    -------
    sklearn.utils.Bunch or tuple
        With the fields

        - ``data``: (n, d) array or DataFrame of floats, the features;
        - ``target``: (n,) array or Series of floats, the response;
        - ``frame``: DataFrame of features and response, or None;
        - ``feature_names``: list of str; ``target_name``: str;
        - ``DESCR``: str, the meaning, units, origin and licence of the data;
        - ``filename``: str, the path of the csv file.

    Raises
    ------
    ImportError
        If ``as_frame`` is true and pandas is not installed.

    References
    ----------
    Koenker, R. and Bassett, G. (1982). Robust tests of heteroscedasticity based on regression quantiles.
    Econometrica 50, 43-61.

    Examples
    --------
    >>> from smoe.datasets import load_engel
    >>> engel = load_engel()
    >>> engel.data.shape, engel.feature_names, engel.target_name
    ((235, 1), ['income'], 'foodexp')
    """
    return _load("engel", ["income"], "foodexp", as_frame, return_X_y)


def load_mcycle(*, as_frame: bool = False, return_X_y: bool = False) -> Any:
    """Load the head acceleration (y, in g) and the time after impact (X, in ms) of a simulated accident.

    Parameters
    ----------
    as_frame, return_X_y : bool, default=False
        As in `load_engel`.

    Returns
    -------
    sklearn.utils.Bunch or tuple
        133 rows, 1 feature; as in `load_engel`.

    References
    ----------
    Silverman, B. W. (1985). Some aspects of the spline smoothing approach to non-parametric regression curve
    fitting. Journal of the Royal Statistical Society, Series B 47, 1-52.

    Examples
    --------
    >>> from smoe.datasets import load_mcycle
    >>> X, y = load_mcycle(return_X_y=True)
    >>> X.shape, y.shape
    ((133, 1), (133,))
    """
    return _load("mcycle", ["times"], "accel", as_frame, return_X_y)


def load_faithful(*, as_frame: bool = False, return_X_y: bool = False) -> Any:
    """Load the duration of 272 eruptions of Old Faithful (y) and the wait for the next (X), in minutes.

    Parameters
    ----------
    as_frame, return_X_y : bool, default=False
        As in `load_engel`.

    Returns
    -------
    sklearn.utils.Bunch or tuple
        272 rows, 1 feature; as in `load_engel`.

    References
    ----------
    Azzalini, A. and Bowman, A. W. (1990). A look at some data on the Old Faithful geyser. Applied Statistics
    39, 357-365.

    Examples
    --------
    >>> from smoe.datasets import load_faithful
    >>> X, y = load_faithful(return_X_y=True)
    >>> X.shape, y.shape
    ((272, 1), (272,))
    """
    return _load("faithful", ["waiting"], "eruptions", as_frame, return_X_y)


def load_ethanol(*, as_frame: bool = False, return_X_y: bool = False) -> Any:
    """Load the nitrogen oxides (y, in micrograms per joule) from burning ethanol at 88 engine settings (X).

    The features are the compression ratio C and the equivalence ratio E, the richness of the mixture of air
    and ethanol.

    Parameters
    ----------
    as_frame, return_X_y : bool, default=False
        As in `load_engel`.

    Returns
    -------
    sklearn.utils.Bunch or tuple
        88 rows, 2 features; as in `load_engel`.

    References
    ----------
    Brinkman, N. D. (1981). Ethanol fuel: a single-cylinder engine study of efficiency and exhaust emissions.
    SAE Transactions 90, 1410-1424.

    Examples
    --------
    >>> from smoe.datasets import load_ethanol
    >>> ethanol = load_ethanol()
    >>> ethanol.data.shape, ethanol.feature_names, ethanol.target_name
    ((88, 2), ['C', 'E'], 'NOx')
    """
    return _load("ethanol", ["C", "E"], "NOx", as_frame, return_X_y)


def load_insurance(*, as_frame: bool = False, return_X_y: bool = False) -> Any:
    """Load the claims (y) of the holders of car insurance policies in 64 groups, and how many these are (X).

    The features are the age class of the drivers and the engine class of the cars (0 to 3 each, in order), the
    district (1 to 4), and the number of holders, the exposure.

    Parameters
    ----------
    as_frame, return_X_y : bool, default=False
        As in `load_engel`.

    Returns
    -------
    sklearn.utils.Bunch or tuple
        64 rows, 4 features; as in `load_engel`.

    References
    ----------
    Baxter, L. A., Coutts, S. M. and Ross, G. A. F. (1980). Applications of linear models in motor insurance.
    Proceedings of the 21st International Congress of Actuaries, 11-29.

    Examples
    --------
    >>> from smoe.datasets import load_insurance
    >>> insurance = load_insurance()
    >>> insurance.data.shape, insurance.feature_names, insurance.target_name
    ((64, 4), ['age', 'engine', 'district', 'holders'], 'claims')
    """
    return _load("insurance", ["age", "engine", "district", "holders"], "claims", as_frame, return_X_y)


def load_biochemists(*, as_frame: bool = False, return_X_y: bool = False) -> Any:
    """Load the articles (y) that 915 doctoral students of biochemistry published in the last three years, and X.

    The features are whether the student is a woman, is married, the number of children under six, the prestige of
    the department, and the articles of the mentor.

    Parameters
    ----------
    as_frame, return_X_y : bool, default=False
        As in `load_engel`.

    Returns
    -------
    sklearn.utils.Bunch or tuple
        915 rows, 5 features; as in `load_engel`.

    References
    ----------
    Long, J. S. (1990). The origins of sex differences in science. Social Forces 68, 1297-1316.

    Examples
    --------
    >>> from smoe.datasets import load_biochemists
    >>> X, y = load_biochemists(return_X_y=True)
    >>> X.shape, y.shape
    ((915, 5), (915,))
    """
    return _load("biochemists", ["female", "married", "kids", "phd", "mentor"], "articles", as_frame, return_X_y)


def load_health(*, as_frame: bool = False, return_X_y: bool = False) -> Any:
    """Load how 4,406 Americans of 66 years and more rate their health (y), with three features.

    These are the number of chronic conditions, the visits to a physician's office in half a year, and the years of
    school. The target is one of the strings "poor", "average" and "excellent".

    Parameters
    ----------
    as_frame, return_X_y : bool, default=False
        As in `load_engel`.

    Returns
    -------
    sklearn.utils.Bunch or tuple
        4406 rows, 3 features; as in `load_engel`.

    References
    ----------
    Deb, P. and Trivedi, P. K. (1997). Demand for medical care by the elderly: a finite mixture approach. Journal of
    Applied Econometrics 12, 313-336.

    Examples
    --------
    >>> from smoe.datasets import load_health
    >>> X, y = load_health(return_X_y=True)
    >>> X.shape, y[:3].tolist()
    ((4406, 3), ['average', 'average', 'poor'])
    """
    levels = ["poor", "average", "excellent"]
    return _load("health", ["conditions", "visits", "school"], "health", as_frame, return_X_y, levels)


def _load(name, feature_names, target_name, as_frame, return_X_y, levels=None):
    path = _DATA / f"{name}.csv"
    columns = _read_columns(path)
    if levels is not None:
        columns[target_name] = np.array(levels)[columns[target_name].astype(int)]
    data = np.column_stack([columns[feature] for feature in feature_names])
    target = columns[target_name]
    frame = None
    if as_frame:
        frame = _to_frame({column: columns[column] for column in [*feature_names, target_name]})
        data, target = frame[feature_names], frame[target_name]
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        frame=frame,
        feature_names=feature_names,
        target_name=target_name,
        DESCR=_describe(name),
        filename=str(path),
    )


def _read_columns(path):
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    # A copy of the transpose makes each column contiguous.
    return dict(zip(header, np.array(rows, dtype=float).T.copy(), strict=True))


def _to_frame(columns):
    return needed("pandas", "as_frame=True").DataFrame(columns)


def _describe(name):
    """Return the section of ``data/README.md`` that is headed `name`."""
    sections = (_DATA / "README.md").read_text(encoding="utf-8").split("\n## ")
    return next(section for section in sections if section.startswith(f"{name}\n"))
