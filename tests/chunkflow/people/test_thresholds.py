"""The chart of an automatic threshold: a bar for each step, those beyond the contrast marked."""

import re

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from chunkflow.kernels.images.threshold import PEAK_RATIO, SampledBlock, decide_threshold
from chunkflow.people.reports.thresholds import TAKEN, threshold_chart


@example([1.0, 19.0, 20.0, 23.0], 2.0**22)  # what is taken lies far below the noise
@given(
    st.lists(st.floats(2.0**-10, 2.0**16, width=32), min_size=1, max_size=60),
    st.sampled_from([0.0, 2.0**-12, 1.0, 100.0, 2.0**22]),
)
def test_every_peak_beyond_the_contrast_is_drawn_as_taken(heights: list[float], noise: float) -> None:
    decision = decide_threshold([SampledBlock(np.sort(np.array(heights, np.float32)), noise, noise)])
    assert decision.threshold > 0
    chart = threshold_chart(
        "segment",
        {
            "threshold": decision.threshold / PEAK_RATIO,
            "noise": decision.noise,
            "separability": decision.separability,
            "sampled_peaks": decision.peaks,
            "sampled_nuclei": decision.above,
            "histogram": {"first": decision.first, "counts": decision.counts},
        },
    )
    taken = re.findall(rf'fill="{TAKEN}"><title>[^:]*: ([\d,]+)<', chart)
    counted = sum(int(count.replace(",", "")) for count in taken)
    split = max(decision.counts)  # the step that the contrast lies in is not all taken
    assert decision.above - split <= counted <= decision.above
    assert f"{decision.above:,} of {decision.peaks:,} peaks reach the contrast" in chart
