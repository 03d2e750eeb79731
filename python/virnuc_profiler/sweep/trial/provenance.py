# SPDX-License-Identifier: MIT
"""Describe the machine, software and model of a run, as every result file records them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virnuc_profiler import __version__
from virnuc_profiler.analysis.projection.length_strata import strata_of
from virnuc_profiler.inference.sequences.fasta import FastaFile
from virnuc_profiler.sweep.plan.conditions import Conditions
from virnuc_profiler.sweep.plan.request import Request
from virnuc_profiler.sweep.plan.sample import Sample
from virnuc_profiler.sweep.plan.workload import token_counts
from virnuc_profiler.targets.knobs.configuration import BUILTIN_KNOBS, KnobSet

_PACKAGES: Final = ("fair-esm", "flash-attn", "numpy")


@cache
def machine_description() -> dict[str, Any]:
    """Return the description of the hardware. Cached, as querying the driver for each configuration is too slow."""
    from virnuc_profiler.capture.hardware import capture_hardware_info

    return capture_hardware_info()


@cache
def software_versions() -> dict[str, str | None]:
    """Return the versions of this package, Python and the libraries that compute; None for a missing package."""
    import torch

    return {
        "virnuc_profiler": __version__,
        "python": platform.python_version(),
        **{package.replace("-", "_"): _version(package) for package in _PACKAGES},
        "torch": torch.__version__,  # has the build suffix that the package metadata may lack
        "cuda": torch.version.cuda,
    }


def model_description(model: Any) -> dict[str, Any]:
    """Return a model's ``info`` as a dict, or only the name of its type if it has no ``info``."""
    info = getattr(model, "info", None)
    return {"model_name": type(model).__name__} if info is None else asdict(info)


def conditions_of(
    request: Request,
    model: Mapping[str, Any],
    device_name: str,
    versions: Mapping[str, str | None],
    knobs: KnobSet = BUILTIN_KNOBS,
) -> Conditions:
    """Return the conditions of results that are measured in this process.

    Args:
        request: What was asked for.
        model: Description of the model or target.
        device_name: Product name of the device.
        versions: Versions of the software, by name.
        knobs: Knobs of the target.
    """
    return Conditions(
        machine=machine_description(),
        versions=versions,
        model=model,
        settings={
            "device": str(request.device),
            "device_name": device_name,
            "device_memory_gb": request.device_memory_gb,
            "host": platform.node(),
            "cooldown_s": request.cooldown_s,
            "timeout_s": request.timeout_s,
            "seed": request.seed if request.fasta is None else request.sample_seed,
            "try_all": request.try_all,
            "min_cosine": request.min_cosine,
            "precision_target": request.precision_target,
            "trial_seconds": request.trial_seconds,
            "warm_up": True,
            "isolation": "none",
        },
        knobs=knobs,
    ).with_varied(request.varied)


def workload_description(
    fasta: FastaFile, fingerprint: str, positions: NDArray[np.int64], sample: Sample | None
) -> dict[str, Any]:
    """Return the description of the sequences of a run.

    Args:
        fasta: Their file.
        fingerprint: Fingerprint of the file when the run began.
        positions: (n,) positions of the sequences in the file.
        sample: Sample that the positions are from; None if they are the first ones.
    """
    tokens = token_counts(fasta, positions)
    return {
        "path": str(fasta.path),
        "fingerprint": fingerprint,
        "num_sequences": len(positions),
        "tokens": int(tokens.sum()),
        "sequences_in_file": len(fasta),
        "skipped_records": fasta.skipped if fasta.skip_invalid else None,
        "findings": [finding.to_json() for finding in fasta.findings],
        **({} if sample is None else sample.facts()),
        "length_strata": strata_of(tokens).to_json(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
