# SPDX-License-Identifier: MIT
"""What the doctor finds, with stand-in libraries that work, refuse or stall."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import pytest

import virnuc_profiler
from tests.support.standin import FOREVER, CudaControl, NvmlControl
from virnuc_profiler.capture.calibration import Calibration
from virnuc_profiler.capture.device_checks import BROKEN, MISSING, OK, Check, device_checks
from virnuc_profiler.cli import doctor
from virnuc_profiler.cli.doctor import render_checks
from virnuc_profiler.cli.main import main
from virnuc_profiler.cli.options import checks

NEEDS_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="needs PyTorch")

FAST = ("utilization", "power", "SM clock", "memory clock", "temperature", "throttle reasons", "used memory")
GPM = ("SM activity", "tensor activity", "DRAM activity")


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
        *(f"cuda:0 {quantity}" for quantity in FAST + GPM),
        "cuda:0 energy counter",
        "cuda:0 other processes",
    }
    assert {check["state"] for check in device.values()} == {OK}
    assert "aligned to the host clock within" in device["cuda:0 device times"]["found"]
    assert found["CUDA driver"]["found"].endswith("libstandin_cuda.so")
    values = ("73 %", "350.0 W", "1,980 MHz", "3,201 MHz", "55 °C", "0x4", "1.07 GB", "80.0%", "60.0%", "30.0%")
    assert tuple(device[f"cuda:0 {quantity}"]["found"] for quantity in FAST + GPM) == values


def test_tiers_that_this_card_lacks_are_missing_with_their_reason(standins):
    found = standins.call(found_without_sampling)
    assert found["cuda:0 utilization"]["state"] == OK
    for name in (*(f"cuda:0 {quantity}" for quantity in GPM), "cuda:0 energy counter"):
        assert found[name]["state"] == MISSING
        assert found[name]["found"]
        assert found[name]["fix"]


def found_on_a_mig_slice():
    CudaControl().set_devices(1, mig=True)
    NvmlControl().fail("nvmlDeviceGetPowerUsage", 3)  # as a virtual GPU has it
    NvmlControl().fail("nvmlDeviceGetTemperature", 999)
    NvmlControl().set("tensor_activity", -1)
    return findings()


def test_each_quantity_is_told_as_it_was_read(standins):
    found = standins.call(found_on_a_mig_slice)
    assert found["cuda:0 SM clock"] == {"name": "cuda:0 SM clock", "state": OK, "found": "1,980 MHz", "fix": ""}
    for name in ("utilization", "power", "temperature", "tensor activity"):
        assert found[f"cuda:0 {name}"]["state"] == MISSING, name
        assert found[f"cuda:0 {name}"]["found"], name
    assert "failed queries" in found["cuda:0 temperature"]["found"]
    assert found["cuda:0 tensor activity"]["found"] == "NVML does not support it for this MIG slice or user"


def found_without_a_working_driver(cuda, nvml):
    CudaControl().fail("cuInit", cuda)
    NvmlControl().fail("nvmlInit_v2", nvml)
    return findings()


@pytest.mark.parametrize(
    ("cuda", "nvml", "cuda_advice", "nvml_advice"),
    [
        (100, 9, "check CUDA_VISIBLE_DEVICES", "modprobe nvidia"),
        (803, 18, "of another version than the library", "of another version than the library"),
        (804, 4, "cuda-compat", "may not open /dev/nvidiactl"),
        (802, 15, "nvidia-fabricmanager", "fallen off the bus"),
        (999, 999, "dmesg", "dmesg"),
        (101, 12, "names no device", "install the whole driver"),
        (12345, 98, "nvidia-smi", "nvidia-smi"),
    ],
)
def test_the_advice_depends_on_the_cause(standins, cuda, nvml, cuda_advice, nvml_advice):
    found = standins.call(found_without_a_working_driver, cuda, nvml)
    assert found["CUDA driver"]["state"] == found["NVML"]["state"] == MISSING
    assert cuda_advice in found["CUDA driver"]["fix"]
    assert nvml_advice in found["NVML"]["fix"]
    for name in ("CUDA driver", "NVML"):
        assert "install NVIDIA's driver" not in found[name]["fix"]


def found_when_the_device_count_fails():
    CudaControl().fail("cuDeviceGetCount", 999)
    return findings()


def test_a_driver_that_fails_after_its_start_is_a_finding(standins):
    found = standins.call(found_when_the_device_count_fails)
    assert found["GPU"]["state"] == MISSING
    assert "999" in found["GPU"]["found"]


def test_a_device_that_cannot_be_timed_says_why(standins):
    found = standins.call(found_with_a_broken_device)
    assert found["cuda:0 device times"]["state"] == MISSING
    assert found["cuda:0 device times"]["found"]


def test_without_a_driver_only_the_cpu_is_measured(standins):
    found = standins.call(found_with_a_device, libraries=())
    if found["CUDA driver"]["state"] == OK:
        pytest.skip("this machine has a driver of its own")
    assert "install NVIDIA's driver" in found["CUDA driver"]["fix"]
    assert "until then, only host times are measured" in found["CUDA driver"]["fix"]
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


@pytest.mark.parametrize("columns", [80, 60])
def test_lines_are_wrapped_under_their_own_column(columns):
    words = " ".join(["word"] * 60)
    text = render_checks([Check("driver", OK, words), Check("nsys", MISSING, words, words)], columns)
    lines = text.splitlines()
    assert max(map(len, lines)) <= columns
    assert " ".join(lines).count("word") == 180
    assert lines[1].startswith(" " * 12 + "word")


def test_a_long_path_stays_whole():
    path = "/a" * 60
    assert path in render_checks([Check("weights", OK, f"in {path}: none")], 80)


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


@NEEDS_TORCH
def test_a_long_tmpdir_does_not_keep_workers_from_starting(tmp_path):
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "virnuc_profiler", "doctor", "--json"],
        env={**os.environ, "TMPDIR": str(folder)}, capture_output=True, check=True,
    )  # fmt: skip
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["worker processes"]["state"] == OK
    assert str(folder) in found["temporary folder"]["found"]


PROGRAM = "import sys\nfrom virnuc_profiler.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
"""What an installer writes for the command: its own folder is first on the path, and not the working folder."""


def findings_of_the_program(folder, *on_path):
    (folder / "bin").mkdir()
    program = folder / "bin" / "virnuc-profiler"
    program.write_text(PROGRAM)
    path = [*map(str, on_path), str(Path(virnuc_profiler.__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, program, "doctor", "--json"], cwd=folder, capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )  # fmt: skip
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


@NEEDS_TORCH
def test_another_package_named_esm_is_recognized(tmp_path):
    (tmp_path / "mine" / "esm").mkdir(parents=True)
    file = tmp_path / "mine" / "esm" / "__init__.py"
    file.write_text("")
    check = findings_of_the_program(tmp_path, tmp_path / "mine")["fair-esm"]
    assert check["state"] == BROKEN
    assert str(file) in check["found"]
    assert check["fix"] == "rename it, or start in another folder"


@NEEDS_TORCH
def test_a_file_that_hides_a_module_is_named_and_keeps_no_worker_from_starting(tmp_path):
    (tmp_path / "random.py").write_text("")
    found = findings_of_the_program(tmp_path)
    assert str(tmp_path / "random.py") in found["Python modules"]["found"]
    assert found["worker processes"]["state"] == OK


def test_a_file_that_hides_a_module_from_the_command_itself_is_named(tmp_path):
    (tmp_path / "random.py").write_text("")
    for command in ("doctor", "sweep"):
        done = subprocess.run(
            [sys.executable, "-m", "virnuc_profiler", command], cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(Path(virnuc_profiler.__file__).parents[1])}, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert f"{tmp_path / 'random.py'} hides Python's own module 'random'" in done.stderr


def test_a_broken_pytorch_is_a_finding_and_not_the_end(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    found = {check.name: check for check in checks.all_checks(tmp_path)}
    assert found["PyTorch"].state == BROKEN
    assert found["output folder"].state == OK


@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
def test_a_pytorch_that_lacks_a_hidden_module_need_not_be_installed(tmp_path):
    (tmp_path / "queue.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "virnuc_profiler", "doctor", "--json"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(virnuc_profiler.__file__).parents[1])}, check=False,
    )  # fmt: skip
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["PyTorch"]["state"] == BROKEN
    assert found["PyTorch"]["fix"] == "see the hidden module under Python modules"
    assert str(tmp_path / "queue.py") in found["Python modules"]["found"]


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


def test_overhead_and_ceilings_are_both_measured(monkeypatch, capsys, tmp_path):
    calibration = Calibration("Card", "GPU-1", None, "2.11", "now", {}, 2e12)
    monkeypatch.setattr(doctor, "_calibrate", lambda: (calibration, tmp_path / "kept.json"))
    both = ["doctor", "--overhead", "--calibrate", "--device", "cpu"]
    assert main(both) == 0
    text = capsys.readouterr().out
    assert "on cpu" in text
    assert "Card (GPU-1)" in text
    assert main([*both, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["overhead"]["device"] == "cpu"
    assert found["calibration"]["uuid"] == "GPU-1"


def test_overhead_without_a_gpu_is_that_of_the_host(capsys):
    assert main(["doctor", "--overhead", "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "on cpu" in text
    assert "n/a (the target is the CPU)" in text


def test_paths_and_reasons_of_others_are_escaped():
    text = render_checks([Check("x", MISSING, "none in a\x1b[2J\u202e\nb", "look into \x9bc")])
    assert all(line.isprintable() for line in text.split("\n"))
    assert "none in a\\x1b[2J\\u202e\\nb" in text
