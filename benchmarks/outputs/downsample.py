"""Three mips of real labels by the mode, against igneous, both on two processes: as each comes (igneous
compresses, chunkflow does not on a disk), and both uncompressed."""

from __future__ import annotations

import numpy as np

from benchmarks.figure import Figure
from benchmarks.outputs.peers import igneous_seconds, real_labels, seconds_on_ray
from chunkflow.kernels.images.pooling import pool


def run() -> list[Figure]:
    with real_labels() as found:
        if found is None:
            print("downsample: the labels are not here; nothing measured.")
            return []
        folder, _ = found
        # Compiled once, on disk, before the clock starts.
        pool(np.zeros((2, 2, 2), np.uint32), (0, 0, 0), (2, 2, 1), "mode")
        layers = {"labels": str(folder / "labels"), "mips": str(folder / "mips")}
        task = {"downsample": {"layer": "labels", "target": "mips", "mips": 3, "factor": [2, 2, 1]}}
        ours = seconds_on_ray(folder, layers, [task], chunk=128)
        peer, uncompressed = (
            igneous_seconds(what, folder / "labels") for what in ("downsample", "downsample_uncompressed")
        )
        what = "downsample 512³ labels, 3 mips"
        return [
            Figure(f"{what}, as each comes", ours, "s", peer, "igneous", "lower", 1.5),
            Figure(f"{what}, uncompressed", ours, "s", uncompressed, "igneous", "lower", 1.5),
        ]


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
