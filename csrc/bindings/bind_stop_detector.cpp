// SPDX-License-Identifier: MIT
#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/live_objects.h"
#include "capture/stop_detector.h"

namespace py = pybind11;

namespace virnuc::bindings {

void register_stop_detector(py::module_& module) {
    PYBIND11_NUMPY_DTYPE(Stop, start_ns, end_ns, suspended_ns, pid, what);
    const auto without_gil = py::call_guard<py::gil_scoped_release>();  // these calls may wait for the thread
    py::class_<StopDetector, std::shared_ptr<StopDetector>>(module, "StopDetector")
        .def(py::init([] { return make_live<StopDetector>(); }))
        .def("start", &StopDetector::start, without_gil)
        .def("stop", &StopDetector::stop, without_gil)
        .def("stops", [](const StopDetector& self) { return to_array(self.stops()); })
        .def("stopped_ns", &StopDetector::stopped_ns, without_gil)
        .def("cpu_ns", &StopDetector::cpu_ns, without_gil);
    stop_live_at_exit<StopDetector>([](StopDetector& live) { live.stop(); });
}

}  // namespace virnuc::bindings
