# SPDX-License-Identifier: MIT
"""The options of ``embed``, and what they mean together with a sweep's configuration or an earlier job."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from virnuc_profiler.cli.options.arguments import DEVICES, device_name, file_path, model_name, number, reader, whole
from virnuc_profiler.cli.options.live_options import add_metrics_option, add_quiet_option
from virnuc_profiler.errors import TelemetryFormatError, UsageError
from virnuc_profiler.inference.esm2.config import resolve_model_name
from virnuc_profiler.targets.knobs.configuration import BASELINE, BUILTIN_KNOBS, Configuration

if TYPE_CHECKING:
    from virnuc_profiler.embed.job import EmbedJob
    from virnuc_profiler.sweep.results.document import BestConfiguration

FORMATS: Final = ("parquet", "safetensors")
DTYPES: Final = ("fp32", "fp16")
_KNOBS: Final = ("num_workers", "prefetch_factor", "token_budget", "buffer_size")


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """What ``embed`` is asked for.

    Attributes:
        fasta: File of the sequences.
        folder: Folder of the job.
        model: Full name of the model.
        weights: ``auto``, ``pretrained``, ``random`` or a path.
        precision: Precision; None for the usual one of the device.
        configuration: Values of the knobs.
        format: Format of the files.
        dtype: Type of the vectors' numbers on disk.
        per_residue: Whether the vectors of residues are written too.
        skip_invalid: Whether records that are not valid are left out.
        config: Where the configuration comes from; None if from the options.
        measured: What the time is predicted from; None if nothing was named.
        notices: What was taken from where, in sentences.
    """

    fasta: Path
    folder: Path
    model: str
    weights: str
    precision: str | None
    configuration: Configuration
    format: str
    dtype: str
    per_residue: bool
    skip_invalid: bool
    config: Path | None
    measured: Path | None
    notices: tuple[str, ...]


def add_embed_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    job = parser.add_argument_group("job")
    job.add_argument("--fasta", type=file_path, metavar="FILE", help="your sequences, plain or compressed")
    job.add_argument("--output-dir", type=file_path, metavar="DIR", help="folder of the vectors")
    job.add_argument(
        "--resume", type=file_path, metavar="DIR",
        help="continue the job in this folder with the options that it was begun with; the same command again does so "
        "too",
    )  # fmt: skip
    job.add_argument(
        "--config", type=file_path, metavar="PATH",
        help="take model, precision and configuration from best_config.json, or from the folder of its sweep",
    )  # fmt: skip
    job.add_argument(
        "--skip-invalid", action="store_true", default=None, help="leave out records of the file that are not valid"
    )
    job.add_argument(
        "--shards", type=whole(1), metavar="N",
        help="number of shards, which are written, recorded and resumed as a whole (default: by size and cost)",
    )  # fmt: skip
    job.add_argument(
        "--run", dest="measured", type=file_path, metavar="PATH",
        help="predict the time from this saved run, sweep, or folder of an earlier embed job (default: from --config)",
    )  # fmt: skip
    job.add_argument(
        "--dry-run", action="store_true",
        help="show shards, disk space and time, and write nothing; with --gpus 8,64,512, the time on each number of "
        "GPUs",
    )  # fmt: skip
    model = parser.add_argument_group("model")
    model.add_argument("--model", type=model_name, metavar="NAME", help="8M, 35M, 150M, 650M, 3B, 15B or a full name")
    model.add_argument(
        "--weights", metavar="auto|random|pretrained|PATH",
        help="auto: from PyTorch's hub cache; pretrained: download if absent; random: for tests only (default: auto)",
    )  # fmt: skip
    model.add_argument(
        "--min-cosine", type=number(at_least=-1, at_most=1), metavar="X",
        help="lowest cosine similarity of fp8 vectors to bf16 and fp32 ones (default: 0.99)",
    )  # fmt: skip
    model.add_argument("--device", type=device_name, default="auto", metavar=DEVICES, help="device (default: auto)")
    knobs = parser.add_argument_group("configuration")
    for name in (*_KNOBS, "precision"):
        knob = BUILTIN_KNOBS[name]
        (model if knob.needs_new_model else knobs).add_argument(
            knob.option, type=reader(knob.parse), metavar=knob.metavar, help=knob.full_help(knob.text(knob.default))
        )
    output = parser.add_argument_group("output")
    output.add_argument("--format", choices=FORMATS, help="format of the files (default: parquet)")
    output.add_argument("--dtype", choices=DTYPES, help="type of the vectors' numbers on disk (default: fp32)")
    output.add_argument(
        "--per-residue", action="store_true", default=None, help="also write the vectors of residues, in safetensors"
    )
    output.add_argument(
        "--trust-sizes", action="store_true",
        help="on resume, compare only the sizes of finished files, and not their checksums",
    )  # fmt: skip
    add_metrics_option(output)
    add_quiet_option(parser)
    parser.add_argument("--debug", action="store_true", help="log everything, and show tracebacks")


def embed_request(arguments: argparse.Namespace) -> EmbedRequest:
    """Return what is asked for, from the options, the job that is resumed, and a sweep's configuration.

    Raises:
        UsageError: Options are missing or contradict each other, the configuration or the job.
        TelemetryFormatError: A file that they name cannot be read.
    """
    from virnuc_profiler.embed.job import read_job

    folder = _folder(arguments)
    earlier = read_job(folder) if arguments.resume is not None else None
    if arguments.resume is not None and earlier is None:
        raise UsageError(f"--resume {folder} holds no embed job (it has no job.json)")
    notices = []
    found: dict[str, Any] = {}
    if earlier is not None:
        found = _of_job(earlier)
    path = None
    if arguments.config is not None:
        path, best = _read_config(arguments.config)
        taken = _of_config(path, best)
        _require_agreement(arguments, taken, path)
        found |= {name: value for name, value in taken.items() if earlier is None or name in _KNOBS}
        notices.append(f"From {path}: {', '.join(f'{name}={value}' for name, value in taken.items())}")
    given = {name: value for name in _OPTIONS if (value := getattr(arguments, name)) is not None}
    values = {**_DEFAULTS, **{name: getattr(BASELINE, name) for name in _KNOBS}, **found, **given}
    if path is not None and (changed := [name for name in _KNOBS if name in given]):
        notices.append(f"From the options instead: {', '.join(f'{name}={given[name]}' for name in changed)}")
    if values["fasta"] is None:
        raise UsageError("--fasta FILE is missing: name the file of sequences")
    if values["model"] is None:
        raise UsageError("--model is missing: name the model, such as 650M, or give the --config of a sweep")
    return EmbedRequest(
        fasta=values["fasta"],
        folder=folder,
        model=values["model"],
        weights=values["weights"],
        precision=values["precision"],
        configuration=Configuration(**{name: values[name] for name in _KNOBS}),
        format=values["format"],
        dtype=values["dtype"],
        per_residue=values["per_residue"],
        skip_invalid=values["skip_invalid"],
        config=path,
        measured=arguments.measured or path,
        notices=tuple(notices),
    )


_DEFAULTS: Final[Mapping[str, Any]] = {
    "fasta": None,
    "model": None,
    "weights": "auto",
    "precision": None,
    "format": "parquet",
    "dtype": "fp32",
    "per_residue": False,
    "skip_invalid": False,
}
_OPTIONS: Final = (*_DEFAULTS, *_KNOBS)


def _folder(arguments: argparse.Namespace) -> Path:
    folder: Path | None = arguments.resume or arguments.output_dir
    if folder is None:
        raise UsageError("--output-dir DIR is missing: name the folder of the vectors")
    if arguments.resume is not None and arguments.output_dir not in (None, arguments.resume):
        raise UsageError("--resume names the folder already: leave --output-dir out")
    return folder


def _of_job(job: EmbedJob) -> dict[str, Any]:
    return {
        "fasta": Path(job.fasta),
        "weights": job.weights_option,
        **{name: getattr(job, name) for name in ("model", "precision", "format", "dtype", "per_residue")},
        "skip_invalid": job.skip_invalid,
        **{name: getattr(job, name) for name in _KNOBS},
    }


def _read_config(path: Path) -> tuple[Path, BestConfiguration]:
    from virnuc_profiler.sweep.plan.steps import BEST_CONFIG_FILE
    from virnuc_profiler.sweep.results.result_files import read_best

    if path.is_dir():
        path = path / BEST_CONFIG_FILE
    return path, read_best(path)


def _of_config(path: Path, best: BestConfiguration) -> dict[str, Any]:
    """Return what a recommendation names: the knobs, and model and precision that it was measured with."""
    configuration = best.choice.configuration
    if configuration is None:
        raise TelemetryFormatError(f"{path} recommends nothing, since no configuration succeeded: name the options")
    if not configuration.knobs.is_builtin:
        raise UsageError(f"{path} was found for the target {configuration.knobs.target}; embed runs the built-in one")
    found: dict[str, Any] = {name: getattr(configuration, name) for name in _KNOBS}
    model = best.conditions.model
    precision = configuration.precision or model.get("precision")
    if isinstance(model.get("model_name"), str):
        found["model"] = resolve_model_name(model["model_name"])
    if isinstance(precision, str) and BUILTIN_KNOBS["precision"].accepts(precision):
        found["precision"] = precision
    return found


def _require_agreement(arguments: argparse.Namespace, taken: Mapping[str, Any], path: Path) -> None:
    """Refuse a model or precision that the configuration was not found for."""
    for name in ("model", "precision"):
        asked, known = getattr(arguments, name), taken.get(name)
        if asked is not None and known is not None and asked != known:
            raise UsageError(
                f"{path} was found for {name} {known}, and --{name} asks for {asked}: leave --{name} or --config out"
            )
