# SPDX-License-Identifier: MIT
"""Pinned memory of a device that is lost: it must never be freed.

PyTorch frees pinned memory by recording an event on each stream that has used it. After a CUDA error that does not go
away every such call fails, and it fails inside of a destructor: the process is aborted before it can say what
happened (seen with PyTorch 2.11, ``CUDAEvent.h``).
"""

import ctypes


def keep_for_ever(*owners: object) -> None:
    """Keeps objects, and so the memory that they hold, until the process ends; Python does not free them even then."""
    for owner in owners:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))
