"""Optional packages: imported where they are first needed, each brought by an extra of chunkflow-ray."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from chunkflow.errors import BadInput

EXTRA_OF = {
    "skactiveml": "active",
    "SimpleITK": "correct",
    "crackle": "formats",
    "h5py": "formats",
    "imagecodecs": "formats",
    "nibabel": "formats",
    "pandas": "formats",
    "nd2": "microscopes",
    "pylibCZIrw": "microscopes",
    "readlif": "microscopes",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "safetensors": "cnn",
    "tensorboardX": "cnn",
    "torch": "cnn",
    "sqlalchemy": "service",
    "pg8000": "service",
    "googleapiclient": "gcp",
    "google_auth_httplib2": "gcp",
}
"""The extra that brings each optional package."""


def optional_import(module: str, purpose: str) -> Any:
    """Import a module of an optional package; raise BadInput where it is not installed, or does not load.

    `purpose` says what needs it, as in "Reading brain.nii".
    """
    try:
        return import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name in (module, module.partition(".")[0]):
            raise missing_package(module.partition(".")[0], purpose) from error
        # something that it needs itself is missing, as a library of the system
        raise BadInput(f"{purpose} needs the package {module}, which cannot be loaded: {error}.") from error


def missing_package(package: str, purpose: str) -> BadInput:
    """The error for an optional package that is not installed, with the pip line that brings it."""
    extra = EXTRA_OF[package]
    return BadInput(f"{purpose} needs the package {package}: pip install 'chunkflow-ray[{extra}]'.")
