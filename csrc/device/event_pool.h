// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

#include "device/spsc_ring.h"
#include "driver/cuda_api.h"

namespace virnuc {

/// A fixed number of timing events, made at once. One side takes them, another gives them back.
class EventPool {
  public:
    /// Makes `size` events in the current context. Throws CudaError.
    EventPool(const CudaApi& api, std::size_t size);
    EventPool(const EventPool&) = delete;
    EventPool& operator=(const EventPool&) = delete;

    /// An event, or nullptr if all are in flight. No driver call, no allocation.
    CUevent take() noexcept {
        CUevent event = nullptr;
        free_.pop(event);
        return event;
    }
    void give_back(CUevent event) noexcept { free_.push(event); }

    /// Destroys all events, those in flight too: the driver frees them once they have completed. Left undone,
    /// the context takes them along.
    void destroy() noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

  private:
    const CudaApi* api_;
    std::size_t size_;
    std::vector<CUevent> all_;
    SpscRing<CUevent> free_;
};

}  // namespace virnuc
