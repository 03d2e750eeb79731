// SPDX-License-Identifier: MIT
#pragma once

#include "device/cuda_context.h"
#include "driver/fork_guard.h"

namespace virnuc {

/// The range that external tools capture (nsys --capture-range=cudaProfilerApi, ncu --profile-from-start off), on one
/// device. CUDA's profiler calls apply to the current context, which the calling thread may lack.
class CaptureRange {
  public:
    /// Begins the range. Throws LibraryUnavailable or CudaError.
    explicit CaptureRange(int device);
    CaptureRange(const CaptureRange&) = delete;
    CaptureRange& operator=(const CaptureRange&) = delete;
    ~CaptureRange();

    /// Ends the range. Does nothing on a second call and in a forked child. Throws CudaError.
    void end();

  private:
    CudaContext context_;  ///< retained until end(), because tools must not see it destroyed before
    OwnerProcess owner_;
    bool open_ = false;
};

}  // namespace virnuc
