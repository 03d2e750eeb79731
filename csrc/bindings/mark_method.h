// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/pybind11.h>

namespace virnuc::bindings {

/// Adds `Batch.mark(stage, stream=None)` to the class.
void define_mark(const pybind11::object& batch_class);

}  // namespace virnuc::bindings
