# SPDX-License-Identifier: MIT
"""esm-efficient: its FASTA dataset of packed batches, its ESM-2 with flash-attn, and its pooling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from virnuc_profiler.errors import UsageError
from virnuc_profiler.inference.loading.worker_processes import end_workers
from virnuc_profiler.inference.packing.pack_statistics import pack_statistics
from virnuc_profiler.targets.adapters.emitted_vectors import Emit, drop_vectors
from virnuc_profiler.targets.adapters.esm2_models import (
    TINY,
    check_precision,
    random_weights_on,
    resolve_size,
    torch_dtype,
)
from virnuc_profiler.targets.adapters.packages import import_program, versions_of
from virnuc_profiler.targets.adapters.probe_batches import probe_pack
from virnuc_profiler.targets.knobs.knob import IntegerKnob, Knob

if TYPE_CHECKING:
    from virnuc_profiler.capture.profiler import BatchProfiler
    from virnuc_profiler.targets.contract import TargetOptions
    from virnuc_profiler.targets.knobs.configuration import Configuration
    from virnuc_profiler.targets.target_workload import TargetWorkload


def make_target(options: TargetOptions) -> EsmEfficientTarget:
    """Return the target."""
    return EsmEfficientTarget(options)


class EsmEfficientTarget:
    """``FastaTokenDataset`` in input order, ``forward_representation`` without padding, and ``PartitionMeanPool``.

    Its pooling includes BOS and EOS.

    Args:
        options: Device, model, weights and precision.
        emit: What takes the vectors.
    """

    def __init__(self, options: TargetOptions, emit: Emit = drop_vectors) -> None:
        self._esme = import_program("esm-efficient")
        self._data = import_program("esm-efficient", "esme.data")
        self._pool = import_program("esm-efficient", "esme.pooling").PartitionMeanPool()
        self._device, self._emit = options.device, emit
        self._size = resolve_size(options.model)
        self._precision = check_precision("esm-efficient", options.precision, "bf16", "fp16")
        self.model: Any = self._load(options.weights).to(torch_dtype(self._precision)).eval()

    def describe(self) -> Mapping[str, Any]:
        """Return model and versions."""
        return {
            "name": "esm-efficient",
            **self._size.description,
            "precision": self._precision,
            "weights": self._weights,
            "versions": versions_of("esm-efficient", "flash-attn"),
        }

    def knobs(self) -> Sequence[Knob]:
        """Return the options of its dataset."""
        return (
            IntegerKnob(
                name="token_budget",
                argument="token_per_batch",
                default=50_000,
                low=3,
                high=2**24,
                tries=(8192, 16384, 50_000, 100_000),
                help="token_per_batch of its dataset: most tokens of a packed batch",
            ),
            IntegerKnob(name="num_workers", default=0, low=0, high=1024, tries=(0, 4), help="DataLoader processes"),
        )

    def run(self, workload: TargetWorkload, configuration: Configuration, profiler: BatchProfiler) -> Iterator[int]:
        """Embed all sequences."""
        import torch

        budget = configuration["token_budget"]
        with TemporaryDirectory(prefix="virnuc_profiler_fasta_") as folder:
            path = _write_indexed_fasta(workload.records(), Path(folder))
            dataset = self._data.FastaTokenDataset(
                str(path), token_per_batch=budget, shuffle=False, alphabet=self._esme.alphabet.Alphabet
            )
            if budget < (first := dataset.fasta.fai[0]["length"] + 2):
                raise UsageError(
                    f"token_budget is {budget}: esm-efficient needs at least {first}, for the first sequence"
                )
            iterator = iter(dataset.to_dataloader(num_workers=configuration["num_workers"]))
            try:
                for number, (tokens, (cu_lens, max_len)) in enumerate(profiler.batches(iterator)):
                    batch = profiler.current_batch
                    batch.set_packing(pack_statistics(cu_lens.numpy(), budget))
                    with torch.inference_mode():
                        batch.mark("h2d")
                        tokens, cu_lens = tokens.to(self._device), cu_lens.to(self._device)
                        batch.mark("forward")
                        hidden = self.model.forward_representation(tokens, (cu_lens, max_len))
                        batch.mark("pool")
                        pooled = self._pool(hidden, cu_lens)
                        batch.mark("d2h")
                        vectors = pooled.float().cpu()
                    batch.mark("emit")
                    self._emit([dataset.fasta.fai[row]["id"] for row in dataset.sampler[number]], vectors)
                    batch.end()
                    yield len(vectors)
            finally:
                end_workers(iterator)

    def probe(self, configuration: Configuration, tokens: int) -> None:  # noqa: ARG002
        """Run one pack of `tokens` tokens."""
        import torch

        ids, cu_lens, longest = probe_pack(tokens)
        with torch.inference_mode():
            on_device = cu_lens.to(self._device)
            self._pool(self.model.forward_representation(ids.to(self._device), (on_device, longest)), on_device).cpu()

    def close(self) -> None:
        """Release the model."""
        self.model = None

    def _load(self, weights: str) -> Any:
        """Return the model: random, from its authors' repository, or from a file of theirs."""
        name, shape = self._size.name, self._size.architecture
        if weights in ("auto", "random") or name == TINY:
            self._weights = "random seed 0"
            with random_weights_on(self._device):
                return self._esme.ESM2(
                    shape.num_layers, shape.hidden_size, shape.attention_heads, dtype=torch_dtype(self._precision)
                )
        source = f"esm2_{name.split('_')[2].lower()}" if weights == "pretrained" else weights
        self._weights = source
        return self._esme.ESM.from_pretrained(source, device=self._device)


def _write_indexed_fasta(records: Iterator[tuple[str, str]], folder: Path) -> Path:
    """Write sequences with the index that ``samtools faidx`` would make, which the dataset needs.

    Args:
        records: Identifier and residues of each sequence.
        folder: Folder for both files.
    """
    path = folder / "sequences.fasta"
    offset = 0
    with path.open("w", encoding="ascii") as fasta, Path(f"{path}.fai").open("w", encoding="ascii") as index:
        for name, residues in records:
            offset += fasta.write(f">{name}\n")
            index.write(f"{name}\t{len(residues)}\t{offset}\t{len(residues)}\t{len(residues) + 1}\n")
            offset += fasta.write(f"{residues}\n")
    return path
