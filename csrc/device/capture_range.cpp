// SPDX-License-Identifier: MIT
#include "device/capture_range.h"

#include "device/cuda_device.h"
#include "driver/errors.h"

namespace virnuc {

CaptureRange::CaptureRange(int device) : context_(require_cuda(device), device) {
    const CudaApi& api = context_.api();
    if (api.profiler_start == nullptr || api.profiler_stop == nullptr) {
        throw LibraryUnavailable("no capture range can be marked: the CUDA driver lacks cuProfilerStart");
    }
    const CurrentContext current(context_);
    api.check(api.profiler_start(), "cuProfilerStart");
    open_ = true;
}

void CaptureRange::end() {
    if (!open_ || !owner_.is_current()) return;
    open_ = false;
    {
        const CurrentContext current(context_);
        context_.api().check(context_.api().profiler_stop(), "cuProfilerStop");
    }
    context_.release();
}

CaptureRange::~CaptureRange() {
    try {
        end();
    } catch (const CudaError&) {  // the device is lost, and the range with it
    }
}

}  // namespace virnuc
