"""The field of uneven light over an averaged image, by N4 (Tustison et al., IEEE TMI 29:1310, 2010).

N4 sharpens the histogram of the logarithm of an image, and fits what separates it from the sharpened one by a
B-spline of few control points, again and again, on meshes that become finer. It must see averages: picked
voxels carry all their noise into the estimate. The field's constant is arbitrary, so its mean is taken out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.extras import optional_import
from chunkflow.kernels.images.pooling import coarser, next_factor
from chunkflow.kernels.images.threshold import otsu

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Vec = tuple[int, int, int]

FLAT = 1e-6
"""Relative range of grey values within which an image counts as constant: N4 finds noise in it."""
TWO_CLASSES = 0.75
"""Share of the variance that is between two classes: as much as in values that are spread evenly, as a field
alone may spread them. Of a normal distribution it is 0.64."""


def averaging_factor(voxel_size: tuple[float, float, float], start: Vec, stop: Vec, most: int) -> Vec:
    """Powers of two by which voxels are averaged, near cubes in space, until at most `most` are left."""
    factor: Vec = (1, 1, 1)
    while True:
        first, last = coarser(start, stop, factor)
        x, y, z = (b - a for a, b in zip(first, last, strict=True))
        if x * y * z <= most:
            return factor
        size = [v * f for v, f in zip(voxel_size, factor, strict=True)]
        i, j, k = (f * n for f, n in zip(factor, next_factor(size, (x, y, z)), strict=True))
        factor = (i, j, k)


def above_background(image: Floats) -> Mask:
    """Voxels of the brighter of two classes, told apart by Otsu's threshold of the logarithm.

    Light multiplies: it moves both classes there, and leaves them as wide as they are, where of the grey
    values themselves it would take dim tissue for background. All above 0 are kept where there are no two
    classes: then all is tissue, and the threshold tells its structures, or bright cells.
    """
    positive = np.isfinite(image) & (image > 0)
    logarithm = np.log(np.where(positive, image, 1), dtype=np.float64)
    values = np.sort(logarithm[positive])
    level, separability = otsu(values) if len(values) > 1 else (0.0, 0.0)
    if separability < TWO_CLASSES:
        return np.asarray(positive)
    return np.asarray(positive & (logarithm >= level))


def fit_log_field(image: Floats, mask: Mask, levels: int, iterations: int) -> Floats:
    """Fit the logarithm of the field by which an image is too bright, of mean 0 over the mask.

    The mask must hold a voxel at least, and none that is 0 or less. One thread does it, as with two the last
    digits differ. Beyond the mask the field is no stronger than within.
    """
    seen = image[mask].astype(np.float64)
    if seen.max() <= seen.min() * (1 + FLAT):
        return np.zeros(image.shape, np.float32)
    fitted = _n4(np.where(mask, image, np.float32(1)), mask, levels, iterations)
    within = fitted[mask].astype(np.float64)
    return np.asarray(np.clip(fitted, within.min(), within.max()) - within.mean(), np.float32)


def _n4(image: Floats, mask: Mask, levels: int, iterations: int) -> Floats:
    """The logarithm of N4's field; axes of one voxel, along which it has no mesh, are made of two."""
    itk = import_n4()
    double = [2 if n == 1 else 1 for n in image.shape]
    whole = tuple(slice(0, n) for n in image.shape)
    grey, label = (
        itk.GetImageFromArray(np.ascontiguousarray(np.kron(array, np.ones(double, array.dtype)).T))
        for array in (image, mask.astype(np.uint8))
    )
    with _one_thread(itk):
        corrector = itk.N4BiasFieldCorrectionImageFilter()
        corrector.SetNumberOfThreads(1)
        corrector.SetMaximumNumberOfIterations([iterations] * levels)
        corrector.Execute(grey, label)
        field = itk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(grey))
    return np.asarray(field.T[whole], np.float32)


def import_n4() -> Any:
    """SimpleITK, which brings N4; BadInput with the pip line where it is not installed."""
    return optional_import("SimpleITK", "Fitting a field of uneven light")


@contextmanager
def _one_thread(itk: Any) -> Iterator[None]:
    """One thread for all filters, as N4 makes others of its own."""
    before = itk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    itk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        itk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
