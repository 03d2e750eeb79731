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

/// A CUstream as an integer, as Python has it.
using Stream = std::uintptr_t;

/// An event on its way: when it has completed, its time ends one stage, starts another, or both.
struct Boundary {
    CUevent event = nullptr;
    Stream order = 0;  ///< events of the same order complete one after the other
    BatchRecord* batch = nullptr;
    StageRecord* ended = nullptr;
    StageRecord* started = nullptr;
};

/// What the threads that mark and the harvester share of a device: events, the way between the two, and the
/// state.
class DeviceTimer {
  public:
    /// Opens the device by CUDA's own number and makes all events. Throws CudaError.
    DeviceTimer(const CudaApi& api, int ordinal, std::size_t event_pool_size);

    /// Records one event for the boundary between two stages (either may be nullptr). Never throws, waits for
    /// the device or allocates: if there is no event, a graph is being captured, or device timing is off, the batch is
    /// flagged and false returned. The callers take turns.
    bool record(Stream stream, BatchRecord& batch, StageRecord* ended, StageRecord* started) noexcept;

    /// Whether device times are taken; if not, the batch is flagged. The callers take turns.
    bool accepts(BatchRecord& batch) const noexcept;

    /// No event is recorded any more. Callers of record() must have been kept out.
    void close() noexcept { open_ = false; }

    /// Ends device timing after a failed call; the first failure is kept.
    void turn_off(CUresult result, const char* call) { turn_off({api().describe(result, call), result, call}); }
    void turn_off(const CudaError& failure);
    /// False after a failure.
    [[nodiscard]] bool enabled() const noexcept { return enabled_.load(std::memory_order_acquire); }
    /// What failed, if anything did. In a forked child it may look as if nothing had, and as if there were no anchors.
    [[nodiscard]] std::optional<CudaError> failure() const;

    [[nodiscard]] std::vector<Anchor> anchors() const;

    // --- the harvester's side ---
    bool next(Boundary& boundary) noexcept { return recorded_.pop(boundary); }
    /// Boundaries that wait for next().
    [[nodiscard]] std::size_t recorded() const noexcept { return recorded_.size(); }
    [[nodiscard]] EventPool& pool() noexcept { return pool_; }
    [[nodiscard]] CudaContext& context() noexcept { return context_; }
    [[nodiscard]] const CudaApi& api() const noexcept { return context_.api(); }
    void add_anchor(const Anchor& anchor);

  private:
    /// Whether a CUDA graph is being captured on a stream. The harvester must not ask for an event that was recorded
    /// into a graph: before the capture has ended, that breaks it. The driver takes a tenth of an event's time to
    /// answer, so it is asked once for as long as a batch stays on one stream, and a capture that begins on the stream
    /// of the batch's last mark is not noticed.
    bool is_being_captured(Stream stream, const BatchRecord& batch) noexcept;

    CudaContext context_;
    EventPool pool_;
    SpscRing<Boundary> recorded_;
    OwnerProcess owner_;
    bool open_ = true;
    Stream free_stream_ = 0;                   ///< of no capture when
    const BatchRecord* free_batch_ = nullptr;  ///< this batch came to it
    std::atomic<bool> enabled_{true};
    mutable std::mutex slow_mutex_;  ///< of the two below; never taken on the hot path
    std::optional<CudaError> failure_;
    std::vector<Anchor> anchors_;
};

/// Marks that a batch lacks device times. From any thread.
inline void flag_dropped(BatchRecord& batch) noexcept {
    std::atomic_ref(batch.flags).fetch_or(device_times_dropped, std::memory_order_relaxed);
}

}  // namespace virnuc
