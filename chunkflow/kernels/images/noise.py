"""How strongly a filter answers to what is everywhere in an image: its noise, in the image's own grey values.

1. In each box of a sample the spread of the response is its median absolute deviation: cells fill little of a
   box, so they move it hardly at all.
2. The noise is the median over the boxes, so neither crowded regions nor artefacts decide it. Boxes in which
   nothing varies, as outside of the tissue that was imaged, are left out.

A median picks a value, or halves the sum of two: nothing that depends on the order of voxels or on the CPU.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def response_spread(response: NDArray[Any]) -> float:
    """The median absolute deviation of the response in one box."""
    values = response.astype(np.float64)
    return float(np.median(np.abs(values - np.median(values))))


def noise_level(spreads: Sequence[float]) -> float:
    """The noise of a filter from the spreads in all boxes; 1 where nothing varies anywhere."""
    varied = [spread for spread in spreads if spread > 0]
    return float(np.median(varied)) if varied else 1.0
