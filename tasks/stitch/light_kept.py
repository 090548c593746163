"""The light of a stitch as it is kept: columns of a table, and a file of arrays."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa

from chunkflow.errors import BadInput
from chunkflow.kernels.illumination.shading import Floats, Shading


def field_columns(name: str, arrays: Sequence[Floats]) -> dict[str, pa.Array]:
    """Pictures as columns of a table."""
    return {
        name: pa.array([array.tobytes() for array in arrays], pa.binary()),
        f"{name}_x": pa.array([array.shape[0] for array in arrays], pa.int64()),
    }


def fields(rows: pa.Table, name: str) -> list[Floats]:
    """The inverse of `field_columns`."""
    lengths = rows[f"{name}_x"].to_pylist()
    return [
        np.frombuffer(data, np.float32).reshape(length, -1)
        for data, length in zip(rows[name].to_pylist(), lengths, strict=True)
    ]


def read_light(path: Path, channels: int) -> list[Shading]:
    """The light of each channel from a file of arrays flat_0, dark_0, flat_1 ..."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], np.float32) for name in file.files}
    except (OSError, ValueError, EOFError, TypeError, BadZipFile, zlib.error) as error:
        raise BadInput(
            f"shading: {path} cannot be read as an .npz file of arrays: give the shading.npz of a report, "
            "or estimate, or none."
        ) from error
    found = []
    for channel in range(channels):
        names = (f"flat_{channel}", f"dark_{channel}")
        for name in names:
            if name not in arrays or arrays[name].ndim != 2 or not np.isfinite(arrays[name]).all():
                raise BadInput(
                    f"shading: {path} must have flat_0, dark_0 and so on for {channels} channels, each "
                    f"of two axes (x, y) and finite; {name} is not so."
                )
        if not (arrays[names[0]] > 0).all():
            raise BadInput(f"shading: {names[0]} of {path} must be larger than 0 everywhere.")
        found.append(Shading(arrays[names[0]], arrays[names[1]]))
    return found


def write_light(light: pa.Table) -> dict[str, Floats]:
    """The arrays that `read_light` reads."""
    return {
        f"{name}_{channel}": field
        for name in ("flat", "dark")
        for channel, field in enumerate(fields(light, name))
    }
