"""Classes: what each object of a table is, by a model that `chunkflow train classify` has made.

1. `prepare` looks at the model once for all, and records which file it is.
2. A worker loads the model; one that has changed since is refused.
3. `map` gives each row its class, how probable that is, and the probability of every class.
4. Where people have reviewed the table, what they decided takes the place of what the model says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from chunkflow.chunk import Chunk
from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.people.learning import features as class_features
from chunkflow.people.learning import model as classifier
from chunkflow.people.learning.classes import class_columns, with_columns
from chunkflow.task import Cell, Counts, File, Layout, Objects, Out, RowByRow, Task

if TYPE_CHECKING:
    from chunkflow.people.review.decisions import Decisions


@dataclass(frozen=True)
class ModelAndReview:
    """What a worker loads once: the model, and what people decided."""

    model: classifier.Model
    decisions: Decisions | None


class Classify(Task):
    """Tell what each object of `objects` is, by a trained model.

    `classes` is the table with these columns more: `class`; `probability`, that of this class; and
    `p_CLASS` for each class that the model knows. Columns of these names of an earlier decision, as of
    `judge`, give way. The class is the likeliest one. Where the model was trained to find one class
    (`positive`), it is that one from the threshold on that the training has found, else the likeliest of the
    others. An object that lacks a feature, or has one that is no number, has no class; such objects are
    counted. The model is one file, made by `chunkflow train classify`; one whose features the table lacks is
    refused by name.

    `reviewed` is a file of what people decided on these objects, as `chunkflow review export` writes it to
    .csv, .parquet, .json or .h5; objects are known by their ids. What people decided stays: an accepted
    object has the class that they gave it (`accepted` where none is known), a rejected one the class
    `rejected`, both with the probability 1, whether the model knows the class or not. `p_CLASS` stays what
    the model says of it. A column `status` tells accepted, rejected and undecided rows apart. Rows that the
    file has as deleted are left out; others that it lacks are the model's to decide. Points that were added
    make no rows, as nothing was measured of them.
    """

    shape = RowByRow()

    objects: Objects = Field(description="the table to classify, as `measure` makes it")
    model: File = Field(description="path of the model, as `chunkflow train classify` wrote it")
    reviewed: File = Field(
        "", description="path of a file of what people decided, as `chunkflow review export` wrote it"
    )
    classes: Objects = Out("the table with the classes")

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        """The model is looked at before anything runs, as is what people decided, and a table that is there
        already."""
        known = classifier.describe_model(self.model)
        table = layout.table("objects")
        decisions = self._decisions(layout)
        if "objects" not in layout.made:
            from chunkflow.data.tables import table_pieces  # with it come the clients of all stores

            schema = next(table_pieces(table, table.grid.box(0))).schema
            class_features.refuse_missing(known.features, schema, self.objects, self.model)
        if decisions is not None:
            decisions.refuse_other_table(table, self.objects)
        return super().outputs(layout)

    def _decisions(self, layout: Layout) -> Decisions | None:
        if not self.reviewed:
            return None
        from chunkflow.people.review.decisions import Decisions  # with it come the clients of all stores

        return Decisions.read(self.reviewed, layout.table("objects"))

    def prepare(self, layout: Layout, samples: Iterable[Chunk | pa.Table]) -> dict[str, Any]:
        model, decisions = classifier.load(self.model), self._decisions(layout)
        known = model.description
        warning = classifier.version_warning(known)
        decided = {"model": model.fingerprint, "features": known.features, "estimator": known.estimator}
        decided |= {"reviewed": decisions.fingerprint} if decisions is not None else {}
        return decided | ({"warning": warning} if warning else {})

    def setup(self, layout: Layout) -> ModelAndReview:
        return ModelAndReview(classifier.load(self.model), self._decisions(layout))

    def map(self, cell: Cell, objects: pa.Table) -> tuple[pa.Table, Counts]:
        loaded: ModelAndReview = cell.loaded
        model, decisions = loaded.model, loaded.decisions
        _refuse_changed("model", "model", self.model, model.fingerprint, cell)
        rows, counts = self._classified(model, objects)
        if decisions is not None:
            _refuse_changed("reviewed", "reviewed file", self.reviewed, decisions.fingerprint, cell)
            rows, decided = decisions.apply(rows)
            counts = _of_classes(rows["class"]) | {"decided by people": decided}
        counts["without a class, as a feature is missing"] = rows["class"].null_count
        return rows, Counts(counts)

    def _classified(self, model: classifier.Model, objects: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """The rows as the model tells them apart, and how many are of each class."""
        known = model.description
        class_features.refuse_missing(known.features, objects.schema, self.objects, self.model)
        features = class_features.feature_rows(objects, known.features)
        whole = np.asarray(np.isfinite(features).all(axis=1))
        probabilities = np.full((len(objects), len(known.classes)), np.nan)
        probabilities[whole] = model.probabilities(features[whole])
        chosen = np.zeros(len(objects), np.int64)
        chosen[whole] = model.decide(probabilities[whole])
        columns, counts = class_columns(known.classes, chosen, probabilities, whole)
        for number, name in enumerate(known.classes):
            columns[f"p_{name}"] = pa.array(probabilities[:, number].astype(np.float32), mask=~whole)
        return with_columns(objects, columns), counts


def _of_classes(classes: pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(classes.drop_null()).to_pylist()
    return {
        f"of class {one['values']}": one["counts"] for one in sorted(counted, key=lambda one: one["values"])
    }


def _refuse_changed(value: str, what: str, path: str, fingerprint: str, cell: Cell) -> None:
    if fingerprint != cell.values[value]:
        raise BadInput(
            f"The {what} {path} has changed since the task began: put it back, or restart the task."
        )
