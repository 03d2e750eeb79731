// SPDX-License-Identifier: MIT
#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/live_objects.h"
#include "bindings/mark_method.h"
#include "capture/timeline.h"
#include "capture/timeline_rows.h"

namespace py = pybind11;

namespace virnuc::bindings {

namespace {

using MaybeStream = std::optional<Stream>;

std::shared_ptr<Timeline> make_timeline(std::vector<std::string> stages, std::vector<std::string> device_stages,
                                        std::optional<int> device, Stream stream, bool nvtx,
                                        std::int64_t event_pool_size, double collect_interval_ms,
                                        double clock_sync_interval_ms) {
    TimelineOptions options{
        .stages = std::move(stages),
        .device_stages = std::move(device_stages),
        .device = device,
        .stream = stream,
        .nvtx = nvtx,
        .event_pool_size = event_pool_size,
        .collect_interval_ns = duration_ns("collect_interval_ms", collect_interval_ms, 1e6),
        .clock_sync_interval_ns = duration_ns("clock_sync_interval_ms", clock_sync_interval_ms, 1e6),
    };
    return make_live<Timeline>(std::move(options));
}

void register_batch(py::module_& module) {
    py::class_<StageScope>(module, "Stage")
        .def(
            "__enter__",
            [](StageScope& self) -> StageScope& {
                self.enter();
                return self;
            },
            py::return_value_policy::reference)
        .def("__exit__", [](StageScope& self, py::handle, py::handle, py::handle) { self.leave(); });

    // Marks are too short to release the GIL: releasing it would cost more than the mark itself.
    py::class_<Batch, std::shared_ptr<Batch>> batch(module, "Batch", py::is_final());
    define_mark(batch);
    batch.def_property_readonly("index", &Batch::index)
        .def("mark_device_timestamped", &Batch::mark_device_timestamped, py::arg("stage"), py::arg("stream"),
             py::arg("followed_by"), py::arg("gapless") = true)
        .def("set_device_timestamps", &Batch::set_device_timestamps, py::arg("start_ns"), py::arg("end_ns"))
        .def(
            "copy",
            [](Batch& self, std::string_view stage, std::optional<Stream> stream, std::uintptr_t target,
               std::uintptr_t source, std::size_t size) { return self.copy(stage, stream, {target, source, size}); },
            py::arg("stage"), py::arg("stream"), py::arg("target"), py::arg("source"), py::arg("size"))
        .def("end_stage", &Batch::end_stage)
        .def("stage", &Batch::stage, py::arg("stage"), py::arg("stream") = MaybeStream())
        .def("record_interval", &Batch::record_interval, py::arg("stage"), py::arg("start_ns"), py::arg("end_ns"))
        .def("set_packing", &Batch::set_packing, py::arg("statistics"))
        .def("end", &Batch::end)
        .def("discard", &Batch::discard)
        .def("__enter__", [](py::object self) { return self; })
        .def("__exit__", [](Batch& self, py::handle, py::handle, py::handle) { self.end(); });
}

std::vector<std::string> stage_names(const Timeline& timeline) {
    std::vector<std::string> names;
    for (const auto& stage : timeline.recording().stages()) names.push_back(stage.name);
    return names;
}

}  // namespace

void register_timeline(py::module_& module) {
#define X(column, initial) , column
    PYBIND11_NUMPY_DTYPE(BatchRow, stage_begin, stage_end, flags VIRNUC_BATCH_COLUMNS(X));
#undef X
    PYBIND11_NUMPY_DTYPE(StageRow, stage, host_start_ns, host_end_ns, device_start_ns, device_end_ns, timestamped);
    PYBIND11_NUMPY_DTYPE(Anchor, host_ns, device_ns, uncertainty_ns);
    register_batch(module);

    py::class_<ClockAlignment>(module, "ClockAlignment")
        .def_readonly("uncertainty_ns", &ClockAlignment::uncertainty_ns)
        .def_readonly("residual_ns", &ClockAlignment::residual_ns)
        .def_readonly("drift_ppm", &ClockAlignment::drift_ppm);

    py::class_<Timeline, std::shared_ptr<Timeline>> timeline(module, "Timeline");
    timeline
        .def(py::init(&make_timeline), py::arg("stages"), py::arg("device_stages") = std::vector<std::string>(),
             py::kw_only(), py::arg("device") = py::none(), py::arg("stream") = 0, py::arg("nvtx") = true,
             py::arg("event_pool_size") = 4096, py::arg("collect_interval_ms") = 20.0,
             py::arg("clock_sync_interval_ms") = 2000.0)
        .def("begin_batch", &Timeline::begin_batch, py::arg("index"))
        .def(
            "stop",
            [](Timeline& self, double timeout_s) {
                const std::int64_t timeout_ns = duration_ns("timeout_s", timeout_s, 1e9);
                const py::gil_scoped_release unlocked;
                self.stop(timeout_ns);
            },
            py::arg("timeout_s") = 10.0)
        .def("batches", [](const Timeline& self) { return to_array(batch_rows(self)); })
        .def("stages", [](const Timeline& self) { return to_array(stage_rows(self)); })
        .def("anchors", [](const Timeline& self) { return to_array(self.anchors()); })
        .def_property_readonly("alignment", &clock_alignment)
        .def_property_readonly("stage_names", &stage_names)
        .def_property_readonly("device_enabled", &Timeline::device_enabled)
        .def_property_readonly("device_error", &Timeline::device_error)
        .def_property_readonly("dropped_batches", &count_dropped_batches)
        .def_property_readonly("cross_thread_ranges",
                               [](const Timeline& self) { return self.recording().cross_thread_ranges.load(); })
        .def_property_readonly("memory_bytes", &Timeline::memory_bytes)
        .def_property_readonly("profiler_calls", [](const Timeline& self) { return self.recording().cost.calls(); })
        .def_property_readonly("timed_calls", [](const Timeline& self) { return self.recording().cost.timed_calls(); })
        .def_property_readonly("timed_call_ns", [](const Timeline& self) { return self.recording().cost.timed_ns(); })
        .def_property_readonly("collector_cpu_ns", [](Timeline& self) {
            const py::gil_scoped_release unlocked;  // the call may wait for stop()
            return self.collector_cpu_ns();
        });
    timeline.attr("BATCH_RECORD_BYTES") = sizeof(BatchRecord);
    timeline.attr("STAGE_RECORD_BYTES") = sizeof(StageRecord);
    timeline.attr("CHUNK_BYTES") = chunk_bytes;
    timeline.attr("HAS_PACKING") = has_packing;
    timeline.attr("OVERSIZE") = oversize;
    timeline.attr("DEVICE_TIMES_DROPPED") = device_times_dropped;
    stop_live_at_exit<Timeline>([](Timeline& live) { live.stop(0); });
}

}  // namespace virnuc::bindings
