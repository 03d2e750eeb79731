// SPDX-License-Identifier: MIT
#include <cuda.h>
#include <pybind11/stl.h>

#include <map>
#include <string>

#include "bindings/bindings.h"

namespace virnuc::bindings {

namespace {

std::map<std::string, std::string> build_info() {
    const auto cuda_headers = std::to_string(CUDA_VERSION / 1000) + "." + std::to_string(CUDA_VERSION % 1000 / 10);
    return {{"version", VIRNUC_VERSION},
            {"commit", VIRNUC_COMMIT},
            {"build_type", VIRNUC_BUILD_TYPE},
            {"compiler", VIRNUC_COMPILER},
            {"cxx_library", VIRNUC_CXX_RUNTIME},
            {"cxx_standard", std::to_string(__cplusplus / 100 % 100)},
            {"pybind11", PYBIND11_TOSTRING(PYBIND11_VERSION_MAJOR) "." PYBIND11_TOSTRING(
                             PYBIND11_VERSION_MINOR) "." PYBIND11_TOSTRING(PYBIND11_VERSION_PATCH)},
            {"cuda_headers", cuda_headers}};
}

}  // namespace

void register_build_info(pybind11::module_& module) {
    module.attr("__version__") = VIRNUC_VERSION;
    module.def("build_info", &build_info);
}

}  // namespace virnuc::bindings
