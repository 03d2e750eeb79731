# SPDX-License-Identifier: MIT
import pytest
import torch

from tests.support.adapters import (
    MAX_RESIDUES,
    RECORDS,
    check_closing_early,
    check_contract,
    check_padding,
    check_probe,
    default_grid_size,
    program,
    run_adapter,
    tiny_options,
    write_workload,
)
from virnuc_profiler.errors import UsageError
from virnuc_profiler.targets.adapters.fair_esm_target import FairEsmTarget

esm = program("esm", "needs pip install fair-esm")

STAGES = ("fetch", "h2d", "forward", "d2h", "emit")


@pytest.fixture
def workload(tmp_path):
    return write_workload(tmp_path)


def means_of_the_script(model, workload, toks_per_batch):
    """What scripts/extract.py --include mean computes, in its batches."""
    dataset = esm.FastaBatchedDataset.from_file(workload.path)
    batches = dataset.get_batch_indices(toks_per_batch, extra_toks_per_seq=1)
    converter = model.alphabet.get_batch_converter(MAX_RESIDUES)
    found = {}
    for indices in batches:
        labels, sequences, tokens = converter([dataset[index] for index in indices])
        with torch.no_grad():
            hidden = model(tokens, repr_layers=[model.num_layers])["representations"][model.num_layers]
        for row, (label, sequence) in enumerate(zip(labels, sequences, strict=True)):
            found[label] = hidden[row, 1 : min(len(sequence), MAX_RESIDUES) + 1].mean(0)
    return found, [len(batch) for batch in batches]


def test_every_sequence_is_embedded_once_and_the_padding_is_counted(workload):
    ran, target = run_adapter(FairEsmTarget, workload, batch_tokens=600)
    check_contract(target, ran, workload, STAGES)
    check_padding(ran, workload)


def test_batches_and_vectors_are_those_of_the_script(workload):
    ran, target = run_adapter(FairEsmTarget, workload, batch_tokens=600)
    expected, sizes = means_of_the_script(target.model, workload, 600)
    assert ran.counts == sizes
    assert ran.vectors.keys() == expected.keys()
    for name, vector in expected.items():
        assert torch.equal(ran.vectors[name], vector)


def test_the_vectors_are_those_of_hugging_face_with_the_same_weights(workload):
    program("transformers", "needs pip install transformers")
    from virnuc_profiler.targets.adapters.huggingface_target import HuggingFaceTarget

    ours, source = run_adapter(FairEsmTarget, workload)

    def make_with_these_weights(options, emit):
        target = HuggingFaceTarget(options, emit)
        target.model.load_state_dict(hugging_face_names(source.model.state_dict()), strict=False)
        return target

    theirs, _ = run_adapter(make_with_these_weights, workload)
    for name, vector in ours.vectors.items():
        torch.testing.assert_close(theirs.vectors[name], vector, atol=1e-5, rtol=1e-4)


def hugging_face_names(state):
    """Return fair-esm's weights under the names that transformers gives them."""
    parts = {
        "self_attn.q_proj": "attention.self.query",
        "self_attn.k_proj": "attention.self.key",
        "self_attn.v_proj": "attention.self.value",
        "self_attn.out_proj": "attention.output.dense",
        "self_attn_layer_norm": "attention.LayerNorm",
        "final_layer_norm": "LayerNorm",
        "fc1": "intermediate.dense",
        "fc2": "output.dense",
    }
    found = {"embeddings.word_embeddings.weight": state["embed_tokens.weight"]}
    for name, value in state.items():
        if name.startswith("layers."):
            _, number, rest = name.split(".", 2)
            part, _, kind = rest.rpartition(".")
            if part in parts:
                found[f"encoder.layer.{number}.{parts[part]}.{kind}"] = value
        elif name.startswith("emb_layer_norm_after"):
            found[f"encoder.{name}"] = value
    return found


def test_labels_do_not_name_files(tmp_path, monkeypatch):
    inner = tmp_path / "a" / "b" / "c"  # two levels up from there is still this test's own
    inner.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(inner))
    records = [(f"../../{name}", sequence) for name, sequence in RECORDS]
    ran, _ = run_adapter(FairEsmTarget, write_workload(tmp_path, records))
    assert set(ran.vectors) == {name for name, _ in records}
    assert [path.name for path in tmp_path.rglob("*.pt")] == []


def test_a_run_that_is_ended_early_leaves_nothing(workload, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    check_closing_early(FairEsmTarget, workload, batch_tokens=600)
    assert [path.name for path in tmp_path.iterdir()] == ["workload.fasta"]


def test_another_precision_is_refused():
    with pytest.raises(UsageError, match="--target fair-esm cannot run in 'fp16': choose fp32"):
        FairEsmTarget(tiny_options(precision="fp16"))


def test_a_probe_runs_a_batch():
    check_probe(FairEsmTarget)


def test_the_default_grid_is_small():
    assert default_grid_size(FairEsmTarget(tiny_options())) <= 12
