# SPDX-License-Identifier: MIT
"""Tensors over memory that they do not own."""

import torch
from torch import Tensor


class _Borrowed:
    """Says where a tensor's memory is, in the terms by which array libraries exchange it; holds none of it."""

    def __init__(self, tensor: Tensor) -> None:
        self.__cuda_array_interface__ = {
            "shape": (tensor.numel() * tensor.element_size(),),
            "typestr": "|u1",
            "data": (tensor.data_ptr(), False),
            "version": 3,
        }


def without_owning(tensor: Tensor) -> Tensor:
    """The same memory, which goes back to its allocator once `tensor` itself is let go.

    Args:
        tensor: contiguous, on a CUDA device.
    """
    memory = torch.as_tensor(_Borrowed(tensor), device=tensor.device)
    return memory.view(tensor.dtype).view(tensor.shape)
