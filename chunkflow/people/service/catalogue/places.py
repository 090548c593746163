"""Places of data sets: work folders and layers as they are given, folders of these, or a catalogue file.

A folder is looked through each time, so that a job begun beside the others appears by itself. Who may do what
goes by the names of data sets, so no two may have the same one.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from chunkflow.data.documents import first_fault, read_document
from chunkflow.data.folder import Folder
from chunkflow.data.info import full_url
from chunkflow.errors import BadInput
from chunkflow.words import plain

NAME = re.compile(r"[\w][\w.-]{0,99}", re.ASCII)
NOT_IN_NAMES = re.compile(r"[^\w.-]+", re.ASCII)
ENDINGS = (".yaml", ".yml")
LEDGER = "ledger"
"""The folder by which a work folder is known."""


@dataclass(frozen=True)
class DataSetPlace:
    """A work folder or a layer that is served under a name."""

    name: str
    title: str
    url: str


class CataloguedPlace(BaseModel):
    """A data set in a catalogue file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    work: str = ""
    layer: str = ""
    title: str = ""


class CatalogueFile(BaseModel):
    """A file that names data sets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    datasets: dict[str, CataloguedPlace]


def find_places(sources: Sequence[str]) -> dict[str, DataSetPlace]:
    """The data sets at work folders, layers, folders of these and in catalogue files, by name."""
    found: dict[str, DataSetPlace] = {}
    for source in sources:
        for place in _places_of(source):
            other = found.setdefault(place.name, place)
            if other.url != place.url:
                raise BadInput(
                    f"{plain(other.url)} and {plain(place.url)} would both be named {place.name}: name them "
                    f"in a file, as in catalog.yaml with datasets: {{NAME: {{work: {plain(place.url)}}}}}."
                )
    if not found:
        raise BadInput(f"There is no work folder and no layer in {', '.join(sources)}.")
    return found


def _places_of(source: str) -> Iterator[DataSetPlace]:
    if source.endswith(ENDINGS):
        yield from _catalogued(Path(source))
        return
    url = full_url(source)
    if is_place(url):
        yield DataSetPlace(name_of(url), posixpath.basename(url), url)
        return
    folder = Path(plain(url))
    if "://" in plain(url) or not folder.is_dir():
        raise BadInput(f"{plain(url)} is no work folder, no layer and no folder of these.")
    for below in sorted(folder.iterdir()):
        if not below.name.startswith(".") and below.is_dir() and is_place(full_url(str(below))):
            yield DataSetPlace(name_of(str(below)), below.name, full_url(str(below)))


def is_place(url: str) -> bool:
    """Whether a layer or a work folder lies at a URL."""
    if url.startswith("file://"):
        folder = Path(plain(url))
        return (folder / "info").is_file() or (folder / LEDGER).is_dir()
    folder_there = Folder(url)
    return folder_there.exists("info") or next(iter(folder_there.list(f"{LEDGER}/")), None) is not None


def name_of(url: str) -> str:
    """The last part of a place as a name in addresses."""
    return NOT_IN_NAMES.sub("-", posixpath.basename(url)).strip("-.")[:100] or "data"


def _catalogued(file: Path) -> Iterator[DataSetPlace]:
    document = read_document(file, "catalogue", "datasets: {NAME: {work: PLACE}}")
    try:
        catalogue = CatalogueFile.model_validate(document)
    except ValidationError as error:
        raise BadInput(f"{file}: {first_fault(error, CatalogueFile)}") from None
    for name, said in catalogue.datasets.items():
        if not NAME.fullmatch(name):
            raise BadInput(
                f"{file}: the data set {name!r} must be named with letters, digits and . _ - alone, as that "
                "is its address."
            )
        if bool(said.work) == bool(said.layer):
            raise BadInput(f"{file}: the data set {name} must have a work folder (work) or a layer (layer).")
        url = full_url(said.work or said.layer, file.absolute().parent)
        yield DataSetPlace(name, said.title or name, url)
