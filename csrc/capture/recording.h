// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "capture/chunked_store.h"
#include "capture/clock.h"
#include "capture/device_timer.h"
#include "capture/mark_cost.h"
#include "capture/records.h"
#include "device/nvtx_range.h"
#include "driver/fork_guard.h"

namespace virnuc {

/// What a timeline and its batches share: the stages and all records. It outlives the timeline for as long as any batch
/// exists.
class Recording {
  public:
    static constexpr std::size_t max_stages = 64;

    /// Throws std::invalid_argument if there are no stages or too many, if a name is empty or occurs twice, or if a
    /// device stage is not among the stages.
    Recording(std::vector<std::string> stages, const std::vector<std::string>& device_stages, bool nvtx, Clock clock);

    /// Returns the number of a stage. Throws std::invalid_argument with a list of the names.
    [[nodiscard]] std::int16_t stage_number(std::string_view name) const;

    struct StageInfo {
        std::string name;
        bool on_device = false;
        RangeLabel label;
    };
    [[nodiscard]] const std::vector<StageInfo>& stages() const noexcept { return stages_; }
    [[nodiscard]] std::int64_t now() const noexcept { return clock_(); }

    const bool nvtx;
    const OwnerProcess owner;
    Stream default_stream = 0;
    std::shared_ptr<DeviceTimer> timer;  ///< nullptr: host times only

    /// Held by a thread while it marks. The collector and readers never take it.
    std::mutex mark_mutex;
    bool stopped = false;  ///< under mark_mutex
    ChunkedStore<BatchRecord> batches;
    ChunkedStore<StageRecord> stage_records;
    std::atomic<std::int64_t> cross_thread_ranges{0};
    MarkCost cost;  ///< counted under mark_mutex

  private:
    std::vector<StageInfo> stages_;
    Clock clock_;
};

/// Holds the mark mutex for one call of a marking thread and counts the cost of the call, including its wait for the
/// mutex.
class MarkLock {
  public:
    explicit MarkLock(Recording& recording)
        : recording_(recording),
          timed_(recording.cost.next_is_timed()),
          entered_ns_(timed_ ? recording.now() : 0),
          lock_(recording.mark_mutex) {}
    MarkLock(const MarkLock&) = delete;
    MarkLock& operator=(const MarkLock&) = delete;
    ~MarkLock() {
        if (timed_) {
            recording_.cost.count_timed(recording_.now() - entered_ns_);
        } else {
            recording_.cost.count();
        }
    }

  private:
    Recording& recording_;
    bool timed_;
    std::int64_t entered_ns_;
    std::lock_guard<std::mutex> lock_;  ///< unlocks after the destructor has counted the call
};

}  // namespace virnuc
