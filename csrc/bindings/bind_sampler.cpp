// SPDX-License-Identifier: MIT
#include "bindings/bindings.h"

namespace virnuc::bindings {

void register_sampler(pybind11::module_& /*module*/) {}

}  // namespace virnuc::bindings
