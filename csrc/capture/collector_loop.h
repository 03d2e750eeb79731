// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "capture/background_thread.h"
#include "capture/event_collector.h"
#include "capture/recording.h"

namespace virnuc {

/// The body of a timeline's background thread. It collects device times, synchronizes the clocks, keeps spare storage
/// ready, and releases the device at the end.
///
/// It owns everything it uses, because the thread is abandoned if a driver call blocks it.
struct CollectorLoop {
    std::shared_ptr<Recording> recording;  ///< has a device timer
    std::shared_ptr<EventCollector> collector;
    std::shared_ptr<std::atomic<std::int64_t>> drain_deadline_ns;  ///< valid after a stop request
    std::int64_t collect_interval_ns = 0;
    std::int64_t clock_sync_interval_ns = 0;

    /// Runs until a stop request, and then until no event is outstanding or the drain deadline has passed.
    void run(StopSignal& signal) const;

  private:
    void collect_until_stopped(StopSignal& signal) const;
    void drain() const;
    void wait_after_failure(StopSignal& signal, const CudaError& error) const;
    void allow_graph_capture() const;
};

}  // namespace virnuc
