// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "capture/recording.h"
#include "device/async_copy.h"
#include "packing/pack_statistics.h"

namespace virnuc {

/// A stage that is running.
struct OpenStage {
    StageRecord* record = nullptr;  ///< nullptr: no stage is running
    Stream stream = 0;
    RangeToken range;

    /// Whether the start event was recorded and the end event is still to come.
    [[nodiscard]] bool timed() const noexcept { return record != nullptr && record->timing == Timing::events; }
};

class StageScope;

/// One batch that is being recorded. It stays usable after its timeline has stopped or was destroyed.
///
/// In a forked child of the process that began the batch, every call does nothing.
class Batch : public std::enable_shared_from_this<Batch> {
  public:
    /// Called by Timeline::begin_batch only.
    Batch(std::shared_ptr<Recording> recording, BatchRecord& record, std::uint32_t row)
        : recording_(std::move(recording)), record_(&record), row_(row) {}
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;
    /// Discards a batch that was never ended.
    ~Batch() {
        if (is_open()) discard();
    }

    [[nodiscard]] std::int64_t index() const noexcept { return record_->index; }

    /// Ends the running stage and starts another: one clock reading, one range, and at most one event if both run on
    /// one stream. Throws std::invalid_argument if there is no such stage or the batch has ended.
    void mark(std::string_view stage, std::optional<Stream> stream);
    /// Marks a stage like mark(), but without events: its first and last kernels record the device's global timer, so
    /// nothing separates them from the neighboring kernels.
    ///
    /// `followed_by` names a stage with events that is marked later in the batch and begins on the device after this
    /// one has ended. Its event aligns the timestamps with the times of events. If the very next stage has events on
    /// the same stream, as a second pass over the batch does, that stage takes the place of the follower.
    ///
    /// Returns true if set_device_timestamps() must follow, before the batch ends and before the next timestamped
    /// stage. Returns false if there are no device times or no such stage: the call then was a plain mark().
    ///
    /// Throws std::invalid_argument as mark() does.
    ///
    /// `gapless` says whether one launch queues all kernels of the stage, as a graph replay does.
    bool mark_device_timestamped(std::string_view stage, std::optional<Stream> stream, std::string_view followed_by,
                                 bool gapless);
    /// Stores what the kernels of the latest timestamped stage wrote. If the start is 0 or the end comes before it, the
    /// stage has no device times and the batch is flagged.
    ///
    /// Does nothing once the batch has ended. Throws std::invalid_argument if no stage waits for timestamps.
    void set_device_timestamps(std::int64_t start_ns, std::int64_t end_ns);
    /// Marks a stage that is one asynchronous copy, queues the copy, and ends the stage.
    ///
    /// Nothing but the copy comes between the stage's two events. Events around a copy that Python queues would measure
    /// how long Python takes: on an idle stream, the first event completes long before the copy is queued.
    ///
    /// Returns whether the copy was queued, which does not depend on whether the stage is timed. Throws
    /// std::invalid_argument as mark() does; the copy is not queued then.
    bool copy(std::string_view stage, std::optional<Stream> stream, const AsyncCopy& copy);
    /// Ends the running stage, if any.
    void end_stage();
    /// Creates a stage that is entered and left on its own. Throws std::invalid_argument if there is no such stage.
    std::unique_ptr<StageScope> stage(std::string_view stage, std::optional<Stream> stream);
    /// Adds a host interval that was measured elsewhere. Throws std::invalid_argument as mark() does, and if the
    /// interval ends before it starts.
    void record_interval(std::string_view stage, std::int64_t start_ns, std::int64_t end_ns);
    void set_packing(const PackStatistics& statistics);
    void end();
    void discard();

  private:
    friend class StageScope;

    [[nodiscard]] bool in_forked_child() const noexcept { return !recording_->owner.is_current(); }
    /// Throws std::invalid_argument if the batch has ended. The caller holds the mark mutex.
    void require_open() const;
    [[nodiscard]] bool is_open() const noexcept { return record_->state == BatchState::open; }
    OpenStage start(std::int16_t number, Stream stream, OpenStage* previous, Timing timing);
    void follow(std::int16_t number, Stream stream, const OpenStage* previous);
    [[nodiscard]] Timing timing_of(std::int16_t stage) const;
    void finish(OpenStage& stage, std::int64_t now);
    void pop_range(const OpenStage& stage) noexcept;
    void close(BatchState state);

    std::shared_ptr<Recording> recording_;
    BatchRecord* record_;
    std::uint32_t row_;
    OpenStage running_;
    StageRecord* awaiting_timestamps_ = nullptr;  ///< its timestamps are still to come
    StageRecord* awaiting_follower_ = nullptr;    ///< timestamped; its follower is still to come
    std::vector<StageScope*> scopes_;             ///< entered, but not left yet
};

/// A stage of a batch as a scope with its own two events.
class StageScope {
  public:
    StageScope(std::shared_ptr<Batch> batch, std::int16_t stage, Stream stream)
        : batch_(std::move(batch)), stage_(stage), stream_(stream) {}
    StageScope(const StageScope&) = delete;
    StageScope& operator=(const StageScope&) = delete;
    ~StageScope() { leave(); }

    /// Throws std::invalid_argument if the stage was entered already or the batch has ended.
    void enter();
    /// Does nothing if the stage is not entered or the batch has ended.
    void leave();

  private:
    friend class Batch;

    std::shared_ptr<Batch> batch_;
    std::int16_t stage_;
    Stream stream_;
    OpenStage open_;
};

}  // namespace virnuc
