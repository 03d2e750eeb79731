// SPDX-License-Identifier: MIT
#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/live_objects.h"
#include "capture/gpu_sampler.h"
#include "device/not_measured.h"

namespace py = pybind11;

namespace virnuc::bindings {

namespace {

std::shared_ptr<GpuSampler> make_sampler(const std::string& uuid, double fast_interval_ms, double gpm_interval_ms,
                                         double energy_interval_ms, double processes_interval_ms) {
    const SamplerIntervals intervals{
        .fast_ns = duration_ns("fast_interval_ms", fast_interval_ms, 1e6),
        .gpm_ns = duration_ns("gpm_interval_ms", gpm_interval_ms, 1e6),
        .energy_ns = duration_ns("energy_interval_ms", energy_interval_ms, 1e6),
        .processes_ns = duration_ns("processes_interval_ms", processes_interval_ms, 1e6),
    };
    return make_live<GpuSampler>(uuid, intervals);
}

}  // namespace

void register_sampler(py::module_& module) {
    PYBIND11_NUMPY_DTYPE(FastReading, at_ns, utilization_percent, memory_utilization_percent, power_mw, sm_clock_mhz,
                         memory_clock_mhz, temperature_c, throttle_reasons, used_memory_bytes);
    PYBIND11_NUMPY_DTYPE(GpmReading, at_ns, interval_ns, sm_activity, tensor_activity, dram_activity);
    PYBIND11_NUMPY_DTYPE(EnergyReading, at_ns, energy_mj);
    PYBIND11_NUMPY_DTYPE(ProcessReading, at_ns, other_processes, other_sm_percent);

    py::class_<TierReport>(module, "SamplerTier")
        .def_readonly("name", &TierReport::name)
        .def_readonly("interval_ms", &TierReport::interval_ms)
        .def_readonly("readings", &TierReport::readings)
        .def_readonly("missed_deadlines", &TierReport::missed_deadlines)
        .def_readonly("errors", &TierReport::errors)
        .def_readonly("stalled", &TierReport::stalled)
        .def_readonly("unsupported", &TierReport::unsupported)
        .def_readonly("cpu_ns", &TierReport::cpu_ns);

    const auto without_gil = py::call_guard<py::gil_scoped_release>();  // these calls may wait for stop()
    py::class_<GpuSampler, std::shared_ptr<GpuSampler>>(module, "GpuSampler")
        .def(py::init(&make_sampler), py::arg("uuid"), py::kw_only(), py::arg("fast_interval_ms") = 100.0,
             py::arg("gpm_interval_ms") = 250.0, py::arg("energy_interval_ms") = 2000.0,
             py::arg("processes_interval_ms") = 2000.0)
        .def("start", &GpuSampler::start, without_gil)
        .def(
            "stop",
            [](GpuSampler& self, double timeout_s) {
                const std::int64_t timeout_ns = duration_ns("timeout_s", timeout_s, 1e9);
                const py::gil_scoped_release unlocked;
                self.stop(timeout_ns);
            },
            py::arg("timeout_s") = 0.5)
        .def("fast_readings", [](const GpuSampler& self) { return to_array(self.fast_readings()); })
        .def("gpm_readings", [](const GpuSampler& self) { return to_array(self.gpm_readings()); })
        .def("energy_readings", [](const GpuSampler& self) { return to_array(self.energy_readings()); })
        .def("process_readings", [](const GpuSampler& self) { return to_array(self.process_readings()); })
        .def_property_readonly("max_sm_clock_mhz",
                               [](const GpuSampler& self) {
                                   const std::int64_t clock = self.max_sm_clock_mhz();
                                   return clock == not_measured ? std::nullopt : std::optional(clock);
                               })
        .def("tiers", &GpuSampler::tiers, without_gil);
    stop_live_at_exit<GpuSampler>([](GpuSampler& live) { live.stop(200'000'000); });
}

}  // namespace virnuc::bindings
