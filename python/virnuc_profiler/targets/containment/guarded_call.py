# SPDX-License-Identifier: MIT
"""Calls of foreign code that must not end this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from virnuc_profiler.errors import TargetError, first_line


@contextmanager
def guarded_call(name: str) -> Iterator[None]:
    """Let errors and Ctrl-C pass, and turn whatever else foreign code raises into an error.

    Args:
        name: Target as the user named it.

    Raises:
        TargetError: The block called ``sys.exit()``, or raised what is neither an error nor Ctrl-C.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise TargetError(f"{name} called sys.exit({'' if error.code is None else repr(error.code)})") from None
    except BaseException as error:
        raise TargetError(f"{name} raised {type(error).__name__}: {first_line(error)}") from None
