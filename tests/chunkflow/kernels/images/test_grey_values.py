"""Statistics of a sample: against numpy, exact, and without a fault where nothing varies."""

from fractions import Fraction
from math import sqrt
from typing import Any

import numpy as np
import pytest

from chunkflow.kernels.images.grey_values import in_units, mean_and_deviation, percentiles_of

DTYPES = [np.uint8, np.uint16, np.int16, np.uint32, np.float32]


def values_of(dtype: Any, count: int = 5000) -> np.ndarray:
    random = np.random.default_rng(2)
    return (random.gamma(2.0, 40.0, count)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_percentiles_are_those_of_numpy(dtype: Any) -> None:
    values = values_of(dtype)
    percents = (0.0, 1.0, 33.3, 50.0, 99.9, 100.0)
    assert percentiles_of(values, percents) == pytest.approx(np.percentile(values.astype(float), percents))
    assert percentiles_of(values[::-1], percents) == percentiles_of(values, percents)
    assert percentiles_of(values[:1], percents) == [float(values[0])] * 6


@pytest.mark.parametrize("dtype", DTYPES)
def test_mean_and_deviation_are_those_of_numpy(dtype: Any) -> None:
    values = values_of(dtype)
    found = mean_and_deviation(np.split(values, [100, 100, 3000]))
    assert found == pytest.approx((values.mean(dtype=np.float64), values.std(dtype=np.float64)), rel=1e-12)


def test_sums_of_small_integers_are_exact() -> None:
    values = np.full(10**6, 65535, np.uint16)
    values[::3] = 65534
    ones = Fraction(int((values == 65535).sum()), len(values))
    mean, deviation = mean_and_deviation([values[:7], values[7:]])
    assert (mean, deviation) == (float(65534 + ones), sqrt(ones * (1 - ones)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_grey_value_has_no_spread(dtype: Any) -> None:
    values = np.full(12345, 0.1 if dtype is np.float32 else 77, dtype)
    mean, deviation = mean_and_deviation([values[:5], values[5:]])
    assert (mean, deviation) == (float(values[0]), 0.0)


def test_an_empty_sample_is_zero() -> None:
    assert mean_and_deviation([np.zeros(0, np.float32)]) == (0.0, 0.0)
    assert percentiles_of(np.zeros(0, np.uint8), (1, 99)) == [0.0, 0.0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_units_are_counted_in_double_precision_and_rounded_once(dtype: Any) -> None:
    values = np.asfortranarray(values_of(dtype).reshape(20, 25, 10))[3:, ::2, 1:9]
    found = in_units(values, 12.3, 0.7)
    assert found.flags.f_contiguous
    assert (found == ((values.astype(np.float64) - 12.3) / 0.7).astype(np.float32)).all()
