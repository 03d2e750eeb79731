// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "capture/anchor_taker.h"
#include "capture/device_timer.h"

namespace virnuc {

/// Turns completed events into device times, on a thread that may take its time. Never waits for the device.
///
/// Calls need the timer's context current on the calling thread.
class Harvester {
  public:
    /// Throws CudaError.
    Harvester(DeviceTimer& timer, Clock clock) : timer_(&timer), anchors_(timer, clock) {}

    /// Compares the clocks; see AnchorTaker::take.
    bool take_anchor(std::int64_t at_most_ns = AnchorTaker::most_patience_ns) { return anchors_.take(at_most_ns); }
    /// Whether the clocks have been compared at all; until then nothing can be harvested.
    [[nodiscard]] bool anchored() const noexcept { return anchors_.anchored(); }
    /// Harvests what has completed since the last look: one or two driver calls for each stream that has
    /// events in flight, and one for each completed event. An event that became part of a CUDA graph all the same, see
    /// DeviceTimer, has no time: its batch is flagged.
    void poll();
    /// Whether so many events are out that the pool could run dry before long. No driver call.
    [[nodiscard]] bool crowded() const noexcept;
    /// Whether nothing is in flight, as of the last look.
    [[nodiscard]] bool idle() const noexcept { return streams_.empty(); }
    /// Gives up on all that is in flight: their batches are flagged.
    void abandon();
    void destroy() noexcept { anchors_.destroy(); }

  private:
    struct StreamQueue {
        Stream order;
        std::deque<Boundary> pending;
    };
    void collect();
    [[nodiscard]] bool completed(CUevent event);
    void drop_captured(std::deque<Boundary>& pending);
    [[nodiscard]] std::size_t count_completed(const std::deque<Boundary>& pending);
    bool harvest(const Boundary& boundary);

    DeviceTimer* timer_;
    AnchorTaker anchors_;
    std::vector<StreamQueue> streams_;
    bool saw_captured_ = false;
};

}  // namespace virnuc
