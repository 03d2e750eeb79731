// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

#include "device/spsc_ring.h"
#include "driver/cuda_api.h"

namespace virnuc {

/// A fixed number of timing events, made at once. One side takes them, another gives them back.
///
/// What came back is handed out before what was never used, so that a run touches no more events than it has in
/// flight: the driver's bookkeeping of an event that is cold in the caches costs a mark another 100 to 200 ns (H200).
class EventPool {
  public:
    /// Makes `size` events in the current context. Throws CudaError.
    EventPool(const CudaApi& api, std::size_t size);
    EventPool(const EventPool&) = delete;
    EventPool& operator=(const EventPool&) = delete;

    /// An event, or nullptr if all are in flight. No driver call, no allocation.
    CUevent take() noexcept {
        CUevent event = nullptr;
        if (returned_.pop(event)) return event;
        return used_ == all_.size() ? nullptr : all_[used_++];
    }
    void give_back(CUevent event) noexcept { returned_.push(event); }

    /// Destroys all events, those in flight too: the driver frees them once they have completed. Left undone,
    /// the context takes them along.
    void destroy() noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

  private:
    const CudaApi* api_;
    std::size_t size_;
    std::vector<CUevent> all_;
    std::size_t used_ = 0;  ///< of `all_`, handed out at least once; the taking side's
    SpscRing<CUevent> returned_;
};

}  // namespace virnuc
