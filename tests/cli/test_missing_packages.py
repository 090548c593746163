"""Without the packages of an extra a command says which is missing, exits with 2 and writes nothing; all that
needs none of them goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from tests.support.commands import Command, job_document
from tests.support.files.stack_files import ZYX, write_h5, write_imaris, write_nifti
from tests.support.jobs import hide_package, read_layer

OPTIONAL = ("crackle", "h5py", "imagecodecs", "nibabel", "nd2", "pylibCZIrw", "readlif", "googleapiclient")
MAIN = f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL})); from cli.main import main; main()"


def make_sources(lab: Path) -> None:
    write_nifti(lab / "a.nii", ZYX.T)
    write_h5(lab / "a.h5", raw=ZYX)
    write_imaris(lab / "a.ims", ZYX[None], ["dapi"])
    write_h5(lab / "marked.h5", x=np.ones(3), y=np.ones(3), z=np.ones(3))
    (lab / "marked.csv").write_text("x,y,z\n1,2,3\n")
    info = json.loads((lab / "dapi" / "info").read_text())
    info["scales"][0]["encoding"] = "jxl"
    (lab / "shared").mkdir()
    (lab / "shared" / "info").write_text(json.dumps(info))


def make_job(lab: Path, **layers: object) -> None:
    document = job_document()
    document["layers"] = {**dict(document["layers"]), **layers}  # type: ignore[call-overload]
    (lab / "job.yaml").write_text(yaml.safe_dump(document))


def names_in(lab: Path) -> set[str]:
    return {path.name for path in lab.iterdir()}


@pytest.mark.parametrize(
    ("words", "package", "purpose"),
    [
        ("ingest a.nii made", "nibabel", "Reading {lab}/a.nii"),
        ("ingest a.h5 made", "h5py", "Reading {lab}/a.h5"),
        ("ingest a.ims made", "h5py", "Reading {lab}/a.ims"),
        ("import marked.h5 made --like dapi", "h5py", "Reading marked.h5"),
        ("export dapi --to a.nii.gz", "nibabel", "Writing NIfTI files"),
        ("export cells --to cells.nii", "nibabel", "Writing NIfTI files"),
        ("export marked --to made.h5", "h5py", "Writing HDF5 files"),
    ],
)
def test_a_file_format_without_its_package_is_refused(
    lab: Path, command: Command, monkeypatch: pytest.MonkeyPatch, words: str, package: str, purpose: str
) -> None:
    make_sources(lab)
    assert command("import", "marked.csv", "marked", "--like", "dapi").code == 0
    before = names_in(lab)
    hide_package(monkeypatch, package)
    said = command(*words.split())
    needed = f"{purpose.format(lab=lab)} needs the package {package}"
    assert said.err == f"{needed}: pip install 'chunkflow-ray[formats]'.\n"
    assert said.code == 2
    assert names_in(lab) == before


@pytest.mark.parametrize(
    ("layer", "named", "encoding", "package"),
    [
        ("nuclei", "nuclei", "crackle", "crackle"),
        ("dapi", "file://{lab}/shared", "jxl", "imagecodecs"),
    ],
)
def test_a_layer_without_its_codec_is_refused_before_the_job_begins(
    lab: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    layer: str,
    named: str,
    encoding: str,
    package: str,
) -> None:
    make_sources(lab)
    make_job(lab, **{layer: {"url": "nuclei", "encoding": "crackle"} if layer == "nuclei" else "shared"})
    hide_package(monkeypatch, package)
    said = command("run", "job.yaml", "--serial")
    assert said.code == 2
    assert said.err == (
        f"The layer {named.format(lab=lab)}, as it is stored as {encoding}, needs the package {package}: "
        "pip install 'chunkflow-ray[formats]'.\n"
    )
    assert not (lab / "work").exists()
    assert not (lab / "nuclei").exists()


def test_uneven_light_without_simpleitk_is_refused(
    lab: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names_in(lab)
    hide_package(monkeypatch, "SimpleITK")
    said = command("correct", "dapi", "--corrected", "even", "--serial")
    assert said.err.startswith(
        "Fitting a field of uneven light needs the package SimpleITK: pip install 'chunkflow-ray[correct]'."
    )
    assert said.code == 2
    assert names_in(lab) == before


def without_extras(folder: Path, words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as codecs are looked for when tifffile is imported."""
    return subprocess.run(
        [sys.executable, "-c", MAIN, *words.split()], cwd=folder, capture_output=True, text=True
    )


def test_a_tiff_whose_compression_needs_a_codec_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ZYX, compression="lzw")
    ran = without_extras(tmp_path, "ingest a.tif made --voxel-size 1,1,1um --serial")
    assert ran.stderr == (
        f"Reading {tmp_path}/a.tif, as it is compressed, needs the package imagecodecs: "
        "pip install 'chunkflow-ray[formats]'.\n"
    )
    assert ran.returncode == 2
    assert names_in(tmp_path) == {"a.tif"}


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_that_needs_no_codec_is_read_without_any_extra(
    tmp_path: Path, compression: str | None
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ZYX, compression=compression)
    ran = without_extras(tmp_path, "ingest a.tif made --voxel-size 1,1,1um --serial")
    assert ran.returncode == 0, ran
    assert np.array_equal(read_layer(tmp_path / "made"), ZYX.T)
