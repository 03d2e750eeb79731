# SPDX-License-Identifier: MIT
"""Which rank a process is, from the variables of each launcher, as they come from the real ones."""

import pytest

from virnuc_profiler.errors import UsageError
from virnuc_profiler.ranks.rank import Rank
from virnuc_profiler.ranks.rank_variables import RAY, current_rank, rank_environment, unstarted_tasks

TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "GROUP_RANK": "1",
    "MASTER_ADDR": "node0", "MASTER_PORT": "29500", "TORCHELASTIC_RESTART_COUNT": "2", "TORCHELASTIC_RUN_ID": "x",
}  # fmt: skip
SRUN = {
    "SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "5", "SLURM_NTASKS": "5", "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
}  # fmt: skip
BATCH_SCRIPT = {
    "SLURM_JOB_ID": "77", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
    "SLURM_TASKS_PER_NODE": "4",
}  # fmt: skip


def array(task, first, last, count):
    numbers = {"ID": task, "MIN": first, "MAX": last, "COUNT": count}
    return {"SLURM_ARRAY_JOB_ID": "77", **{f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in numbers.items()}}


def place(rank):
    return rank.index, rank.count, rank.local_index, rank.local_count


def test_without_a_launcher_there_is_one_rank():
    rank = current_rank({"PATH": "/bin"})
    assert rank == Rank()
    assert rank.is_single
    assert rank.file_name("run_x.json") == "run_x.json"


def test_torchrun():
    rank = current_rank(TORCHRUN)
    assert place(rank) == (5, 8, 1, 4)
    assert (rank.launcher, rank.attempt) == ("torchrun", 2)
    assert rank.file_name("run_x.json") == "run_x_rank5of8.json"


def test_a_restart_has_the_job_of_before_and_a_higher_attempt():
    before, after = (current_rank({**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": count}) for count in "23")
    assert (before.job, before.index) == (after.job, after.index)
    assert before.attempt < after.attempt


def test_runs_without_a_name_are_not_taken_for_one():
    assert current_rank({**TORCHRUN, "TORCHELASTIC_RUN_ID": "none"}).job == ""


def test_torchrun_with_one_process_is_one_rank():
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    assert current_rank(alone).is_single
    assert current_rank({"WORLD_SIZE": "1"}) == Rank()


def test_older_launchers_of_torch_do_not_say_how_many_ranks_a_host_has():
    environment = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    assert place(current_rank(environment)) == (1, 2, 1, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"LOCAL_RANK": None}, "RANK and WORLD_SIZE are set but LOCAL_RANK is not: start the ranks with torchrun"),
        ({"WORLD_SIZE": None, "LOCAL_RANK": None}, "RANK is set but WORLD_SIZE and LOCAL_RANK are not"),
        ({"RANK": "8"}, "RANK is 8 but WORLD_SIZE is 8, so the last one is 7"),
        ({"LOCAL_RANK": "4"}, "LOCAL_RANK is 4 but LOCAL_WORLD_SIZE is 4"),
        ({"LOCAL_WORLD_SIZE": "9"}, "LOCAL_WORLD_SIZE is 9 but WORLD_SIZE is only 8"),
        ({"RANK": "first"}, "RANK is 'first', which is not a whole number"),
        ({"RANK": "-1"}, "RANK is '-1', which is not a whole number"),
        ({"RANK": "3", "WORLD_SIZE": "1"}, "RANK is 3 but WORLD_SIZE is 1"),
    ],
)
def test_contradictions_of_torchrun_are_one_sentence(changes, message):
    environment = {name: value for name, value in {**TORCHRUN, **changes}.items() if value is not None}
    with pytest.raises(UsageError) as failure:
        current_rank(environment)
    assert str(failure.value).startswith(message)
    assert "unset" in str(failure.value)


def test_srun():
    rank = current_rank(SRUN)
    assert place(rank) == (3, 5, 1, 2)
    assert rank.launcher == "srun"


def test_the_last_node_of_a_step_may_have_fewer_tasks():
    last = {**SRUN, "SLURM_PROCID": "4", "SLURM_LOCALID": "0", "SLURM_NODEID": "2"}
    assert place(current_rank(last)) == (4, 5, 0, 1)


def test_three_variables_of_slurm_are_enough():
    environment = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_LOCALID": "0"}
    assert place(current_rank(environment)) == (0, 2, 0, 2)


@pytest.mark.parametrize(
    "environment",
    [
        BATCH_SCRIPT,
        {**BATCH_SCRIPT, "SLURM_STEP_ID": str(0xFFFFFFFB)},
        {**BATCH_SCRIPT, "SLURM_STEP_ID": str(0xFFFFFFFA), "SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "4"},
        {**SRUN, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
    ],
    ids=["script of sbatch", "batch step", "interactive step", "shell of salloc", "a step of one task"],
)
def test_a_process_of_a_job_that_no_srun_has_started_is_alone(environment):
    """Else a script of sbatch without srun would do a quarter of the work, and take it for all."""
    assert current_rank(environment).is_single


def test_tasks_that_no_srun_has_started_are_counted():
    assert unstarted_tasks(BATCH_SCRIPT) == 4
    assert [unstarted_tasks(each) for each in (SRUN, {}, {**BATCH_SCRIPT, **TORCHRUN})] == [None] * 3
    assert unstarted_tasks({**BATCH_SCRIPT, "SLURM_NTASKS": "1"}) is None


def test_torchrun_inside_a_slurm_job_decides():
    assert current_rank({**SRUN, **TORCHRUN}).launcher == "torchrun"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SLURM_LOCALID": None}, "SLURM_PROCID is set but SLURM_LOCALID is not"),
        ({"SLURM_LOCALID": "2"}, "SLURM_LOCALID is 2, but this host has 2 of the tasks"),
        ({"SLURM_PROCID": "5"}, "SLURM_PROCID is 5 but SLURM_STEP_NUM_TASKS is 5"),
        ({"SLURM_NODEID": "3"}, "SLURM_STEP_TASKS_PER_NODE is '2(x2),1', which says nothing of node 3"),
        ({"SLURM_STEP_TASKS_PER_NODE": "many"}, "SLURM_STEP_TASKS_PER_NODE is 'many'"),
    ],
)
def test_contradictions_of_slurm_are_one_sentence(changes, message):
    environment = {name: value for name, value in {**SRUN, **changes}.items() if value is not None}
    with pytest.raises(UsageError) as failure:
        current_rank(environment)
    assert str(failure.value).startswith(message)


@pytest.mark.parametrize(
    ("variables", "bound"),
    [({}, False), ({"SLURM_GPUS_PER_TASK": "1"}, True), ({"SLURM_TRES_PER_TASK": "cpu=4,gres/gpu=1"}, True),
     ({"SLURM_GPU_BIND": "none"}, False), ({"SLURM_GPU_BIND": "single:1"}, True),
     ({"SLURM_GPU_BIND": "none", "SLURM_GPUS_PER_TASK": "1"}, False),
     ({"SLURM_GPUS_ON_NODE": "2", "CUDA_VISIBLE_DEVICES": "1"}, True),
     ({"SLURM_GPUS_ON_NODE": "2", "CUDA_VISIBLE_DEVICES": "0,1"}, False)],
)  # fmt: skip
def test_whether_slurm_has_given_each_task_a_gpu(variables, bound):
    assert current_rank({**SRUN, **variables}).owns_devices is bound


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ((0, 1, 2), [0, 1, 2]),
        ((5, 6, 7, 8), [0, 1, 2, 3]),
        ((1, 3, 5), [0, 1, 2]),
        ((3, 9), [0, 1]),
    ],
)
def test_tasks_of_an_array_are_numbered_from_0(ids, expected):
    ranks = [current_rank(array(task, ids[0], ids[-1], len(ids))) for task in ids]
    assert [rank.index for rank in ranks] == expected
    assert all(rank.local_count == 1 and rank.owns_devices for rank in ranks)


@pytest.mark.parametrize("ids", [(0, 1, 3, 12), (1, 2, 9), (0, 1, 6), (2, 3, 4, 6, 50)])
def test_tasks_of_an_uneven_array_have_different_numbers(ids):
    ranks = [current_rank(array(task, ids[0], ids[-1], len(ids))) for task in ids]
    assert len({rank.name for rank in ranks}) == len(ids)


def test_an_array_of_one_task_is_one_rank():
    assert current_rank(array(7, 7, 7, 1)).is_single


def test_ranks_inside_the_tasks_of_an_array_are_numbered_through_all_tasks():
    step = {**SRUN, "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_NODEID": "0"}
    found = [
        current_rank({**step, **array(task, 1, 3, 3), "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)})
        for task in (1, 2, 3)
        for rank in (0, 1)
    ]
    assert [rank.index for rank in found] == [0, 1, 2, 3, 4, 5]
    assert [rank.local_index for rank in found] == [0, 1] * 3
    assert {(rank.count, rank.local_count) for rank in found} == {(6, 2)}


def test_the_script_of_an_array_job_is_the_rank_of_its_task():
    assert place(current_rank({**BATCH_SCRIPT, "SLURM_NTASKS": "1", **array(2, 0, 3, 4)})) == (2, 4, 0, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SLURM_ARRAY_TASK_COUNT": None}, "SLURM_ARRAY_TASK_ID is set but SLURM_ARRAY_TASK_COUNT is not"),
        ({"SLURM_ARRAY_TASK_ID": "9"}, "SLURM_ARRAY_TASK_ID is 9, outside of 0 to 3"),
    ],
)
def test_contradictions_of_an_array_are_one_sentence(changes, message):
    environment = {name: value for name, value in {**array(2, 0, 3, 4), **changes}.items() if value is not None}
    with pytest.raises(UsageError) as failure:
        current_rank(environment)
    assert str(failure.value).startswith(message)


def test_our_own_launcher_decides_before_all_others():
    own = {"VIRNUC_PROFILER_RANK": "1", "VIRNUC_PROFILER_RANKS": "2", "VIRNUC_PROFILER_LAUNCH": "x"}
    assert place(current_rank({**BATCH_SCRIPT, **own})) == (1, 2, 1, 2)


def test_a_rank_on_ray_knows_nothing_of_what_has_started_the_nodes():
    environment = {**TORCHRUN, **SRUN, **array(3, 0, 7, 8), **rank_environment(1, 4, "x", 2, RAY)}
    rank = current_rank(environment)
    assert (rank.index, rank.count, rank.job, rank.attempt, str(rank)) == (1, 4, "x", 2, "rank 1 of 4 (Ray)")
