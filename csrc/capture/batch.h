// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "capture/recording.h"
#include "packing/pack_statistics.h"

namespace virnuc {

/// A stage that is running.
struct OpenStage {
    StageRecord* record = nullptr;  ///< nullptr: none is running
    Stream stream = 0;
    RangeToken range;

    /// Its start event was recorded, and its end event is still to come.
    [[nodiscard]] bool timed() const noexcept { return record != nullptr && record->timing == Timing::events; }
};

class StageScope;

/// One batch that is being recorded. Safe to use after its timeline has stopped or gone.
///
/// In a forked child of the process that began it, every call does nothing.
class Batch : public std::enable_shared_from_this<Batch> {
  public:
    /// For Timeline::begin_batch.
    Batch(std::shared_ptr<Recording> recording, BatchRecord& record, std::uint32_t row)
        : recording_(std::move(recording)), record_(&record), row_(row) {}
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;
    /// A batch that was never ended is taken back.
    ~Batch() {
        if (is_open()) discard();
    }

    [[nodiscard]] std::int64_t index() const noexcept { return record_->index; }

    /// Ends the running stage and starts another: one clock reading, at most one event if both run on one
    /// stream, one range. Throws std::invalid_argument: no such stage, or the batch has ended.
    void mark(std::string_view stage, std::optional<Stream> stream);
    /// As mark(), for a stage whose first and last kernels stamp it with the device's own timer, so that no event
    /// stands between its kernels and those before and after. True if stamps are wanted: then set_stamps() must
    /// follow before the batch ends, and before another stage is stamped. False if there are no device times, or no
    /// stage `followed_by` with events, which must be marked later and begin on the device after this one has ended:
    /// without it nobody knows where the stamps lie among the other times, and this is mark() itself. Throws
    /// std::invalid_argument as mark() does.
    bool mark_stamped(std::string_view stage, std::optional<Stream> stream, std::string_view followed_by);
    /// What the kernels of the latest stamped stage wrote. A stage that was not stamped after all (the end before
    /// the start, or 0) flags the batch. Does nothing once the batch has ended. Throws std::invalid_argument: no
    /// stage waits for stamps.
    void set_stamps(std::int64_t start_ns, std::int64_t end_ns);
    /// Ends the running stage, if there is one.
    void end_stage();
    /// A stage that is entered and left on its own. Throws std::invalid_argument: no such stage.
    std::unique_ptr<StageScope> stage(std::string_view stage, std::optional<Stream> stream);
    /// Adds a host interval that was measured elsewhere. Throws std::invalid_argument as mark() does, and if
    /// it ends before it starts.
    void record_interval(std::string_view stage, std::int64_t start_ns, std::int64_t end_ns);
    void set_packing(const PackStatistics& statistics);
    void end();
    void discard();

  private:
    friend class StageScope;

    [[nodiscard]] bool foreign() const noexcept { return !recording_->owner.is_current(); }
    /// Under the mark mutex.
    void require_open() const;
    [[nodiscard]] bool is_open() const noexcept { return record_->state == BatchState::open; }
    OpenStage start(std::int16_t number, Stream stream, OpenStage* previous, Timing timing);
    [[nodiscard]] Timing timing_of(std::int16_t stage) const;
    void finish(OpenStage& stage, std::int64_t now);
    void pop_range(const OpenStage& stage) noexcept;
    void close(BatchState state);

    std::shared_ptr<Recording> recording_;
    BatchRecord* record_;
    std::uint32_t row_;
    OpenStage running_;
    StageRecord* unstamped_ = nullptr;  ///< its stamps are still to come
    StageRecord* unplaced_ = nullptr;   ///< a stamped stage whose follower is still to come
    std::vector<StageScope*> scopes_;   ///< entered and not yet left
};

/// A stage of a batch as a scope, with two events of its own.
class StageScope {
  public:
    StageScope(std::shared_ptr<Batch> batch, std::int16_t stage, Stream stream)
        : batch_(std::move(batch)), stage_(stage), stream_(stream) {}
    StageScope(const StageScope&) = delete;
    StageScope& operator=(const StageScope&) = delete;
    ~StageScope() { leave(); }

    /// Throws std::invalid_argument: entered already, or the batch has ended.
    void enter();
    /// Does nothing if it is not entered, or the batch has ended meanwhile.
    void leave();

  private:
    friend class Batch;

    std::shared_ptr<Batch> batch_;
    std::int16_t stage_;
    Stream stream_;
    OpenStage open_;
};

}  // namespace virnuc
