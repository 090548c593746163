"""Cells found on eleven real light-sheet volumes with the diameter alone, by volume, beside other rules.

A detection and a cell of the truth are paired one to one within 10 µm, as many as there can be. The other
rules: Otsu's threshold (scikit-image) of the heights of the same peaks; twelve times the noise (the median
absolute deviation of the response); cellfinder's detector with the diameter given and all else as it comes.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from benchmarks.figure import Figure
from benchmarks.outputs.peers import CELLFINDER, peer_python
from chunkflow.kernels.images.gaussian import blob_sigma, difference_of_gaussians
from testbed.detection import TISSUES, VOXEL_NM, Peaks, Tissue, f1_score, found_by_segment, micrometres

NOISE_MULTIPLE = 12.0


def run() -> list[Figure]:
    if not all(tissue.path.exists() for tissue in TISSUES):
        print("detection: the real volumes are not here; nothing measured.")
        return []
    found = {tissue.name: scores(tissue) for tissue in TISSUES}
    figures = [
        Figure(f"{name}, {rule}", round(score, 3), "F1")
        for name, of in found.items()
        for rule, score in of.items()
    ]
    means = {rule: float(np.mean([of[rule] for of in found.values()])) for rule in next(iter(found.values()))}
    auto, best = means["auto"], means["best single threshold, truth in hand"]
    figures += [
        Figure(f"mean over {len(found)} brains, auto", round(auto, 3), "F1", round(score, 3), rule)
        for rule, score in means.items()
        if rule != "auto"
    ]
    lacks = Figure(
        "what auto lacks of the best, mean", round(best - auto, 3), "F1", better="lower", target=0.03
    )
    return [*figures, lacks]


def scores(tissue: Tissue) -> dict[str, float]:
    """The F1 of each rule on one volume."""
    image, truth = tissue.load()
    peaks = Peaks.of(image, truth, tissue.diameter)
    response = difference_of_gaussians(image, blob_sigma(tissue.diameter * 1000, VOXEL_NM))
    noise = float(np.median(np.abs(response - np.median(response))))
    return {
        "best single threshold, truth in hand": peaks.best,
        "auto": f1_score(found_by_segment(image, tissue.diameter)[0], truth),
        "Otsu (scikit-image)": peaks.score(float(threshold_otsu(peaks.heights))),
        f"{NOISE_MULTIPLE:g} x noise": peaks.score(NOISE_MULTIPLE * noise),
        "cellfinder": f1_score(found_by_cellfinder(image, tissue.diameter), truth),
    }


def found_by_cellfinder(image: NDArray[Any], diameter: float) -> NDArray[np.float64]:
    """The places that cellfinder finds, in micrometres."""
    script = Path(__file__).with_name("cellfinder_run.py")
    with tempfile.TemporaryDirectory() as folder:
        source, found = f"{folder}/image.npy", f"{folder}/found.npy"
        np.save(source, image)
        command = [str(peer_python(CELLFINDER)), str(script), source, str(diameter), found]
        subprocess.run(command, check=True, capture_output=True)
        return micrometres(np.load(found))


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
