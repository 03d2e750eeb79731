# SPDX-License-Identifier: MIT
import gc
import os
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import psutil
import pytest
import torch
from torch.utils.data import IterableDataset, get_worker_info

from tests.support.fasta_files import random_records, write_fasta
from virnuc_profiler.errors import DeadlineExceeded, WorkerCrash, WorkloadError
from virnuc_profiler.inference.batches import EncodedChunk
from virnuc_profiler.inference.loading.loader import create_async_dataloader
from virnuc_profiler.inference.packing.collator import VarlenCollator
from virnuc_profiler.inference.sequences.dataset import SequenceDataset

RECORDS = random_records(600, longest=80)


@pytest.fixture
def dataset(tmp_path):
    return SequenceDataset(write_fasta(tmp_path / "sequences.faa.gz", RECORDS, packed=True), chunk_sequences=5)


class Records(IterableDataset):
    """A user's own dataset: one record per item, split among workers."""

    def __iter__(self):
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        yield from RECORDS[number::workers]


class Failing(IterableDataset):
    """Raises in one worker after some records."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def __iter__(self):
        yield from RECORDS[:10]
        if get_worker_info() is None or get_worker_info().id == 1:
            raise self.error


class Large(IterableDataset):
    """Chunks larger than a pipe, so that a worker whose messages are not read is always in the middle of one."""

    def __iter__(self):
        worker = get_worker_info()
        for number in range(worker.id, 1000, worker.num_workers):
            positions = np.arange(100 * number, 100 * (number + 1))
            yield EncodedChunk(positions, np.full(100_000, 5, np.uint8), np.arange(0, 100_001, 1000))


class Stubborn(IterableDataset):
    """Never yields, and ignores SIGTERM."""

    def __init__(self, pid_path):
        super().__init__()
        self.pid_path = pid_path

    def __iter__(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.pid_path.write_text(str(os.getpid()))
        time.sleep(300)
        yield from RECORDS


def loader_of(dataset, num_workers, **options):
    collator = VarlenCollator(max_tokens_per_batch=512, buffer_size=50)
    return create_async_dataloader(dataset, collator, num_workers=num_workers, **options)


def alive(pids):
    """Return the processes that run; zombies do not."""
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def contents(batches):
    return [(batch.positions.tolist(), list(batch.sequence_ids), batch.tokens.tolist()) for batch in batches]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    path = write_fasta(tmp_path_factory.mktemp("expected") / "sequences.faa", RECORDS)
    collator = VarlenCollator(max_tokens_per_batch=512, buffer_size=50)
    batches = [batch for chunk in SequenceDataset(path) for batch in collator(chunk)] + collator.flush()
    return [(positions, [f"seq_{i}" for i in positions], tokens) for positions, _, tokens in contents(batches)]


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_batches_are_the_same_for_any_number_of_workers(dataset, expected, num_workers):
    loader = loader_of(dataset, num_workers, prefetch_factor=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no warning about more workers than cores
        assert contents(loader) == expected
    assert loader.worker_pids() == []
    assert sorted(position for positions, _, _ in expected for position in positions) == list(range(600))


def test_each_iteration_is_a_new_pass_and_leaving_early_ends_the_workers(dataset, expected):
    loader = loader_of(dataset, 2)
    seen = []
    for _, batch in zip(range(3), loader, strict=False):
        pids = loader.worker_pids()
        seen.append(batch)
    assert contents(seen) == expected[:3]
    del batch
    gc.collect()
    assert len(pids) == 2
    assert alive(pids) == []

    unfinished = iter(loader)
    next(unfinished)
    assert contents(loader) == expected  # which ends the unfinished pass
    with pytest.raises(RuntimeError, match="newer pass"):
        next(unfinished)
    assert loader.collator.sequences_out == 600


def test_the_crash_of_a_killed_worker_names_the_signal(dataset):
    loader = loader_of(dataset, 2, prefetch_factor=1)
    batches = iter(loader)
    next(batches)
    pids = loader.worker_pids()
    os.kill(pids[1], signal.SIGKILL)
    with pytest.raises(WorkerCrash, match=rf"worker 1 \(pid {pids[1]}\) was killed by SIGKILL"):
        list(batches)
    assert alive(pids) == []
    assert loader.worker_pids() == []
    loader.close()


@pytest.mark.parametrize("timeout_s", [0, 600])
@pytest.mark.parametrize("number", [0, 1])
def test_a_worker_killed_in_the_middle_of_a_message_is_a_crash(number, timeout_s):
    loader = loader_of(Large(), 2, prefetch_factor=8, timeout_s=timeout_s)
    batches = iter(loader)
    next(batches)
    time.sleep(0.5)  # the main process may be busy for as long, and read nothing meanwhile
    pids = loader.worker_pids()
    os.kill(pids[number], signal.SIGKILL)
    with pytest.raises(WorkerCrash, match=rf"worker {number} \(pid {pids[number]}\) was killed by SIGKILL"):
        list(batches)
    assert alive(pids) == []


def test_a_worker_that_raises_is_a_crash_with_the_workers_message():
    loader = loader_of(Failing(ValueError("the moon is full")), 2)
    with pytest.raises(WorkerCrash, match=r"^a DataLoader worker raised ValueError: the moon is full$") as caught:
        list(loader)
    assert "in __iter__" in str(caught.value.__cause__)
    loader = loader_of(Failing(MemoryError("no more")), 2)
    with pytest.raises(WorkerCrash, match="MemoryError: no more") as caught:
        list(loader)
    assert isinstance(caught.value.__cause__, MemoryError)


def test_workers_report_a_file_that_has_changed(tmp_path):
    path = write_fasta(tmp_path / "sequences.faa", RECORDS)
    loader = loader_of(SequenceDataset(path), 1)
    write_fasta(path, RECORDS[:300])
    with pytest.raises(WorkloadError, match=r"sequences\.faa was truncated while it was in use"):
        list(loader)


def test_without_workers_errors_are_raised_unchanged():
    loader = loader_of(Failing(WorkloadError("a bad file")), 0)
    with pytest.raises(WorkloadError, match=r"^a bad file$"):
        list(loader)


def test_a_timeout_ends_workers_that_ignore_sigterm(tmp_path):
    loader = loader_of(
        Stubborn(tmp_path / "pid"), 1, timeout_s=4
    )  # long enough to start and to set up the signal handler
    with pytest.raises(DeadlineExceeded, match=r"no DataLoader worker sent anything for 4 s \(timeout_s\)"):
        list(loader)
    pid = int((tmp_path / "pid").read_text())
    assert alive([pid]) == []
    assert loader.worker_pids() == []


def test_workers_end_when_the_main_process_is_killed(tmp_path):
    program = (
        "import os, sys\n"
        "from virnuc_profiler.inference.packing.collator import VarlenCollator\n"
        "from virnuc_profiler.inference.loading.loader import create_async_dataloader\n"
        "from virnuc_profiler.inference.sequences.dataset import SequenceDataset\n"
        "dataset = SequenceDataset(sys.argv[1], chunk_sequences=5)\n"
        "collator = VarlenCollator(max_tokens_per_batch=512, buffer_size=50)\n"
        "loader = create_async_dataloader(dataset, collator, num_workers=2)\n"
        "next(batches := iter(loader))\n"
        "print(*loader.worker_pids(), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    path = write_fasta(tmp_path / "sequences.faa", RECORDS)
    result = subprocess.run([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True, check=False)
    assert result.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in result.stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 30
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(pids) == []


def test_close_ends_the_workers_and_can_be_repeated(dataset):
    with loader_of(dataset, 2) as loader:
        batches = iter(loader)
        next(batches)
        pids = loader.worker_pids()
        os.kill(pids[0], signal.SIGKILL)
        loader.close()
        assert alive(pids) == []
        loader.close()
        with pytest.raises(RuntimeError, match="ended by close"):
            list(batches)


def test_a_users_own_dataset_of_records():
    for loader in (loader_of(Records(), 2), loader_of(RECORDS, 0)):
        batches = list(loader)
        assert sorted(name for batch in batches for name in batch.sequence_ids) == sorted(name for name, _ in RECORDS)
        assert sorted(position for batch in batches for position in batch.positions) == list(range(600))


@pytest.mark.parametrize(
    "records",
    [[{"id": name, "sequence": sequence} for name, sequence in RECORDS], [RECORDS[:300], RECORDS[300:]]],
)
def test_other_forms_of_records(records):
    assert sum(len(batch.sequence_ids) for batch in loader_of(records, 0)) == 600


def test_the_loaders_budget_overrides_the_collators(dataset):
    collator = VarlenCollator(max_tokens_per_batch=4096)
    loader = create_async_dataloader(dataset, collator, num_workers=0, token_budget=300)
    assert collator.max_tokens_per_batch == loader.token_budget == 300
    other = create_async_dataloader(dataset, collator, num_workers=0, token_budget=700)
    for one, budget in ((loader, 300), (other, 700)):
        statistics = [batch.statistics for batch in one]
        assert {pack.token_budget for pack in statistics} == {budget}
        assert max(pack.tokens for pack in statistics) <= budget
        assert np.mean([pack.packing_efficiency for pack in statistics]) > 0.9


def test_the_callers_random_state_does_not_change(dataset):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    list(loader_of(dataset, 0))
    assert torch.equal(torch.rand(4), expected)


def test_pinning_without_cuda_is_no_error(dataset):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = next(iter(loader_of(dataset, 0, pin_memory=True)))
    assert batch.tokens.is_pinned() == torch.cuda.is_available()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 8}, ValueError, "batch_size is 8, must be None: packing"),
        ({"num_workers": -1}, ValueError, "num_workers is -1, must be at least 0"),
        ({"num_workers": 1.5}, TypeError, r"num_workers is 1\.5, must be an integer"),
        ({"prefetch_factor": 0}, ValueError, "prefetch_factor is 0, must be at least 1"),
        ({"token_budget": 0}, ValueError, "token_budget is 0, must be from 1"),
        ({"timeout_s": -2}, ValueError, "timeout_s is -2, must be at least 0"),
        ({"timeout_s": float("nan")}, ValueError, "timeout_s is nan"),
        ({"collate_fn": list}, TypeError, "collate_fn is a type, must be a VarlenCollator"),
    ],
)
def test_misuse(dataset, options, error, message):
    with pytest.raises(error, match=message):
        create_async_dataloader(**{"dataset": dataset, "collate_fn": VarlenCollator(None), **options})


@pytest.mark.parametrize(
    ("records", "error", "message"),
    [
        (["MK", "AY"], TypeError, "the item at position 0 is the string 'MK'"),
        ([("a", "MK"), ["MK", "AY"]], TypeError, "the item at position 1 is the string 'MK'"),
        ([{"id": "a"}], ValueError, "the dict at position 0 lacks the key 'sequence'"),
        ([("a", "MK"), ("b", 5)], TypeError, "the sequence at position 1 is the int 5"),
        ([("a", "MK"), 7], TypeError, "the item at position 1 is the int 7"),
    ],
)
@pytest.mark.parametrize("num_workers", [0, 1])
def test_items_of_another_form_are_refused(records, error, message, num_workers):
    with pytest.raises(error, match=message):
        list(loader_of(records, num_workers))


def test_options_are_keyword_only(dataset):
    with pytest.raises(TypeError, match="positional argument"):
        create_async_dataloader(dataset, VarlenCollator(), 2, 3)
