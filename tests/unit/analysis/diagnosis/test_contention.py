# SPDX-License-Identifier: MIT
import pytest

from tests.support.run_records import MS, samples
from virnuc_profiler.analysis.diagnosis.contention import (
    other_process_count,
    other_process_sm_time,
    unexplained_tensor_activity,
)
from virnuc_profiler.analysis.model_cost import DeviceCeiling
from virnuc_profiler.telemetry.records import ProcessReading


@pytest.mark.parametrize(
    ("percents", "taken"), [((40, 50, None), 0.45), ((5, 5), 0.05), ((4, 5), None), ((None,), None)]
)
def test_other_processes(percents, taken):
    gpu = samples(processes=tuple(ProcessReading((n + 1) * MS, 2, percent) for n, percent in enumerate(percents)))
    found = other_process_sm_time(gpu, (0, 4 * MS))
    assert (None if found is None else found.taken_share) == taken
    assert other_process_sm_time(gpu, (0, 6 * MS)) is None  # less than half of it was sampled
    assert other_process_sm_time(gpu, (20 * MS, 30 * MS)) is None
    assert other_process_sm_time(None, (0, 1)) is None


@pytest.mark.parametrize(
    ("flops", "ceiling", "activity", "taken"),
    [
        (330e12, 700e12, 0.5, None),  # 650M alone on an H200
        (165e12, 700e12, 0.7, 1 - 165 / 700 / 0.7),  # half of the device, matrix products on the other
        (330e12, None, 0.9, None),
        (None, 700e12, 0.9, None),
        (330e12, 700e12, None, None),
        (1e12, 700e12, 0.05, None),  # too little activity
    ],
)
def test_tensor_work_that_the_model_does_not_explain(flops, ceiling, activity, taken):
    found = unexplained_tensor_activity(flops, DeviceCeiling(ceiling), activity)
    assert (None if found is None else found.taken_share) == (None if taken is None else pytest.approx(taken))


CEILING_H100 = DeviceCeiling(680.2e12, sm_clock_mhz=1320)

ALONE = (501.1e12, 0.58, 1762)
OTHER_STREAM = (345.1e12, 0.67, 1515)
OTHER_PROCESS = (230.1e12, 0.65, 1695)


@pytest.mark.parametrize(("run", "explained"), [(ALONE, None), (OTHER_STREAM, 0.660), (OTHER_PROCESS, 0.405)])
def test_activity_is_a_share_of_cycles_and_so_is_what_explains_it(run, explained):
    """650M as measured on an H100: a large matrix product runs at a lower clock than a forward pass."""
    flops, activity, clock_mhz = run
    found = unexplained_tensor_activity(flops, CEILING_H100, activity, clock_mhz)
    if explained is None:
        assert found is None
    else:
        assert found.taken_share == pytest.approx(1 - explained, abs=0.001)
        assert "per cycle" in found.statement


@pytest.mark.parametrize(("share", "found"), [(0.74, True), (0.76, False)])
def test_the_limit_by_cycle(share, found):
    assert (unexplained_tensor_activity(share * 680.2e12, CEILING_H100, 1.0, 1320) is not None) == found


@pytest.mark.parametrize(
    ("ceiling_mhz", "run_mhz"), [(None, 1515), (1320, None), (None, None), (1320, 0), (0, 1515), (1320, -1)]
)
def test_without_both_clocks_time_must_do(ceiling_mhz, run_mhz):
    ceiling = DeviceCeiling(680.2e12, ceiling_mhz)
    assert unexplained_tensor_activity(OTHER_STREAM[0], ceiling, OTHER_STREAM[1], run_mhz) is None
    found = unexplained_tensor_activity(OTHER_PROCESS[0], ceiling, OTHER_PROCESS[1], run_mhz)
    assert found.taken_share == pytest.approx(1 - 230.1 / 680.2 / 0.65)
    assert "per cycle" not in found.statement


@pytest.mark.parametrize(("counts", "found"), [((0, 0), 0), ((0, 3, None), 3), ((None,), None), ((), None)])
def test_the_number_of_other_processes_is_known_only_if_nvml_looked(counts, found):
    gpu = samples(processes=tuple(ProcessReading((n + 1) * MS, count) for n, count in enumerate(counts)))
    assert other_process_count(gpu, (0, 10 * MS)) == found
    assert other_process_count(gpu, (20 * MS, 30 * MS)) is None
    assert other_process_count(None, (0, 10 * MS)) is None
