"""The noise of a filter: what few bright objects, empty boxes and artefacts do not move."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.images.noise import noise_level, response_spread


@given(seed=st.integers(0, 1000), gain=st.integers(1, 50), offset=st.integers(-1000, 1000))
@settings(max_examples=20, deadline=None)
def test_spread_follows_the_gain_and_hardly_the_cells(seed: int, gain: int, offset: int) -> None:
    random = np.random.default_rng(seed)
    response = random.normal(0, 10, (16, 16, 16)).astype(np.float32)
    alone = response_spread(response)
    assert np.isclose(response_spread(response * gain + offset), gain * alone, rtol=1e-3)
    assert response_spread(response.ravel()[::-1]) == alone
    response.ravel()[:200] = 1e5
    assert abs(response_spread(response) - alone) < 0.12 * alone


def test_noise_is_the_middle_of_the_boxes_in_which_something_varies() -> None:
    assert noise_level([0.0, 3.0, 0.0, 5.0, 400.0, 0.0]) == 5.0
    assert noise_level([2.0, 4.0]) == 3.0
    assert noise_level([0.0, 0.0]) == 1.0
    assert noise_level([]) == 1.0
