"""Points, lines, boxes and ellipsoids with all that they show, read back by the two readers there are."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cloudvolume.datasource.precomputed.annotation import PrecomputedAnnotationSource, metadata
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from neuroglancer.read_precomputed_annotations import AnnotationReader

from chunkflow.kernels.precomputed import annotations as layers
from chunkflow.kernels.precomputed.crossings import AnnotationKind
from tests.support.files.annotation_kinds import (
    COLOURS,
    KINDS,
    SPACE,
    check_cells,
    listed_in,
    place_of,
    shown_of,
    some_rows,
    table_of,
    told,
    write_layer,
)

pytestmark = pytest.mark.usefixtures("small_cells")

PLACE = st.tuples(*[st.integers(0, 4 * n).map(lambda quarter: quarter / 4) for n in SPACE.size])
ROW = st.fixed_dictionaries(
    {
        "one": PLACE,
        "other": PLACE,
        "radii": st.tuples(*[st.integers(0, 36).map(lambda quarter: quarter / 4)] * 3),
        "class": st.sampled_from(["neuron", "glia", "Purkinje"]),
        "live": st.booleans(),
        "color": st.sampled_from(list(COLOURS)),
        "size": st.integers(-(2**15), 2**15 - 1),
        "nuclei": st.lists(st.integers(1, 2**64 - 1), max_size=3, unique=True),
    }
)


@settings(
    deadline=None,
    max_examples=8,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to find a smaller example would take minutes
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(ROW, min_size=1, max_size=25), st.sampled_from(KINDS), st.booleans())
def test_all_that_a_layer_has_is_read_back(
    rows: list[dict[str, Any]], kind: AnnotationKind, in_cells: bool
) -> None:
    table = table_of(rows)
    relationships = {"segment": "id", "nucleus": "nuclei"}
    columns = ["class", "live", "color", "size"]
    with tempfile.TemporaryDirectory() as folder:
        asked = {"kind": kind, "limit": 3, "properties": columns, "relationships": relationships}
        cell = (16, 16, 16) if in_cells else None
        layer = write_layer(Path(folder), table, cell=cell, **asked)
        check_by_neuroglancer(layer, table, kind)
        check_by_cloudvolume(layer, table, kind)


def check_by_neuroglancer(layer: Path, table: pa.Table, kind: AnnotationKind) -> None:
    reader = AnnotationReader(f"file://{layer}")
    info = reader.metadata
    clear = any(len(text) == 9 for text in table["color"].to_pylist())
    nuclei: dict[int, set[str]] = {}
    for row in table.to_pylist():
        found = reader.by_id[row["id"]]
        assert told(found) == place_of(kind, row)
        colour = list(COLOURS[row["color"]])[: 4 if clear else 3]
        expected = {"class": row["class"], "live": "yes" if row["live"] else "no", "color": colour}
        assert shown_of(found, info) == expected | {"size": row["size"]}
        segments, others = ([int(n) for n in ids] for ids in found.segments)
        assert segments == [row["id"]]
        assert others == sorted(row["nuclei"])
        for nucleus in others:
            nuclei.setdefault(nucleus, set()).add(str(row["id"]))
        (own,) = reader.relationships["segment"][row["id"]]
        assert told(own) == told(found)
    for nucleus, ids in nuclei.items():
        assert {a.id for a in reader.relationships["nucleus"][nucleus]} == ids
    check_cells(reader, table, kind)


def check_by_cloudvolume(layer: Path, table: pa.Table, kind: AnnotationKind) -> None:
    """Its reader calls numpy wrongly to put two corners together, and cannot crop; told better, it agrees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "hstack", lambda *arrays: np.concatenate(arrays, axis=-1))
        patch.setattr(metadata, "_crop_mask", lambda kind, places, box: np.ones(len(places), bool))
        source = PrecomputedAnnotationSource(f"file://{layer}")
        expected = {row["id"]: place_of(kind, row) for row in table.to_pylist()}
        found: dict[int, list[float]] = {}
        for level in range(len(source.meta.info["spatial"])):
            listed = source.get_all(mip=level)
            found |= {int(n): place.tolist() for n, place in zip(listed.ids, listed.geometry, strict=True)}
        assert found == expected
        for row in table.slice(0, 5).to_pylist():
            single = source.get_by_id([row["id"]])[row["id"]]
            assert np.ravel(single.geometry).tolist() == expected[row["id"]]
            assert single.relationships["index/nucleus"].tolist() == sorted(row["nuclei"])
            assert int(single.properties["size"][0]) == row["size"]
            labels = single.properties_enum["class"]
            assert labels[int(single.properties["class"][0])] == row["class"]
            for nucleus in row["nuclei"]:
                assert row["id"] in source.get_by_relationship("nucleus", nucleus).ids.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_however_the_table_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: AnnotationKind
) -> None:
    rows = some_rows()
    contents = []
    for name, cell, batch, block in (
        ("a", (16, 16, 16), 7, 11),
        ("b", None, 100, 12),
        ("c", (64, 64, 64), 20, 20),
    ):
        monkeypatch.setattr("chunkflow.data.tables.BATCH", batch)
        monkeypatch.setattr(layers, "BLOCK_VOXELS", 1 << block)
        reader = AnnotationReader(
            f"file://{write_layer(tmp_path / name, rows, cell=cell, kind=kind, limit=4)}"
        )
        cells = {}
        for level, index in enumerate(reader.spatial):
            for place in itertools.product(*map(range, index.metadata["grid_shape"])):
                cells[level, *place] = [a.id for a in listed_in(index, place)]
        contents.append({place: ids for place, ids in cells.items() if ids})
    assert contents[0] == contents[1] == contents[2]
