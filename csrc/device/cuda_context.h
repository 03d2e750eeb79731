// SPDX-License-Identifier: MIT
#pragma once

#include "driver/cuda_api.h"
#include "driver/fork_guard.h"

namespace virnuc {

/// A hold on a device's primary context, the one that the CUDA runtime and PyTorch use too.
class CudaContext {
  public:
    /// `ordinal` is CUDA's own number. Throws CudaError.
    CudaContext(const CudaApi& api, int ordinal);
    CudaContext(const CudaContext&) = delete;
    CudaContext& operator=(const CudaContext&) = delete;
    ~CudaContext() { release(); }

    /// Lets go of the context; may block while the driver destroys it if nobody else holds it.
    void release() noexcept;
    [[nodiscard]] CUcontext handle() const noexcept { return context_; }
    [[nodiscard]] const CudaApi& api() const noexcept { return *api_; }

  private:
    const CudaApi* api_;
    CUdevice device_ = 0;
    CUcontext context_ = nullptr;
    OwnerProcess owner_;
};

/// Makes a context current on this thread for a scope. Throws CudaError.
class CurrentContext {
  public:
    explicit CurrentContext(const CudaContext& context);
    CurrentContext(const CurrentContext&) = delete;
    CurrentContext& operator=(const CurrentContext&) = delete;
    ~CurrentContext();

  private:
    const CudaApi* api_;
};

/// Whether what is queued on `stream` becomes part of a CUDA graph. Of a default stream only while our context is
/// current.
bool is_capturing(const CudaContext& context, CUstream stream) noexcept;

/// Records `event` on `stream`; about the cost of the bare driver call.
///
/// Default streams (0, 1 and 2) belong to whichever context is current, so that ours is made current if it is
/// not; other streams know their context.
CUresult record_event(const CudaContext& context, CUevent event, CUstream stream) noexcept;

}  // namespace virnuc
