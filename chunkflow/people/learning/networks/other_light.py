"""The test of a trained network in another light: the same voxels, as another microscope might give them."""

from __future__ import annotations

from pathlib import Path

from chunkflow.networks.document import ModelDocument
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.people.learning.networks.scores import NetworkScores, count_mistakes, score_mistakes
from chunkflow.people.reports.pages import heading, paragraph, table


def score_in_other_light(recipe: NetworkRecipe, model: Path, document: ModelDocument) -> NetworkScores:
    """Scores on the validation in another light: normalisation decided anew, the thresholds as they are."""
    from chunkflow.networks.training.other_light import OtherLight
    from chunkflow.networks.training.regions import judged_regions
    from chunkflow.networks.training.training import predict_over
    from chunkflow.networks.training.volumes import open_volumes

    judged = tuple(volume for volume in recipe.volumes if volume.validation) or recipe.volumes
    volumes = open_volumes(recipe.model_copy(update={"volumes": judged}), light=OtherLight())
    predicted = predict_over(recipe, model, judged_regions(volumes))
    return score_mistakes([count_mistakes(recipe, document, predicted)])


def light_parts(scores: NetworkScores, other_light: NetworkScores) -> list[str]:
    """What the page says of it."""
    from chunkflow.networks.training.other_light import OtherLight

    light = OtherLight()
    fall = 2 * light.slope / (1 + light.slope)
    rows = [
        [name, *(f"{value:.3f}" for value in found.values.values()), str(found.intervals["F1"])]
        for name, found in (("as it is", scores), ("in another light", other_light))
    ]
    return [
        heading("In another light"),
        paragraph(
            "The same voxels as another microscope might have given them: grey values times "
            f"{light.gain:g}, plus {100 * light.offset:.0f} % of the background; light that falls by "
            f"{100 * fall:.0f} % along each axis; and noise of {light.noise:g} times the image's own added. "
            "Images are normalised anew, as those of another brain would be, and thresholds stay. Where the "
            "score falls far, try another `normalise`, or more of `augment`."
        ),
        table(["image", "F1", "precision", "recall", "F1, 95 % certain"], rows),
    ]
