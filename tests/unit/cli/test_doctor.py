# SPDX-License-Identifier: MIT
"""What the doctor finds, with stand-in libraries that work, refuse or stall."""

import contextlib
import io
import json
import shutil
import sys
from collections import namedtuple
from dataclasses import asdict

import pytest

from tests.support.standin import FOREVER, CudaControl, NvmlControl
from virnuc_profiler.capture.device_checks import BROKEN, MISSING, OK, Check, device_checks
from virnuc_profiler.cli import checks
from virnuc_profiler.cli.doctor import render_checks
from virnuc_profiler.cli.main import main


def findings():
    return {check.name: asdict(check) for check in device_checks()}


def found_with_a_device():
    return findings()


def found_without_sampling():
    NvmlControl().fail("nvmlDeviceGetTotalEnergyConsumption", 3)
    NvmlControl().stall("nvmlGpmSampleGet", FOREVER)
    return findings()


def found_with_a_broken_device():
    CudaControl().fail("cuEventRecord", 719)
    return findings()


def test_a_device_with_everything(standins):
    found = standins.call(found_with_a_device)
    device = {name: check for name, check in found.items() if name.startswith("cuda:0")}
    assert set(device) == {
        "cuda:0",
        "cuda:0 device times",
        "cuda:0 utilization, power, clocks",
        "cuda:0 SM, tensor and DRAM activity",
        "cuda:0 energy counter",
        "cuda:0 other processes",
    }
    assert {check["state"] for check in device.values()} == {OK}
    assert "aligned to the host clock within" in device["cuda:0 device times"]["found"]
    assert found["CUDA driver"]["found"].endswith("libstandin_cuda.so")


def test_tiers_that_this_card_lacks_are_missing_with_their_reason(standins):
    found = standins.call(found_without_sampling)
    assert found["cuda:0 utilization, power, clocks"]["state"] == OK
    for name in ("cuda:0 SM, tensor and DRAM activity", "cuda:0 energy counter"):
        assert found[name]["state"] == MISSING
        assert found[name]["found"]
        assert found[name]["fix"]


def test_a_device_that_cannot_be_timed_says_why(standins):
    found = standins.call(found_with_a_broken_device)
    assert found["cuda:0 device times"]["state"] == MISSING
    assert found["cuda:0 device times"]["found"]


def test_without_a_driver_only_the_cpu_is_measured(standins):
    found = standins.call(found_with_a_device, libraries=())
    if found["CUDA driver"]["state"] == OK:
        pytest.skip("this machine has a driver of its own")
    assert "without it, only host times are measured" in found["CUDA driver"]["fix"]
    assert not [name for name in found if name.startswith("cuda:")]


def test_every_finding_is_a_line_and_every_fix_stands_below():
    text = render_checks(
        [Check("driver", OK, "here"), Check("nsys", MISSING, "not here", "install it"), Check("torch", BROKEN, "no")]
    )
    assert text.splitlines() == [
        "ok  driver  here",
        "--  nsys    not here",
        "            fix: install it",
        "!!  torch   no",
        "",
        "1 ok, 1 missing (--), 1 broken (!!)",
    ]


def test_a_broken_part_is_an_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(checks, "all_checks", lambda folder: [Check("torch", BROKEN, "no", "get it")])
    assert main(["doctor"]) == 1
    assert "!!  torch  no" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["works"] is False
    monkeypatch.setattr(checks, "all_checks", lambda folder: [Check("nsys", MISSING, "no")])
    assert main(["doctor"]) == 0


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(("free", "state"), [(0.05e9, MISSING), (8e9, OK)])
def test_little_shared_memory_is_named_with_the_fix(monkeypatch, free, state):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(64e9, 64e9 - free, free))
    check = checks._shared_memory()
    assert check.state == state
    assert ("--shm-size" in check.fix) == (state == MISSING)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    assert checks._writing(tmp_path / "new" / "folder").state == OK
    (tmp_path / "file").write_text("")
    assert checks._writing(tmp_path / "file" / "folder").state == MISSING


def test_a_worker_process_starts():
    check = checks._forkserver()
    assert check.state == OK, check


def test_a_worker_process_that_fails_is_broken(monkeypatch):
    monkeypatch.setattr(checks, "_nothing", checks._writing)  # called without its argument, it raises
    check = checks._forkserver()
    assert check.state == BROKEN
    assert "--num-workers 0" in check.fix


def test_a_broken_pytorch_is_a_finding_and_not_the_end(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    found = {check.name: check for check in checks.all_checks(tmp_path)}
    assert found["PyTorch"].state == BROKEN
    assert found["output folder"].state == OK


def overhead_on_a_device():
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main(["doctor", "--overhead", "--json"]) == 0
    return json.loads(output.getvalue())["overhead"]


def test_overhead_is_measured_on_the_device(standins):
    overhead = standins.call(overhead_on_a_device)
    assert overhead["device"].startswith("Stand-in")
    assert overhead["mark_ns"] > overhead["mark_without_device_ns"] > 0
    assert 0 < overhead["sampling_cpu"] < 1
    assert overhead["host_ns_per_batch"] > 8 * overhead["mark_ns"]


def test_overhead_without_a_gpu_is_that_of_the_host(capsys):
    assert main(["doctor", "--overhead", "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "on cpu" in text
    assert "n/a (the target is the CPU)" in text


def test_paths_and_reasons_of_others_are_escaped():
    text = render_checks([Check("x", MISSING, "none in a\x1b[2J\u202e\nb", "look into \x9bc")])
    assert all(line.isprintable() for line in text.split("\n"))
    assert "none in a\\x1b[2J\\u202e\\nb" in text
