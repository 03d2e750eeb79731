# SPDX-License-Identifier: MIT
"""fair-esm's extract script: batches sorted by length, fp32, the mean of each sequence in a file of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from virnuc_profiler.inference.packing.pack_statistics import padded_statistics
from virnuc_profiler.inference.sequences.fair_esm import import_fair_esm
from virnuc_profiler.targets.adapters.emitted_vectors import Emit, drop_vectors
from virnuc_profiler.targets.adapters.esm2_models import check_precision, resolve_size
from virnuc_profiler.targets.adapters.fair_esm_weights import load_fair_esm
from virnuc_profiler.targets.adapters.packages import versions_of
from virnuc_profiler.targets.adapters.probe_batches import probe_padded
from virnuc_profiler.targets.knobs.knob import IntegerKnob, Knob

if TYPE_CHECKING:
    from virnuc_profiler.capture.profiler import BatchProfiler
    from virnuc_profiler.targets.contract import TargetOptions
    from virnuc_profiler.targets.knobs.configuration import Configuration
    from virnuc_profiler.targets.target_workload import TargetWorkload


def make_target(options: TargetOptions) -> FairEsmTarget:
    """Return the target."""
    return FairEsmTarget(options)


class FairEsmTarget:
    """The loop of ``scripts/extract.py --include mean``, over fair-esm's own dataset, batches and model.

    The script is not part of the installed package and cannot be called batch by batch, so its loop stands here.

    Args:
        options: Device, model and weights; the script knows no precision but fp32.
        emit: What takes the vectors, beside the files.
    """

    min_packing = None

    def __init__(self, options: TargetOptions, emit: Emit = drop_vectors) -> None:
        self._esm = import_fair_esm()
        self._device, self._emit = options.device, emit
        self._size = resolve_size(options.model)
        self._precision = check_precision("fair-esm", options.precision, "fp32")
        model, self._weights = load_fair_esm(self._esm, self._size, options.weights, options.device)
        self.model: Any = model.eval()

    def describe(self) -> Mapping[str, Any]:
        """Return model and versions."""
        return {
            "name": "fair-esm",
            **self._size.description,
            "precision": self._precision,
            "weights": self._weights,
            "versions": versions_of("fair-esm"),
        }

    def knobs(self) -> Sequence[Knob]:
        """Return the one option of the script that changes its speed."""
        return (
            IntegerKnob(
                name="batch_tokens",
                argument="toks_per_batch",
                default=4096,
                low=1,
                high=2**24,
                tries=(2048, 4096, 8192, 16384, 32768, 65536),
                help="the script's --toks_per_batch: most tokens of a batch, padding and BOS included",
            ),
        )

    def run(self, workload: TargetWorkload, configuration: Configuration, profiler: BatchProfiler) -> Iterator[int]:
        """Embed all sequences and write their means into a temporary folder, as the script does."""
        import torch

        dataset = self._esm.FastaBatchedDataset.from_file(workload.path)
        converter = self.model.alphabet.get_batch_converter(workload.max_residues)
        loader: Any = torch.utils.data.DataLoader(
            dataset,
            collate_fn=converter,
            batch_sampler=dataset.get_batch_indices(configuration["batch_tokens"], extra_toks_per_seq=1),
        )
        layer = self.model.num_layers
        with TemporaryDirectory(prefix="virnuc_profiler_extract_") as folder:
            for labels, sequences, tokens in profiler.batches(loader):
                batch = profiler.current_batch
                lengths = [min(len(sequence), workload.max_residues) for sequence in sequences]
                batch.set_packing(padded_statistics([length + 2 for length in lengths], tokens.shape[1]))
                batch.mark("h2d")
                tokens = tokens.to(self._device, non_blocking=True)
                batch.mark("forward")
                with torch.no_grad():
                    output = self.model(tokens, repr_layers=[layer], return_contacts=False)
                batch.mark("d2h")
                output["logits"].to("cpu")  # the script copies them too, and drops them
                hidden = output["representations"][layer].to("cpu")
                batch.mark("emit")
                means = [hidden[row, 1 : length + 1].mean(0).clone() for row, length in enumerate(lengths)]
                for number, (label, mean) in enumerate(zip(labels, means, strict=True)):
                    # The script names the file by the label, which can be a path to anywhere.
                    file = Path(folder) / f"{batch.index}_{number}.pt"
                    torch.save({"label": label, "mean_representations": {layer: mean}}, file)
                self._emit(labels, torch.stack(means))
                batch.end()
                yield len(labels)

    def probe(self, configuration: Configuration, tokens: int) -> None:  # noqa: ARG002
        """Run one batch of `tokens` tokens, padding included."""
        layer = self.model.num_layers
        probe_padded(
            lambda ids, _: self.model(ids, repr_layers=[layer])["representations"][layer], tokens, self._device
        )

    def close(self) -> None:
        """Release the model."""
        self.model = None
