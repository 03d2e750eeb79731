// SPDX-License-Identifier: MIT
#pragma once

#include "device/cuda_context.h"
#include "driver/fork_guard.h"

namespace virnuc {

/// The range that external tools capture (nsys with --capture-range=cudaProfilerApi, ncu with --profile-from-start
/// off), on one device: CUDA's profiler calls go by the current context, which the calling thread may lack.
class CaptureRange {
  public:
    /// Begins it. Throws LibraryUnavailable or CudaError.
    explicit CaptureRange(int device);
    CaptureRange(const CaptureRange&) = delete;
    CaptureRange& operator=(const CaptureRange&) = delete;
    ~CaptureRange();

    /// Ends it; a second call does nothing, nor does one in a forked child. Throws CudaError.
    void end();

  private:
    CudaContext context_;  ///< held until then: tools must not see it go in between
    OwnerProcess owner_;
    bool open_ = false;
};

}  // namespace virnuc
