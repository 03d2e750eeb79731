// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "capture/background_thread.h"
#include "capture/batch.h"
#include "capture/event_collector.h"
#include "capture/recording.h"

namespace virnuc {

struct TimelineOptions {
    std::vector<std::string> stages;
    std::vector<std::string> device_stages;
    std::optional<int> device;  ///< CUDA ordinal; none: host times only
    Stream stream = 0;          ///< used where a call names no stream
    bool nvtx = true;
    std::int64_t event_pool_size = 4096;
    std::int64_t collect_interval_ns = 20'000'000;  ///< shorter while the event pool runs low
    std::int64_t clock_sync_interval_ns = 2'000'000'000;
    // For tests: another driver, another clock, and no thread, so that the test polls collector() itself.
    const CudaApi* cuda = nullptr;
    Clock clock = &monotonic_ns;
    bool background = true;
};

/// Records batches and their stages. A background thread collects the device times.
class Timeline {
  public:
    /// Throws LibraryUnavailable, CudaError or std::invalid_argument.
    explicit Timeline(TimelineOptions options);
    Timeline(const Timeline&) = delete;
    Timeline& operator=(const Timeline&) = delete;
    /// Drops outstanding device times.
    ~Timeline() { stop(0); }

    /// Throws std::invalid_argument after stop(), and Error in a forked child.
    std::shared_ptr<Batch> begin_batch(std::int64_t index);
    /// Waits at most `timeout_ns` for outstanding device times, then ends the thread. Idempotent.
    void stop(std::int64_t timeout_ns);

    [[nodiscard]] const Recording& recording() const noexcept { return *recording_; }
    [[nodiscard]] bool device_enabled() const noexcept;
    [[nodiscard]] std::optional<std::string> device_error() const;
    [[nodiscard]] std::vector<Anchor> anchors() const;
    [[nodiscard]] std::size_t memory_bytes() const noexcept;
    /// CPU time of the collector thread; none without a device.
    [[nodiscard]] std::optional<std::int64_t> collector_cpu_ns();

    /// For tests without a background thread.
    [[nodiscard]] EventCollector* collector() noexcept { return collector_.get(); }

  private:
    void run_in_background(const TimelineOptions& options);
    void flag_untimed();

    std::shared_ptr<Recording> recording_;
    std::shared_ptr<EventCollector> collector_;
    std::shared_ptr<std::atomic<std::int64_t>> drain_deadline_ns_ = std::make_shared<std::atomic<std::int64_t>>(0);
    std::mutex stop_mutex_;  ///< guards thread_ too
    BackgroundThread thread_;
};

}  // namespace virnuc
