"""Training of a network by a recipe: from images and truth to a model file that `infer` runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import chunkflow
from chunkflow.data.atomic import refuse_model
from chunkflow.data.fingerprints import fingerprint
from chunkflow.errors import BadInput
from chunkflow.networks.architectures import OURS, Architecture
from chunkflow.networks.document import Making, ModelDocument
from chunkflow.networks.training.examples.candidates import CandidateExamples
from chunkflow.networks.training.examples.voxels import TrainingExamples
from chunkflow.networks.training.fit import TrainingLoop, best_check
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.regions import JudgedRegion, Predicted, judged_regions
from chunkflow.networks.training.state import Check
from chunkflow.networks.training.validation import Validation
from chunkflow.networks.training.volumes import open_volumes
from chunkflow.networks.weights import blank_network, load_model, write_model
from chunkflow.words import split_mip

Heard = Callable[[Check], None]


@dataclass(frozen=True)
class Training:
    """A network that was trained, and what it gives where it was judged."""

    path: Path
    """The model file."""
    document: ModelDocument
    checks: tuple[Check, ...]
    """All looks at the validation."""
    predicted: tuple[Predicted, ...]
    """What the best weights give over each region of the validation."""


def predict_over(
    recipe: NetworkRecipe, model: Path, regions: Sequence[JudgedRegion]
) -> tuple[Predicted, ...]:
    """What a model gives over regions, trained by this recipe."""
    network = load_model(model).network
    return tuple(Validation(recipe, network, regions).predict(network.state_dict()))


def regions_of(recipe: NetworkRecipe) -> list[JudgedRegion]:
    """The validation of a recipe."""
    return judged_regions(open_volumes(recipe))


def state_file(to: Path) -> Path:
    """Where the state of a training lies until the model is written."""
    return to.with_suffix(".training")


def fit_network(
    recipe: NetworkRecipe, to: Path, heard: Heard = lambda check: None, overwrite: bool = False
) -> Training:
    """Train a network and write its model file; one that was killed is gone on with."""
    refuse_model(to, ".safetensors", overwrite)
    volumes = open_volumes(recipe)
    network = first_network(recipe)
    validation = Validation(recipe, network, judged_regions(volumes))
    validation.refuse_nothing()
    examples = (CandidateExamples if recipe.judges else TrainingExamples)(recipe, volumes)
    data, known = data_fingerprint(recipe), training_fingerprint(recipe)
    fit = TrainingLoop(recipe, network, examples, validation, state_file(to), known, heard)
    best, checks = fit.run()
    network.load_state_dict(best)
    document = _described(recipe, checks, data, known)
    document = write_model(to, network.cpu(), document)
    predicted = validation.predict(best)
    state_file(to).unlink(missing_ok=True)
    return Training(to, document, tuple(checks), tuple(predicted))


def data_fingerprint(recipe: NetworkRecipe) -> str:
    """The same for the same images, truth and first model; of what lies in buckets the places count."""
    said = hashlib.sha256()
    for place in recipe.places:
        path = split_mip(place)[0].removeprefix("file://")
        said.update((place if "://" in path else fingerprint([path])).encode())
    return said.hexdigest()


def training_fingerprint(recipe: NetworkRecipe) -> str:
    """The same for the same recipe, data, and versions of chunkflow and torch."""
    said = f"{recipe.fingerprint} {data_fingerprint(recipe)} {chunkflow.__version__} {torch.__version__}"
    return hashlib.sha256(said.encode()).hexdigest()


def first_network(recipe: NetworkRecipe) -> Architecture:
    """The network before its first step: drawn by the seed, or that of the model `start`."""
    document = recipe.document
    blank_network(document, "The recipe", {})  # refuses what cannot be made
    kind = OURS[document.architecture]
    parameters = kind.Parameters.model_validate(document.parameters)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = kind(parameters, len(document.input.channels), len(document.outputs))
    if not recipe.start:
        return network
    model = load_model(recipe.start)
    _refuse_unlike(recipe, model.document)
    network.load_state_dict(model.network.state_dict())
    unknown = [name for name in recipe.freeze if not any(w.startswith(name) for w in network.state_dict())]
    if unknown:
        raise BadInput(f"freeze names {unknown[0]}, and no weight of {recipe.start} begins so.")
    return network


def _refuse_unlike(recipe: NetworkRecipe, started: ModelDocument) -> None:
    """Raise BadInput where the model that is begun with is another network."""
    own = recipe.document
    for what in ("architecture", "parameters", "input"):
        if getattr(own, what) != getattr(started, what):
            raise BadInput(
                f"{recipe.start} has another `{what}` than the recipe: take over its own "
                "(read_model, or `chunkflow model show`), or leave `start` out."
            )
    kinds = [[output.kind for output in document.outputs] for document in (own, started)]
    if kinds[0] != kinds[1]:
        raise BadInput(f"{recipe.start} has the outputs {kinds[1]}, and the truth of the recipe {kinds[0]}.")


def _described(recipe: NetworkRecipe, checks: list[Check], data: str, known: str) -> ModelDocument:
    """The document of the model, with the thresholds that the validation chose."""
    best = checks[best_check(checks)]
    document = recipe.document
    outputs = [
        output.model_copy(update={"threshold": threshold})
        for output, threshold in zip(document.outputs, best.thresholds or [None] * 256, strict=False)
    ]
    made = Making(
        seed=recipe.seed,
        steps=best.step,
        data=data,
        training=known,
        versions={"chunkflow": chunkflow.__version__, "torch": torch.__version__, "numpy": np.__version__},
        scores={"F1": round(best.score, 6)},
    )
    return document.model_copy(update={"outputs": tuple(outputs), "made": made})
