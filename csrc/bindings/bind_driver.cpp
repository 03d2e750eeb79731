// SPDX-License-Identifier: MIT
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "capture/clock.h"
#include "device/async_copy.h"
#include "device/capture_range.h"
#include "device/cuda_device.h"
#include "device/gpu_meter.h"
#include "device/not_measured.h"

namespace py = pybind11;

namespace virnuc::bindings {

void register_driver(py::module_& module) {
    const auto without_gil = py::call_guard<py::gil_scoped_release>();  // the first call initializes the driver

    module.attr("NOT_MEASURED") = not_measured;
    module.def("monotonic_ns", &monotonic_ns);

    py::class_<LibraryStatus>(module, "LibraryStatus")
        .def_property_readonly("available", &LibraryStatus::available)
        .def_readonly("reason", &LibraryStatus::reason)
        .def_readonly("code", &LibraryStatus::code)
        .def_readonly("path", &LibraryStatus::path);

    py::class_<CudaDevice>(module, "CudaDevice")
        .def_readonly("ordinal", &CudaDevice::ordinal)
        .def_readonly("name", &CudaDevice::name)
        .def_readonly("uuid", &CudaDevice::uuid)
        .def_readonly("pci_bus_id", &CudaDevice::pci_bus_id)
        .def_readonly("total_memory_bytes", &CudaDevice::total_memory_bytes)
        .def_readonly("compute_capability", &CudaDevice::compute_capability);

    module.def("cuda_status", &cuda_status, without_gil);
    module.def("nvml_status", &nvml_status, without_gil);
    module.def("cuda_devices", &cuda_devices, without_gil);

    module.def(
        "copy_async",
        [](std::uintptr_t target, std::uintptr_t source, std::size_t size, std::uintptr_t stream) {
            return AsyncCopy{target, source, size}.queue(stream);
        },
        py::arg("target"), py::arg("source"), py::arg("size"), py::arg("stream"));

    py::class_<CaptureRange>(module, "CaptureRange")
        .def(py::init<int>(), py::arg("device"), without_gil)
        .def("end", &CaptureRange::end, without_gil);
}

}  // namespace virnuc::bindings
