# SPDX-License-Identifier: MIT
"""Say why a file of weights is broken, and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

_POINTER: Final = b"version https://git-lfs.github.com/"
"""Beginning of the text that a git clone without Git LFS holds in the place of a large file."""


def advice_on(path: Path) -> str:
    """Return what to do about a broken file, after a colon; nothing if that is not known.

    Args:
        path: Path of the file.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                return ": it is only a pointer to the real file, which 'git lfs pull' fetches"
    except OSError:
        return ""
    cached = path.resolve().is_relative_to(Path(torch.hub.get_dir()).resolve())
    return ": delete it and download it again" if cached else ""
