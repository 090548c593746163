"""Random numbers that are a function of a key and a place, not of an order: counters hashed by splitmix64."""

from typing import Any

import numpy as np

from chunkflow.kernels.compiled import compiled

_STEP = 0x9E3779B97F4A7C15  # the odd step of splitmix64


@compiled
def mix(bits: Any) -> Any:
    """The finalizer of splitmix64: every bit of the input reaches every bit of the answer."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@compiled
def hash_of(key: Any, n: Any) -> Any:
    return mix(key + np.uint64(n) * np.uint64(_STEP))


@compiled
def hash_of_place(key: Any, x: Any, y: Any, z: Any) -> Any:
    return hash_of(hash_of(hash_of(key, z), y), x)


@compiled
def draw(key: Any, n: Any, low: Any, high: Any) -> Any:
    """The nth number of a key, from `low` up to, not including, `high`."""
    share = (hash_of(key, n) >> np.uint64(32)) * np.uint64(high - low)
    return low + np.int64(share >> np.uint64(32))


@compiled
def bell(bits: Any) -> Any:
    """A whole number from the lowest 32 bits, near to normal, middle 0, deviation 148, at most 510 off: four
    bytes added up."""
    total = np.int64(0)
    for byte in range(4):
        total += np.int64(bits >> np.uint64(8 * byte) & np.uint64(255))
    return total - 510
