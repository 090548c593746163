"""Classes: what each object of a table is, by a model that `chunkflow train classify` has made.

1. `prepare` looks at the model once for all, and records which file it is.
2. A worker loads the model; one that has changed since is refused.
3. `map` gives each row its class, how probable that is, and the probability of every class.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from chunkflow.chunk import Chunk
from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.people.learning import features as class_features
from chunkflow.people.learning import model as classifier
from chunkflow.people.learning.classes import class_columns, with_columns
from chunkflow.task import Cell, Counts, File, Layout, Objects, Out, RowByRow, Task


class Classify(Task):
    """Tell what each object of `objects` is, by a trained model.

    `classes` is the table with these columns more: `class`; `probability`, that of this class; and
    `p_CLASS` for each class that the model knows. Columns of these names of an earlier decision, as of
    `judge`, give way. The class is the likeliest one. Where the model was trained to find one class
    (`positive`), it is that one from the threshold on that the training has found, else the likeliest of the
    others. An object that lacks a feature, or has one that is no number, has no class; such objects are
    counted. The model is one file, made by `chunkflow train classify`; one whose features the table lacks is
    refused by name.
    """

    shape = RowByRow()

    objects: Objects = Field(description="the table to classify, as `measure` makes it")
    model: File = Field(description="path of the model, as `chunkflow train classify` wrote it")
    classes: Objects = Out("the table with the classes")

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        """The model is looked at before anything runs, and a table that is there already, too."""
        known = classifier.describe_model(self.model)
        if "objects" not in layout.made:
            from chunkflow.data.tables import table_pieces  # with it come the clients of all stores

            table = layout.table("objects")
            schema = next(table_pieces(table, table.grid.box(0))).schema
            class_features.refuse_missing(known.features, schema, self.objects, self.model)
        return super().outputs(layout)

    def prepare(self, layout: Layout, samples: Iterable[Chunk | pa.Table]) -> dict[str, Any]:
        model = classifier.load(self.model)
        known = model.description
        warning = classifier.version_warning(known)
        decided = {"model": model.fingerprint, "features": known.features, "estimator": known.estimator}
        return decided | ({"warning": warning} if warning else {})

    def setup(self, layout: Layout) -> classifier.Model:
        return classifier.load(self.model)

    def map(self, cell: Cell, objects: pa.Table) -> tuple[pa.Table, Counts]:
        model: classifier.Model = cell.loaded
        if model.fingerprint != cell.values["model"]:
            raise BadInput(
                f"The model {self.model} has changed since the task began: put it back, or restart the task."
            )
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
        counts["without a class, as a feature is missing"] = int((~whole).sum())
        return with_columns(objects, columns), Counts(counts)
