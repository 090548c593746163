"""Coincidence: which channels each object is positive in, and how many objects have each combination.

1. `prepare` decides what a channel's threshold is where that is to be found, as `segment` finds its own.
2. Each row is given, for every channel, whether it is positive, and all that it is positive in together.
3. The rows are counted by combination, as `count` counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from chunkflow.chunk import Chunk
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.kernels.images.threshold import PEAK_RATIO
from chunkflow.people.learning import features as class_features
from chunkflow.people.learning import model as classifier
from chunkflow.roles import Located
from chunkflow.task import Cell, Counts, Image, Layout, Objects, Out, Report, RowByRow, Task
from tasks.cells.segment import Segment
from tasks.count.steps import Members, Total

PositiveRule = float | Literal["auto"] | str
NONE = "none"


class Coincide(Task):
    """Tell for each object which channels it is positive in, and count the combinations.

    A channel is named as the image that `measure` measured. It is judged by a threshold of the objects' mean
    (or another `statistic`), by `auto`, or by a model that `chunkflow train classify` has made: the path of a
    file ending in .skops, whose class `positive` (or the one that it was trained to find) counts. With `auto`
    an object is positive where `segment` would find a nucleus of `diameter` in that channel: name the image
    under `images`, and let `measure` have that diameter among its `contrasts`.

    `combined` is the table with a column such as `cfos_positive` for each channel, and `combination`, the
    names of all channels that the object is positive in. `combinations` has a row for each that occurs, apart
    for each value of the columns of `by`, such as class.
    """

    objects: Objects = Field(description="the table, as `measure` or `classify` makes it")
    channels: dict[str, PositiveRule] = Field(
        min_length=1, description="how each channel is judged: a threshold, auto, or a model's path"
    )
    images: list[Image] = Field([], description="the images of the channels that are judged by auto")
    diameter: float = Field(8.0, gt=0, description="of a nucleus, micrometres, for auto")
    statistic: str = Field(
        "mean",
        pattern="^[a-z0-9_.]+$",
        description="what a threshold is held against: mean, max, contrast_8um",
    )
    by: list[str] = Field([], description="columns to count the combinations by apart, as class")
    combined: Objects = Out("the table with what each object is positive in")
    combinations: Objects = Out("how many objects have each combination")
    report: Report = Out("a CSV of the combinations, and a picture")

    @classmethod
    def located(cls, parameters: Mapping[str, Any], base: Path) -> dict[str, Any]:
        """The models are paths, too."""
        found = super().located(parameters, base)
        if isinstance(rules := found.get("channels"), dict):
            found["channels"] = {
                channel: Located().whole(rule, base) if _is_model(rule) and rule.endswith(".skops") else rule
                for channel, rule in rules.items()
            }
        return found

    @field_validator("channels")
    @classmethod
    def _rules(cls, value: dict[str, PositiveRule]) -> dict[str, PositiveRule]:
        """Workers have working folders of their own."""
        rules: dict[str, PositiveRule] = {}
        for channel, rule in value.items():
            if isinstance(rule, str) and rule != "auto":
                if not rule.endswith(".skops"):
                    raise ValueError(f"{channel} must be judged by a number, auto, or a model (.skops)")
                rule = Located().whole(rule, Path.cwd())
            elif isinstance(rule, float) and not math.isfinite(rule):
                raise ValueError(f"{channel} must be judged by a number, not {rule}")
            rules[channel] = rule
        return rules

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [name.split("@")[0] for name in self.images]
        lacking = [name for name, rule in self.channels.items() if rule == "auto" and name not in names]
        if lacking:
            raise ValueError(f"images must name {lacking[0]}, as its threshold is to be found (auto)")
        return self

    def files_read(self) -> dict[str, Sequence[str | Path]]:
        return {f"channels.{name}": [str(rule)] for name, rule in self.channels.items() if _is_model(rule)}

    def expand(self, layout: Layout) -> list[tuple[str, Task]]:
        for rule in self.channels.values():
            if isinstance(rule, str) and rule != "auto":
                classifier.describe_model(rule)
        combined = self.combined or "combined"
        members = f"{self.combinations or 'combinations'}.members"
        by = [*self.by, "combination"]
        return [
            (
                "",
                Combine(
                    objects=self.objects,
                    images=self.images,
                    channels=self.channels,
                    diameter=self.diameter,
                    statistic=self.statistic,
                    combined=combined,
                ),
            ),
            ("members", Members(objects=combined, by=by, members=members)),
            (
                "table",
                Total(
                    members=members,
                    by=by,
                    counts=self.combinations or "combinations",
                    report=self.report,
                ),
            ),
        ]


class Combine(Task):
    """The rows with what each is positive in."""

    shape = RowByRow()

    objects: Objects
    images: list[Image]
    channels: dict[str, PositiveRule]
    diameter: float
    statistic: str
    combined: Objects = Out()

    def result_version(self) -> int:
        """2 with an automatic threshold, which is segment's."""
        return 2 if self._found else 1

    @property
    def _found(self) -> list[int]:
        """The images whose thresholds are to be found, by their numbers."""
        names = [name.split("@")[0] for name in self.images]
        return [names.index(channel) for channel, rule in self.channels.items() if rule == "auto"]

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box] if field == "objects" else []

    def samples(self, layout: Layout) -> list[tuple[str, Box]]:
        """The boxes that `segment` would look at, once for each image whose threshold is wanted."""
        boxes = [self._segment().samples(_of_image(layout, n)) for n in self._found]
        return [("images", box) for found in boxes for _, box in found]

    def prepare(self, layout: Layout, samples: Iterable[Any]) -> dict[str, Any]:
        decided: dict[str, Any] = {"thresholds": {}}
        rest = iter(samples)
        for number in self._found:
            image, name = _of_image(layout, number), self.images[number].split("@")[0]
            count = len(self._segment().samples(image))
            found = self._segment().prepare(image, _nth(rest, count, number)) or {}
            decided["thresholds"][name] = PEAK_RATIO * float(found["threshold"])
            if found["warning"]:
                said = f"{name}: {found['warning']}"
                decided["warning"] = "; ".join(filter(None, (decided.get("warning"), said)))
        models = {name: rule for name, rule in self.channels.items() if _is_model(rule)}
        decided["models"] = {name: classifier.load(str(rule)).fingerprint for name, rule in models.items()}
        return decided

    def setup(self, layout: Layout) -> dict[str, classifier.Model]:
        return {name: classifier.load(str(rule)) for name, rule in self.channels.items() if _is_model(rule)}

    def map(self, cell: Cell, objects: pa.Table) -> tuple[pa.Table, Counts]:
        positive = {
            channel: self._positive(cell, objects, channel, rule) for channel, rule in self.channels.items()
        }
        taken = [
            name
            for name in (*(f"{c}_positive" for c in positive), "combination")
            if name in objects.schema.names
        ]
        if taken:
            raise BadInput(f"coincide: the table {self.objects} has the column {taken[0]} already.")
        rows = objects
        for channel, values in positive.items():
            rows = rows.append_column(f"{channel}_positive", pa.array(values))
        found, number = np.unique(np.stack(list(positive.values()), axis=1), axis=0, return_inverse=True)
        names = np.array([" + ".join(compress(positive, row)) or NONE for row in found], object)
        rows = rows.append_column("combination", pa.array(names[number.ravel()], pa.string()))
        return rows, Counts({f"positive in {c}": int(values.sum()) for c, values in positive.items()})

    def _positive(
        self, cell: Cell, objects: pa.Table, channel: str, rule: PositiveRule
    ) -> npt.NDArray[np.bool_]:
        if _is_model(rule):
            return self._by_model(cell, objects, channel, str(rule))
        statistic = f"contrast_{self.diameter:g}um" if rule == "auto" else self.statistic
        threshold = cell.values["thresholds"][channel] if rule == "auto" else float(rule)
        column = f"{channel}_{statistic}"
        if column not in objects.column_names:
            how = f"let measure have contrasts: [{self.diameter:g}]" if rule == "auto" else "measure it"
            raise BadInput(
                f"coincide: the table {self.objects} has no column {column}: {how}, with {channel} among its "
                f"images. It has {', '.join(objects.column_names)}."
            )
        return np.asarray(objects[column].to_numpy() >= threshold)

    def _by_model(self, cell: Cell, objects: pa.Table, channel: str, path: str) -> npt.NDArray[np.bool_]:
        model: classifier.Model = cell.loaded[channel]
        if model.fingerprint != cell.values["models"][channel]:
            raise BadInput(
                f"The model {path} has changed since the task began: put it back, or restart the task."
            )
        known = model.description
        wanted = known.positive or next((n for n in known.classes if n in ("positive", channel)), "")
        if not wanted:
            raise BadInput(
                f"coincide: the model {path} tells {', '.join(known.classes)} apart, none of which is called "
                f"positive or {channel}: train it with such a class."
            )
        class_features.refuse_missing(known.features, objects.schema, self.objects, path)
        features = class_features.feature_rows(objects, known.features)
        whole = np.isfinite(features).all(axis=1)
        found = np.zeros(len(objects), bool)
        found[whole] = model.decide(model.probabilities(features[whole])) == known.classes.index(wanted)
        return found

    def _segment(self) -> Segment:
        return Segment.model_validate({"image": "image", "labels": "labels", "diameter": self.diameter})


def _is_model(rule: PositiveRule) -> bool:
    return isinstance(rule, str) and rule != "auto"


def _of_image(layout: Layout, number: int) -> Layout:
    """The layout as `segment` would have it for one of the images."""
    return replace(layout, layers={"image": (layout.layers["images"][number],)})


def _nth(samples: Iterator[Sequence[Chunk]], count: int, number: int) -> Iterator[Chunk]:
    """Of the next so many samples of all images, those of one image."""
    for _ in range(count):
        yield next(samples)[number]
