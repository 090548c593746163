"""Decorators that compile a function with numba, and keep its type.

Without fastmath, and cached on disk: a worker that starts does not compile again.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile `function` for one thread; it gives up the GIL."""
    one_thread: Function = njit(nogil=True, cache=True)(function)
    return one_thread


def compiled_parallel(function: Function) -> Function:
    """Compile `function`, its `prange` loops over all threads that numba has."""
    many_threads: Function = njit(nogil=True, cache=True, parallel=True)(function)
    return many_threads
