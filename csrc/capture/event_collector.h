// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "capture/clock_sync.h"
#include "capture/device_timer.h"

namespace virnuc {

/// Turns completed events into device times on a thread that is not time-critical. It never waits for the device.
///
/// All calls need the timer's context current on the calling thread.
class EventCollector {
  public:
    /// Throws CudaError.
    EventCollector(DeviceTimer& timer, Clock clock) : timer_(&timer), clock_sync_(timer, clock) {}

    /// Synchronizes the clocks; see ClockSync::sync().
    bool sync_clocks(std::int64_t limit_ns = ClockSync::max_wait_ns) { return clock_sync_.sync(limit_ns); }
    /// Whether the clocks have been synchronized. Until then, no event time can be computed.
    [[nodiscard]] bool clocks_synced() const noexcept { return clock_sync_.synced(); }
    /// Collects the events that have completed since the last poll. Costs one or two driver calls for each stream with
    /// events in flight, and one for each completed event.
    ///
    /// An event that became part of a CUDA graph (see DeviceTimer) has no time: its batch is flagged.
    void poll();
    /// Whether enough events are in flight that the pool could soon run dry. Makes no driver call.
    [[nodiscard]] bool pool_under_pressure() const noexcept;
    /// Whether no event was in flight at the last poll.
    [[nodiscard]] bool idle() const noexcept { return streams_.empty(); }
    /// Drops all events in flight and flags their batches.
    void drop_pending();
    void destroy() noexcept { clock_sync_.destroy(); }

  private:
    struct StreamQueue {
        Stream stream_key;
        std::deque<Boundary> pending;
    };
    void collect();
    [[nodiscard]] bool completed(CUevent event);
    void drop_captured(std::deque<Boundary>& pending);
    [[nodiscard]] std::size_t count_completed(const std::deque<Boundary>& pending);
    bool store_time(const Boundary& boundary);

    DeviceTimer* timer_;
    ClockSync clock_sync_;
    std::vector<StreamQueue> streams_;
    bool saw_captured_ = false;
};

}  // namespace virnuc
