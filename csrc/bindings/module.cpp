// SPDX-License-Identifier: MIT
#include "bindings/bindings.h"

PYBIND11_MODULE(_core, module) {
    module.doc() = "The compiled core: device events, NVTX ranges, NVML sampling, packing.";
    virnuc::bindings::register_build_info(module);
    virnuc::bindings::register_errors(module);
    virnuc::bindings::register_driver(module);
    virnuc::bindings::register_packing(module);  // before the timeline, whose batches take PackStatistics
    virnuc::bindings::register_sequences(module);
    virnuc::bindings::register_timeline(module);
    virnuc::bindings::register_sampler(module);
    virnuc::bindings::register_stop_detector(module);
}
