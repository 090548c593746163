"""Runs in igneous's own environment: `igneous_run.py WHAT LAYER`, prints the seconds it took."""

import sys
import time

import igneous.task_creation as tasks
from taskqueue import LocalTaskQueue

PROCESSES = 2


def mesh(layer: str) -> None:
    """Blocks of the size that chunkflow has, and files uncompressed as it writes them locally."""
    work = tasks.create_meshing_tasks(
        layer, 0, shape=(256, 256, 256), mesh_dir="mesh", spatial_index=False, compress=None
    )
    _run(work)
    _run(tasks.create_mesh_manifest_tasks(layer, magnitude=1, mesh_dir="mesh"))


def downsample(layer: str) -> None:
    """As it comes: with gzip."""
    _run(tasks.create_downsampling_tasks(layer, mip=0, num_mips=3, factor=(2, 2, 1)))


def downsample_uncompressed(layer: str) -> None:
    _run(tasks.create_downsampling_tasks(layer, mip=0, num_mips=3, factor=(2, 2, 1), compress=False))


WHAT = {"mesh": mesh, "downsample": downsample, "downsample_uncompressed": downsample_uncompressed}


def _run(work: object) -> None:
    with LocalTaskQueue(parallel=PROCESSES) as queue:
        queue.insert_all(work)


if __name__ == "__main__":
    begin = time.perf_counter()
    WHAT[sys.argv[1]](sys.argv[2])
    print(time.perf_counter() - begin)
