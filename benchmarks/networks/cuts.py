"""What a cut into cells changes in a network's output, by chunkflow and by MONAI's sliding window.

Both are held against their own answer for the whole volume, by the same network, whose patches share half of
each side; the grey levels are those of uint8. `ours` is a whole job, once by cells and once in a single one.
MONAI is given each cell with a halo of half a patch, and the volume's own normalisation.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from cloudvolume import CloudVolume
from monai.inferers import sliding_window_inference
from torch import nn

from benchmarks.figure import Figure
from benchmarks.networks import blobs
from chunkflow.api import Job
from chunkflow.geometry import Box, Grid, Vec
from chunkflow.networks.weights import load_model
from tasks import Infer

SHAPE: Vec = (96, 96, 48)
CELL: Vec = (33, 41, 48)
PATCH = 48
HALO: Vec = (PATCH // 2, PATCH // 2, PATCH // 2)
MODES = ("constant", "gaussian")
SPAN = 200
"""Grey levels that the network's output must go through, or a cut has little to change."""

Levels = npt.NDArray[np.uint8]


def run() -> list[Figure]:
    torch.set_num_threads(1)
    image, _ = blobs.volume(SHAPE, 4)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "net.safetensors"
        blobs.model(model, (PATCH, PATCH, PATCH))
        store(image, f"{folder}/image")
        whole = by_chunkflow(folder, SHAPE)
        cut = by_chunkflow(folder, CELL)
        network = load_model(model).network
    span = int(whole.max()) - int(whole.min())
    figures = [Figure("grey levels that the network's output spans", span, "of 255", target=SPAN)]
    scores = blobs.z_scores(image)
    for mode in MODES:
        peer = by_monai(network, scores, mode), by_monai_in_cells(network, scores, mode)
        figures += compare(mode, (whole, cut), peer)
    return figures


def compare(mode: str, ours: tuple[Levels, Levels], theirs: tuple[Levels, Levels]) -> list[Figure]:
    """The share of voxels that a cut changes, and by how much at most."""
    what, peer = f"cells of {' x '.join(map(str, CELL))}", f"MONAI, {mode}"
    mine, other = (np.abs(whole.astype(int) - cut) for whole, cut in (ours, theirs))
    shares = 100 * float((mine > 0).mean()), round(100 * float((other > 0).mean()), 1)
    most = int(mine.max()), int(other.max())
    return [
        Figure(f"{what}: voxels changed", shares[0], "%", shares[1], peer, "lower", 0),
        Figure(f"{what}: largest change", most[0], "of 255", most[1], peer, "lower", 0),
    ]


def store(image: blobs.Image, url: str) -> None:
    """Write a volume as a layer."""
    CloudVolume.from_numpy(
        image,
        vol_path=f"file://{url}",
        resolution=blobs.VOXEL_NM,
        chunk_size=(32, 32, 16),
        layer_type="image",
        compress=False,
        progress=False,
    )


def by_chunkflow(folder: str, cell: Vec) -> Levels:
    """The output of a job in cells of this size."""
    name = "x".join(map(str, cell))
    job = Job(
        name="infer",
        work=f"{folder}/work-{name}",
        chunk=cell,
        storage=cell,
        layers={"image": f"{folder}/image", "made": f"{folder}/made-{name}"},
        tasks=[
            Infer.model_validate({"images": ["image"], "model": f"{folder}/net.safetensors", "made": "made"})
        ],
    )
    made: Levels = job.run(workers=0).volume("made")[:]
    return made.reshape(SHAPE)


def by_monai(network: nn.Module, scores: npt.NDArray[np.float32], mode: str) -> Levels:
    """The output of sliding windows over an array."""
    with torch.inference_mode():
        given = torch.from_numpy(np.ascontiguousarray(scores))[None, None]
        made = sliding_window_inference(
            given, PATCH, 1, lambda windows: torch.sigmoid(network(windows)), overlap=0.5, mode=mode
        )
        levels: Levels = (made[0, 0] * 255 + 0.5).to(torch.uint8).numpy()
    return levels


def by_monai_in_cells(network: nn.Module, scores: npt.NDArray[np.float32], mode: str) -> Levels:
    """The same cell by cell, each with a halo of half a patch as far as the volume goes."""
    volume = Box.of_size(SHAPE)
    made = np.empty(SHAPE, np.uint8)
    grid = Grid.chunks(volume, CELL)
    for box in map(grid.box, range(len(grid))):
        halo = box.grow(HALO).clip(volume)
        found = by_monai(network, scores[halo.slices((0, 0, 0))], mode)
        made[box.slices((0, 0, 0))] = found[box.slices(halo.start)]
    return made


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
