"""Checks of what users pass, with messages that say what to do."""

from smoe.validation.groups import check_groups, labels_of_groups, with_codes
from smoe.validation.labels import check_labels, codes_of, find_classes
from smoe.validation.missing import missing_entries
from smoe.validation.objects import (
    check_callable,
    check_experts,
    check_fitted,
    check_instance,
    check_mixture,
    check_n_jobs,
    check_nested,
    check_path,
    fit_of,
)
from smoe.validation.params import check_params
from smoe.validation.randomness import check_generator, check_seed, own_generator
from smoe.validation.response import check_response, check_responses, names_of_responses, remark_on_response
from smoe.validation.rows import (
    FLOATS,
    MISSING,
    Columns,
    check_rows,
    check_weights,
    learn_columns,
    may_count_rows,
    refuse_beside_source,
)
from smoe.validation.scalars import check_choice, check_floats, check_index, check_level, check_number

__all__ = [
    "FLOATS",
    "MISSING",
    "Columns",
    "check_callable",
    "check_choice",
    "check_experts",
    "check_fitted",
    "check_floats",
    "check_generator",
    "check_groups",
    "check_index",
    "check_instance",
    "check_labels",
    "check_level",
    "check_mixture",
    "check_n_jobs",
    "check_nested",
    "check_number",
    "check_params",
    "check_path",
    "check_response",
    "check_responses",
    "check_rows",
    "check_seed",
    "check_weights",
    "codes_of",
    "find_classes",
    "fit_of",
    "labels_of_groups",
    "learn_columns",
    "may_count_rows",
    "missing_entries",
    "names_of_responses",
    "own_generator",
    "refuse_beside_source",
    "remark_on_response",
    "with_codes",
]
