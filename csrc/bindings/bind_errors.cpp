// SPDX-License-Identifier: MIT
#include "bindings/bindings.h"
#include "driver/errors.h"

namespace py = pybind11;

namespace virnuc::bindings {

namespace {

/// Raises the class of this name in virnuc_profiler.errors.
template <typename... Arguments>
void raise(const char* name, Arguments&&... arguments) {
    const py::object type = py::module_::import("virnuc_profiler.errors").attr(name);
    PyErr_SetObject(type.ptr(), type(std::forward<Arguments>(arguments)...).ptr());
}

}  // namespace

void register_errors(py::module_& /*module*/) {
    // The one place that translates this core's errors. pybind11 itself translates std::invalid_argument to ValueError.
    py::register_local_exception_translator([](std::exception_ptr error) {
        try {
            if (error) std::rethrow_exception(error);
        } catch (const CudaError& e) {
            raise("CudaError", e.what(), e.code(), e.call());
        } catch (const LibraryUnavailable& e) {
            raise("LibraryUnavailable", e.what());
        } catch (const Error& e) {
            raise("VirnucError", e.what());
        }
    });
}

}  // namespace virnuc::bindings
