// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "capture/clock_map.h"
#include "capture/records.h"
#include "device/cuda_context.h"
#include "device/event_pool.h"
#include "device/spsc_ring.h"
#include "driver/errors.h"
#include "driver/fork_guard.h"

namespace virnuc {

/// A CUstream as the integer that Python passes.
using Stream = std::uintptr_t;

/// A recorded event. Once it has completed, its time ends one stage, starts another, or both.
struct Boundary {
    CUevent event = nullptr;
    Stream stream_key = 0;  ///< events with the same key complete in order
    BatchRecord* batch = nullptr;
    StageRecord* ended = nullptr;
    StageRecord* started = nullptr;
};

/// The state of a device that marking threads and the collector share: the event pool, the queue of recorded events,
/// the anchors, and the first failure.
class DeviceTimer {
  public:
    /// Opens the device by its CUDA ordinal and creates all events. Throws CudaError.
    DeviceTimer(const CudaApi& api, int ordinal, std::size_t event_pool_size);

    /// Records one event for the boundary between two stages, either of which may be nullptr. Returns false and flags
    /// the batch if no event is free, a graph is being captured, or device timing is off.
    ///
    /// Never throws, allocates or waits for the device. Callers take turns.
    bool record(Stream stream, BatchRecord& batch, StageRecord* ended, StageRecord* started) noexcept;

    /// Whether device timing is on; flags the batch if it is off. Callers take turns.
    bool accepts(BatchRecord& batch) const noexcept;

    /// Stops the recording of events. No other thread may be inside record().
    void close() noexcept { open_ = false; }

    /// Turns device timing off after a failed call. The first failure is kept.
    void turn_off(CUresult result, const char* call) { turn_off({api().describe(result, call), result, call}); }
    void turn_off(const CudaError& failure);
    /// Whether device timing is on. It is off after a failure.
    [[nodiscard]] bool enabled() const noexcept { return enabled_.load(std::memory_order_acquire); }
    /// The first failure, if any. A forked child may see no failure and no anchors although its parent has some.
    [[nodiscard]] std::optional<CudaError> failure() const;

    [[nodiscard]] std::vector<Anchor> anchors() const;

    // --- For the collector ---
    bool next(Boundary& boundary) noexcept { return recorded_.pop(boundary); }
    /// Number of boundaries that next() has not returned yet.
    [[nodiscard]] std::size_t recorded() const noexcept { return recorded_.size(); }
    [[nodiscard]] EventPool& pool() noexcept { return pool_; }
    [[nodiscard]] CudaContext& context() noexcept { return context_; }
    [[nodiscard]] const CudaApi& api() const noexcept { return context_.api(); }
    void add_anchor(const Anchor& anchor);

  private:
    /// Whether a CUDA graph is being captured on a stream. Events of such a stream must not be queried, because a query
    /// invalidates the capture.
    ///
    /// The driver takes a tenth of the time of an event to answer, so it is asked once for as long as a batch stays on
    /// one stream. A capture that begins later on that stream is therefore not noticed before the batch changes its
    /// stream.
    bool is_being_captured(Stream stream, const BatchRecord& batch) noexcept;

    CudaContext context_;
    EventPool pool_;
    SpscRing<Boundary> recorded_;
    OwnerProcess owner_;
    bool open_ = true;
    Stream checked_stream_ = 0;                   ///< the stream that was found free of captures
    const BatchRecord* checked_batch_ = nullptr;  ///< the batch for which it was checked
    std::atomic<bool> enabled_{true};
    mutable std::mutex slow_mutex_;  ///< guards the next two members; never taken on the hot path
    std::optional<CudaError> failure_;
    std::vector<Anchor> anchors_;
};

/// Flags a batch that lacks device times. Any thread may call it.
inline void flag_dropped(BatchRecord& batch) noexcept {
    std::atomic_ref(batch.flags).fetch_or(device_times_dropped, std::memory_order_relaxed);
}

}  // namespace virnuc
