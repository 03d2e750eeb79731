# SPDX-License-Identifier: MIT
"""fair-esm's checkpoints in the cache of PyTorch's hub, and their download into it."""

from __future__ import annotations

from http.client import HTTPException
from pathlib import Path
from typing import Final

import torch

from virnuc_profiler.errors import ModelError

_DOWNLOAD_URL: Final = "https://dl.fbaipublicfiles.com/fair-esm/models/{name}.pt"


def cached_checkpoint(model_name: str) -> Path:
    """Return where PyTorch's hub caches a model's checkpoint, whether or not it exists."""
    return Path(torch.hub.get_dir()) / "checkpoints" / f"{model_name}.pt"


def download_checkpoint(model_name: str) -> Path:
    """Download a checkpoint from fair-esm's server into the hub's cache; return its path.

    fair-esm's own function unpickles whatever it receives; this one only stores the file.

    Args:
        model_name: Full name of the model.

    Raises:
        ModelError: The checkpoint cannot be downloaded or stored.
    """
    url, path = _DOWNLOAD_URL.format(name=model_name), cached_checkpoint(model_name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except (OSError, HTTPException) as error:
        raise ModelError(
            f"the weights of {model_name} could not be downloaded from {url} ({error}): put the file at {path} "
            "yourself, or use --weights random (in Python: weights='random'), which is enough for timings"
        ) from error
    return path
