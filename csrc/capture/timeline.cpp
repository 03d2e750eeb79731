// SPDX-License-Identifier: MIT
#include "capture/timeline.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "capture/collector_loop.h"
#include "device/cuda_device.h"
#include "driver/errors.h"

namespace virnuc {

namespace {

/// Time that stopping the thread may take beyond the caller's timeout: for a sync in progress, a last one, and freeing
/// the events.
constexpr std::int64_t grace_ns = ClockSync::max_wait_ns + 250'000'000;

void validate(const TimelineOptions& options) {
    if (options.event_pool_size < 1) {
        throw std::invalid_argument("event_pool_size is " + std::to_string(options.event_pool_size) +
                                    ", must be at least 1");
    }
    if (options.collect_interval_ns < 1) throw std::invalid_argument("collect_interval_ms is 0, must be positive");
    if (options.clock_sync_interval_ns < 1)
        throw std::invalid_argument("clock_sync_interval_ms is 0, must be positive");
}

}  // namespace

Timeline::Timeline(TimelineOptions options) {
    validate(options);
    recording_ = std::make_shared<Recording>(options.stages, options.device_stages, options.nvtx, options.clock);
    recording_->default_stream = options.stream;
    if (!options.device) return;
    const CudaApi& api = options.cuda != nullptr ? *options.cuda : require_cuda(*options.device);
    const auto pool_size = static_cast<std::size_t>(options.event_pool_size);
    const auto timer = std::make_shared<DeviceTimer>(api, *options.device, pool_size);
    recording_->timer = timer;
    const CurrentContext current(timer->context());
    try {
        collector_ = std::make_shared<EventCollector>(*timer, options.clock);
        collector_->sync_clocks();
        if (const auto failure = timer->failure()) throw CudaError(*failure);
        if (options.background) run_in_background(options);
    } catch (...) {  // events and streams belong to the user's context, which lives on
        timer->pool().destroy();
        if (collector_) collector_->destroy();
        throw;
    }
}

void Timeline::run_in_background(const TimelineOptions& options) {
    thread_.start([loop = CollectorLoop{recording_, collector_, drain_deadline_ns_, options.collect_interval_ns,
                                        options.clock_sync_interval_ns}](StopSignal& signal) { loop.run(signal); });
}

std::shared_ptr<Batch> Timeline::begin_batch(std::int64_t index) {
    Recording& recording = *recording_;
    if (!recording.owner.is_current()) {
        throw Error("this timeline belongs to the parent process; create a new one in the forked child");
    }
    std::shared_ptr<Batch> batch;
    bool stages_need_spare = false;
    bool batches_need_spare = false;
    {
        const MarkLock lock(recording);
        if (recording.stopped) throw std::invalid_argument("the timeline has been stopped: no batch can begin");
        const auto row = static_cast<std::uint32_t>(recording.batches.size());
        BatchRecord& record = recording.batches.append({.index = index, .host_start_ns = recording.now()});
        batch = std::make_shared<Batch>(recording_, record, row);
        stages_need_spare = recording.stage_records.needs_spare();
        batches_need_spare = recording.batches.needs_spare();
    }
    // Marking the coming stages must not allocate. Usually the collector thread has prepared the chunks already.
    if (stages_need_spare) recording.stage_records.prepare_spare();
    if (batches_need_spare) recording.batches.prepare_spare();
    return batch;
}

void Timeline::stop(std::int64_t timeout_ns) {
    if (!recording_->owner.is_current()) {  // before taking a mutex that may stay locked forever in a forked child
        thread_.join_until(0);
        return;
    }
    const std::lock_guard one_at_a_time(stop_mutex_);
    {
        const std::lock_guard lock(recording_->mark_mutex);
        recording_->stopped = true;
        if (recording_->timer) recording_->timer->close();
    }
    if (!thread_.running()) return;
    const std::int64_t drain_deadline_ns = monotonic_ns() + std::max<std::int64_t>(timeout_ns, 0);
    drain_deadline_ns_->store(drain_deadline_ns);
    thread_.request_stop();
    if (!thread_.join_until(drain_deadline_ns + grace_ns)) {
        recording_->timer->turn_off(
            {"a driver call did not return; the collector thread was abandoned", CUDA_ERROR_TIMEOUT, ""});
        flag_untimed();
    }
}

void Timeline::flag_untimed() {
    Recording& recording = *recording_;
    const std::lock_guard lock(recording.mark_mutex);
    for (std::size_t i = 0; i < recording.stage_records.size(); ++i) {
        StageRecord& stage = recording.stage_records[i];
        const std::int64_t end = std::atomic_ref(stage.device_end_ns).load(std::memory_order_relaxed);
        if (stage.timing != Timing::none && end == not_measured) flag_dropped(recording.batches[stage.batch]);
    }
}

bool Timeline::device_enabled() const noexcept {
    return recording_->timer && recording_->timer->enabled();
}

std::optional<std::string> Timeline::device_error() const {
    const auto failure = recording_->timer ? recording_->timer->failure() : std::nullopt;
    return failure ? std::optional<std::string>(failure->what()) : std::nullopt;
}

std::vector<Anchor> Timeline::anchors() const {
    return recording_->timer ? recording_->timer->anchors() : std::vector<Anchor>{};
}

std::optional<std::int64_t> Timeline::collector_cpu_ns() {
    if (!recording_->owner.is_current()) return std::nullopt;
    const std::lock_guard lock(stop_mutex_);
    return thread_.cpu_ns();
}

std::size_t Timeline::memory_bytes() const noexcept {
    return recording_->batches.bytes() + recording_->stage_records.bytes();
}

}  // namespace virnuc
