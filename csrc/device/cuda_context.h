// SPDX-License-Identifier: MIT
#pragma once

#include "driver/cuda_api.h"
#include "driver/fork_guard.h"

namespace virnuc {

/// A reference to a device's primary context, which the CUDA runtime and PyTorch use too.
class CudaContext {
  public:
    /// `ordinal` is CUDA's number of the device. Throws CudaError.
    CudaContext(const CudaApi& api, int ordinal);
    CudaContext(const CudaContext&) = delete;
    CudaContext& operator=(const CudaContext&) = delete;
    ~CudaContext() { release(); }

    /// Releases the context. May block while the driver destroys it, if this was the last reference.
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

/// Whether work queued on `stream` becomes part of a CUDA graph. A default stream is checked only while our context is
/// current.
bool is_capturing(const CudaContext& context, CUstream stream) noexcept;

/// Records `event` on `stream`, at about the cost of the driver call alone.
///
/// The default streams (0, 1 and 2) belong to the current context, so ours is made current if it is not. Other streams
/// know their context.
CUresult record_event(const CudaContext& context, CUevent event, CUstream stream) noexcept;

}  // namespace virnuc
