// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

#include "device/spsc_ring.h"
#include "driver/cuda_api.h"

namespace virnuc {

/// A fixed number of timing events, all created at once. One side acquires them and the other releases them.
///
/// Released events are handed out before unused ones, so that a run touches only as many events as it has in flight. An
/// event that is cold in the caches costs a mark another 100 to 200 ns (H200).
class EventPool {
  public:
    /// Creates `size` events in the current context. Throws CudaError.
    EventPool(const CudaApi& api, std::size_t size);
    EventPool(const EventPool&) = delete;
    EventPool& operator=(const EventPool&) = delete;

    /// Returns an event, or nullptr if all are in flight. Makes no driver call and no allocation.
    CUevent acquire() noexcept {
        CUevent event = nullptr;
        if (returned_.pop(event)) return event;
        return used_ == all_.size() ? nullptr : all_[used_++];
    }
    void release(CUevent event) noexcept { returned_.push(event); }

    /// Destroys all events, including those in flight, which the driver frees once they have completed. Without this
    /// call, the events live as long as the context.
    void destroy() noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

  private:
    const CudaApi* api_;
    std::size_t size_;
    std::vector<CUevent> all_;
    std::size_t used_ = 0;  ///< events of `all_` that were handed out at least once; used by the acquiring side only
    SpscRing<CUevent> returned_;
};

}  // namespace virnuc
