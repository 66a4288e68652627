"""One thread for numpy's own matrix products, so that whole slices can be computed side by side instead."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np


@contextmanager
def one_blas_thread() -> Iterator[bool]:
    """Inside, OpenBLAS (which numpy's wheels bring) uses one thread. Yields whether that could be arranged.

    Its threads wait for each other by spinning: on a busy machine a product of many small matrices takes ten times
    as long, and copies between the products stay on one core anyway. The method is that of the threadpoolctl package.
    """
    functions = _openblas()
    if functions is None:
        yield False
        return
    get, set_ = functions
    before = get()
    set_(1)
    try:
        yield True
    finally:
        set_(before)


@cache
def _openblas() -> tuple | None:
    """(get, set) number of threads of the OpenBLAS that numpy has loaded, or None (Accelerate, MKL, system builds)."""
    package = Path(np.__file__).parent
    for path in [*package.parent.glob("numpy.libs/*openblas*"), *package.glob(".dylibs/*openblas*")]:
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        for pattern in ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}"):
            if hasattr(library, pattern.format("set_num_threads")):
                return tuple(getattr(library, pattern.format(name)) for name in ("get_num_threads", "set_num_threads"))
    return None
