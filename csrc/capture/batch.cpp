// SPDX-License-Identifier: MIT
#include "capture/batch.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>

namespace virnuc {

void Batch::require_open() const {
    if (is_open()) return;
    throw std::invalid_argument(
        "batch " + std::to_string(index()) +
        " has ended: " + (recording_->stopped ? "its run is over, start another" : "begin another with begin_batch()"));
}

// Starts a stage and ends `previous` with the same clock reading, and with the same event if both are timed on one
// stream. Costs a clock reading, a stage record, at most two cuEventRecord calls, and an NVTX pop and push.
OpenStage Batch::start(std::int16_t number, Stream stream, OpenStage* previous, Timing timing) {
    Recording& recording = *recording_;
    const std::int64_t now = recording.now();
    const Recording::StageInfo& stage = recording.stages()[static_cast<std::size_t>(number)];
    OpenStage next;
    next.record = &recording.stage_records.append({.host_start_ns = now, .batch = row_, .stage = number});
    next.stream = stream;
    StageRecord* ended = previous != nullptr && previous->timed() ? previous->record : nullptr;
    if (DeviceTimer* timer = recording.timer.get(); timer != nullptr) {
        if (ended != nullptr && (timing != Timing::events || previous->stream != stream)) {
            timer->record(previous->stream, *record_, ended, nullptr);
            ended = nullptr;
        }
        if (timing == Timing::timestamps && timer->accepts(*record_)) next.record->timing = timing;
        if (timing == Timing::events && timer->record(stream, *record_, ended, next.record)) {
            next.record->timing = timing;
            follow(number, stream, previous);
        }
    }
    if (previous != nullptr && previous->record != nullptr) {
        previous->record->host_end_ns = now;
        pop_range(*previous);
    }
    if (recording.nvtx) next.range = begin_range(stage.label, static_cast<std::uint64_t>(record_->index));
    return next;
}

// Aligns the latest timestamped stage with a stage that has events, if that one can be known to come after it.
void Batch::follow(std::int16_t number, Stream stream, const OpenStage* previous) {
    if (awaiting_follower_ == nullptr) return;
    const bool next_on_stream =
        previous != nullptr && previous->record == awaiting_follower_ && previous->stream == stream;
    if (next_on_stream) awaiting_follower_->follower = static_cast<std::uint8_t>(number);
    if (awaiting_follower_->follower == number) awaiting_follower_ = nullptr;
}

void Batch::pop_range(const OpenStage& stage) noexcept {
    if (!end_range(stage.range)) recording_->cross_thread_ranges.fetch_add(1, std::memory_order_relaxed);
}

void Batch::finish(OpenStage& stage, std::int64_t now) {
    if (stage.record == nullptr) return;
    if (stage.timed()) recording_->timer->record(stage.stream, *record_, stage.record, nullptr);
    stage.record->host_end_ns = now;
    pop_range(stage);
    stage = {};
}

void Batch::mark(std::string_view stage, std::optional<Stream> stream) {
    if (in_forked_child()) return;
    const MarkLock lock(*recording_);
    const std::int16_t number = recording_->stage_number(stage);
    require_open();
    running_ = start(number, stream.value_or(recording_->default_stream), &running_, timing_of(number));
}

bool Batch::mark_device_timestamped(std::string_view stage, std::optional<Stream> stream, std::string_view followed_by,
                                    bool gapless) {
    if (in_forked_child()) return false;
    const MarkLock lock(*recording_);
    const std::int16_t number = recording_->stage_number(stage);
    const std::int16_t follower = recording_->stage_number(followed_by);
    require_open();
    const bool can_be_aligned = timing_of(number) == Timing::events && timing_of(follower) == Timing::events;
    const Timing timing = can_be_aligned ? Timing::timestamps : timing_of(number);
    running_ = start(number, stream.value_or(recording_->default_stream), &running_, timing);
    if (running_.record->timing != Timing::timestamps) return false;
    if (awaiting_timestamps_ != nullptr || awaiting_follower_ != nullptr) flag_dropped(*record_);
    running_.record->follower = static_cast<std::uint8_t>(follower);
    running_.record->gapless = gapless;
    awaiting_timestamps_ = awaiting_follower_ = running_.record;
    return true;
}

void Batch::set_device_timestamps(std::int64_t start_ns, std::int64_t end_ns) {
    if (in_forked_child()) return;
    const MarkLock lock(*recording_);
    if (!is_open()) return;  // close() has flagged the batch
    if (awaiting_timestamps_ == nullptr) {
        throw std::invalid_argument(
            "no stage of batch " + std::to_string(index()) +
            " waits for timestamps: mark one with mark_device_timestamped(), and set them once");
    }
    if (start_ns <= 0 || end_ns < start_ns) return;  // close() flags a stage without timestamps
    std::atomic_ref(awaiting_timestamps_->device_start_ns).store(start_ns, std::memory_order_relaxed);
    std::atomic_ref(awaiting_timestamps_->device_end_ns).store(end_ns, std::memory_order_relaxed);
    awaiting_timestamps_ = nullptr;
}

bool Batch::copy(std::string_view stage, std::optional<Stream> stream, const AsyncCopy& copy) {
    mark(stage, stream);
    const bool queued = copy.queue(stream.value_or(recording_->default_stream));  // no MarkLock: not a profiling cost
    end_stage();
    return queued;
}

/// Returns events if the stage runs on the device, else none.
Timing Batch::timing_of(std::int16_t stage) const {
    const bool on_device = recording_->stages()[static_cast<std::size_t>(stage)].on_device;
    return on_device && recording_->timer ? Timing::events : Timing::none;
}

void Batch::end_stage() {
    if (in_forked_child()) return;
    const MarkLock lock(*recording_);
    finish(running_, recording_->now());
}

std::unique_ptr<StageScope> Batch::stage(std::string_view stage, std::optional<Stream> stream) {
    return std::make_unique<StageScope>(shared_from_this(), recording_->stage_number(stage),
                                        stream.value_or(recording_->default_stream));
}

void Batch::record_interval(std::string_view stage, std::int64_t start_ns, std::int64_t end_ns) {
    if (in_forked_child()) return;
    const std::int16_t number = recording_->stage_number(stage);
    if (end_ns < start_ns) {
        throw std::invalid_argument("interval of stage '" + std::string(stage) + "' ends before it starts (" +
                                    std::to_string(start_ns) + " to " + std::to_string(end_ns) + " ns)");
    }
    const MarkLock lock(*recording_);
    require_open();
    recording_->stage_records.append(
        {.host_start_ns = start_ns, .host_end_ns = end_ns, .batch = row_, .stage = number});
}

void Batch::set_packing(const PackStatistics& statistics) {
    if (in_forked_child()) return;
    const MarkLock lock(*recording_);
    require_open();
    record_->sequences = statistics.sequences;
    record_->tokens = statistics.tokens;
    record_->min_length = statistics.min_length;
    record_->max_length = statistics.max_length;
    record_->sum_squared_lengths = statistics.sum_squared_lengths;
    record_->token_budget = statistics.token_budget.value_or(0);
    const std::uint32_t flags = has_packing | (statistics.oversize() ? oversize : 0U);
    const std::atomic_ref shared_flags(record_->flags);
    shared_flags.fetch_and(~(has_packing | oversize), std::memory_order_relaxed);
    shared_flags.fetch_or(flags, std::memory_order_relaxed);
}

void Batch::end() {
    close(BatchState::ended);
}

void Batch::discard() {
    close(BatchState::discarded);
}

void Batch::close(BatchState state) {
    if (in_forked_child()) return;
    const MarkLock lock(*recording_);
    if (!is_open()) return;
    const std::int64_t now = recording_->now();
    finish(running_, now);
    for (StageScope* scope : scopes_) finish(scope->open_, now);
    scopes_.clear();
    if (awaiting_timestamps_ != nullptr || awaiting_follower_ != nullptr) flag_dropped(*record_);
    record_->host_end_ns = now;
    // Readers take no lock: this store publishes everything written before it.
    std::atomic_ref(record_->state).store(state, std::memory_order_release);
}

void StageScope::enter() {
    if (batch_->in_forked_child()) return;
    const MarkLock lock(*batch_->recording_);
    batch_->require_open();
    if (open_.record != nullptr) throw std::invalid_argument("this stage has been entered already");
    open_ = batch_->start(stage_, stream_, nullptr, batch_->timing_of(stage_));
    batch_->scopes_.push_back(this);  // last, so that the batch never knows a scope that failed to start
}

void StageScope::leave() {
    if (batch_->in_forked_child()) return;
    const MarkLock lock(*batch_->recording_);
    if (open_.record == nullptr) return;
    batch_->finish(open_, batch_->recording_->now());
    std::erase(batch_->scopes_, this);
}

}  // namespace virnuc
