"""The columns of a table that a class is told by."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.errors import BadInput
from chunkflow.words import refuse_one_text

FEATURES = ("volume_um3", "diameter_um", "*_mean", "*_std", "*_skew", "*_kurtosis")
"""The features of Michaleas et al., HPEC 2020: size, and how the intensity is distributed."""
ALL = (*FEATURES, "roundness", "*_contrast_*", "*_cnr_*", "*_surround")
"""All that tells classes apart within one brain."""
CARRIED = ("diameter_um", "roundness", "*_skew", "*_kurtosis", "*_cnr_*")
"""Features that mean the same in the next brain, whatever its grey values."""
PLACES = ("id", "x", "y", "z", "?_um", "?_min", "?_max", "cut", "probability", "p_*")
"""No feature unless named in full: where an object is, and what another model said of it."""

Floats = npt.NDArray[np.float64]


def choose_features(schema: pa.Schema, patterns: Sequence[str], carried: bool = False) -> list[str]:
    """The columns of a table that the patterns name, in the table's order.

    Without patterns those of ALL; of CARRIED where they are to hold elsewhere (`carried`) and the table has
    contrast-to-noise ratios.
    """
    refuse_one_text("features", patterns)
    usual = not patterns
    numbers = [field.name for field in schema if _is_number(field.type)]
    free = [name for name in numbers if not any(fnmatch.fnmatchcase(name, place) for place in PLACES)]
    if usual:
        patterns = CARRIED if carried and fnmatch.filter(free, "*_cnr_*") else ALL
    chosen: set[str] = set()
    for pattern in patterns:
        found = {pattern} & set(numbers) or set(fnmatch.filter(free, pattern))
        if not found and not usual and tuple(patterns) != FEATURES:
            raise BadInput(
                f"No column of numbers of the table is named {pattern}; it has {', '.join(free) or 'none'}."
            )
        chosen |= found
    if not chosen:
        raise BadInput(
            "The table has none of the columns that a class is told by: make it with `measure`, images named."
        )
    return [name for name in schema.names if name in chosen]


def refuse_missing(features: Sequence[str], schema: pa.Schema, table: str, model: str) -> None:
    """Raise BadInput for a table without the columns of numbers that a model takes."""
    missing = [name for name in features if name not in schema.names]
    if missing:
        raise BadInput(
            f"The model {model} takes columns that the table {table} lacks: {', '.join(missing)}. "
            "Measure the images under the names that they had when the model was trained."
        )
    texts = [name for name in features if not _is_number(schema.field(name).type)]
    if texts:
        raise BadInput(f"The columns {', '.join(texts)} of the table {table} are not numbers.")


def feature_rows(rows: pa.Table, names: Sequence[str]) -> Floats:
    """A row an object, a column a feature; what is missing is not a number."""
    columns = [
        rows[name].cast(pa.float64()).combine_chunks().to_numpy(zero_copy_only=False) for name in names
    ]
    return np.stack(columns, axis=1) if len(rows) else np.zeros((0, len(names)))


def _is_number(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean))
