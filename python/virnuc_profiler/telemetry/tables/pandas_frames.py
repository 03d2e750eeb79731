# SPDX-License-Identifier: MIT
"""Tables as data frames of pandas. What was not measured is ``<NA>``; whole numbers stay whole numbers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from virnuc_profiler.errors import LibraryUnavailable
from virnuc_profiler.telemetry.tables.run_tables import Table, TableColumn

if TYPE_CHECKING:
    import pandas as pd


def to_frame(table: Table) -> pd.DataFrame:
    """Return a table as a data frame.

    Args:
        table: The table.

    Raises:
        LibraryUnavailable: pandas cannot be imported; the message says how to install it.
    """
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise LibraryUnavailable(
            f"data frames need pandas, which cannot be imported ({error}): pip install 'virnuc_profiler[export]'"
        ) from error
    frame: pd.DataFrame = pandas.DataFrame({name: _series(column, pandas) for name, column in table.items()})
    return frame


def _series(column: TableColumn, pandas: Any) -> Any:
    if column.names is not None:
        # Two stages may have one name in a file of unknown origin; categories are distinct.
        names = list(dict.fromkeys(column.names))
        number = np.array([names.index(name) for name in column.names], np.int64)
        return pandas.Categorical.from_codes(number[column.values], categories=names)
    if column.missing is None:
        return np.array(column.values)
    kinds = {"b": pandas.arrays.BooleanArray, "i": pandas.arrays.IntegerArray, "f": pandas.arrays.FloatingArray}
    return kinds[column.values.dtype.kind](np.array(column.values), column.missing)
