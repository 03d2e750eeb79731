// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/pybind11.h>

namespace virnuc::bindings {

void register_build_info(pybind11::module_& module);
void register_errors(pybind11::module_& module);
void register_driver(pybind11::module_& module);
void register_packing(pybind11::module_& module);
void register_sequences(pybind11::module_& module);
void register_timeline(pybind11::module_& module);
void register_sampler(pybind11::module_& module);
void register_stop_detector(pybind11::module_& module);

}  // namespace virnuc::bindings
