// SPDX-License-Identifier: MIT
#include "capture/timeline.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "device/cuda_device.h"
#include "driver/errors.h"

namespace virnuc {

namespace {

/// Time that the end of the thread may take beyond the caller's timeout: a last anchor, freeing events.
constexpr std::int64_t grace_ns = 250'000'000;
/// Until the clocks have been compared once, try this often.
constexpr std::int64_t anchor_retry_ns = 50'000'000;

void validate(const TimelineOptions& options) {
    if (options.event_pool_size < 1) {
        throw std::invalid_argument("event_pool_size is " + std::to_string(options.event_pool_size) +
                                    ", must be at least 1");
    }
    if (options.harvest_interval_ns < 1) throw std::invalid_argument("harvest_interval_ms must be positive");
    if (options.anchor_interval_ns < 1) throw std::invalid_argument("anchor_interval_ms must be positive");
}

const CudaApi& usable_driver(int device) {
    const LibraryStatus status = cuda_status();
    if (status.available()) return cuda_library().api;
    throw LibraryUnavailable("CUDA device " + std::to_string(device) + " cannot be used: " + status.reason);
}

/// All that the background thread uses, and owns.
struct HarvestLoop {
    std::shared_ptr<Recording> recording;
    std::shared_ptr<Harvester> harvester;  ///< nullptr: no device
    std::shared_ptr<std::atomic<std::int64_t>> give_up_at_ns;
    std::int64_t harvest_interval_ns;
    std::int64_t anchor_interval_ns;

    void prepare_storage() const {
        recording->batches.prepare_spare();
        recording->stage_records.prepare_spare();
    }

    void run(StopSignal& signal) const {
        try {
            const CurrentContext current(recording->timer->context());
            allow_graph_capture();
            work(signal);
            finish();
        } catch (const CudaError& error) {  // the context could not be made current
            end_early(signal, error);
        } catch (const std::exception& error) {  // out of memory
            end_early(signal, CudaError(std::string("the harvesting thread failed: ") + error.what(),
                                        CUDA_ERROR_OUT_OF_MEMORY, ""));
        }
    }

    void end_early(StopSignal& signal, const CudaError& error) const {
        recording->timer->turn_off(error);
        while (!signal.wait_until(monotonic_ns() + 1'000'000'000)) continue;
        harvester->abandon();
    }

    /// A thread that queries events would otherwise break another thread's graph capture.
    void allow_graph_capture() const {
        CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
        const auto exchange = recording->timer->api().exchange_capture_mode;
        if (exchange != nullptr) exchange(&mode);
    }

    void work(StopSignal& signal) const {
        std::int64_t next_poll = monotonic_ns();
        std::int64_t next_anchor = next_poll + anchor_interval_ns;
        do {
            prepare_storage();
            std::int64_t now = monotonic_ns();
            if (recording->timer->enabled() && (now >= next_anchor || !harvester->anchored())) {
                const bool taken = harvester->take_anchor();
                now = monotonic_ns();
                next_anchor = now + (taken ? anchor_interval_ns : std::min(anchor_interval_ns, anchor_retry_ns));
            }
            harvester->poll();
            next_poll += harvest_interval_ns;
            now = monotonic_ns();
            if (next_poll < now) next_poll = now + harvest_interval_ns;  // late: no burst to catch up
        } while (!signal.wait_until(next_poll));
    }

    void finish() const {
        DeviceTimer& timer = *recording->timer;
        harvester->poll();
        while (!harvester->idle() && timer.enabled() && monotonic_ns() < give_up_at_ns->load()) {
            std::this_thread::sleep_for(
                std::chrono::nanoseconds(std::min<std::int64_t>(harvest_interval_ns, 1'000'000)));
            if (!harvester->anchored()) harvester->take_anchor();
            harvester->poll();
        }
        if (timer.enabled()) harvester->take_anchor();
        harvester->abandon();
        timer.pool().destroy();
        harvester->destroy();
    }
};

}  // namespace

Timeline::Timeline(TimelineOptions options) {
    validate(options);
    recording_ = std::make_shared<Recording>(options.stages, options.device_stages, options.nvtx, options.clock);
    recording_->default_stream = options.stream;
    if (!options.device) return;
    const CudaApi& api = options.cuda != nullptr ? *options.cuda : usable_driver(*options.device);
    const auto pool_size = static_cast<std::size_t>(options.event_pool_size);
    const auto timer = std::make_shared<DeviceTimer>(api, *options.device, pool_size);
    recording_->timer = timer;
    try {
        const CurrentContext current(timer->context());
        harvester_ = std::make_shared<Harvester>(*timer, options.clock);
        harvester_->take_anchor();
        if (const auto failure = timer->failure()) throw CudaError(*failure);
    } catch (...) {
        timer->pool().destroy();
        if (harvester_) harvester_->destroy();
        throw;
    }
    if (options.background) run_in_background(options);
}

void Timeline::run_in_background(const TimelineOptions& options) {
    HarvestLoop loop{recording_, harvester_, give_up_at_ns_, options.harvest_interval_ns, options.anchor_interval_ns};
    thread_.start([loop = std::move(loop)](StopSignal& signal) {
        loop.run(signal);
        loop.recording->timer->context().release();
    });
}

std::shared_ptr<Batch> Timeline::begin_batch(std::int64_t index) {
    Recording& recording = *recording_;
    if (!recording.owner.is_current()) {
        throw Error("this timeline belongs to the parent process; make a new one in the forked child");
    }
    std::unique_lock lock(recording.mark_mutex);
    if (recording.stopped) throw std::invalid_argument("the timeline has been stopped: no batch can begin");
    const auto row = static_cast<std::uint32_t>(recording.batches.size());
    BatchRecord& record = recording.batches.append({.index = index, .host_start_ns = recording.now()});
    const bool short_of_stages = recording.stage_records.runs_short();
    const bool short_of_batches = recording.batches.runs_short();
    lock.unlock();
    // So that marking the stages to come does not allocate; usually the thread has done it already.
    if (short_of_stages) recording.stage_records.prepare_spare();
    if (short_of_batches) recording.batches.prepare_spare();
    return std::make_shared<Batch>(recording_, record, row);
}

void Timeline::stop(std::int64_t timeout_ns) {
    if (!recording_->owner.is_current()) {  // before any lock: its holder may not have come along
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
    const std::int64_t give_up_at_ns = monotonic_ns() + std::max<std::int64_t>(timeout_ns, 0);
    give_up_at_ns_->store(give_up_at_ns);
    thread_.request_stop();
    if (!thread_.join_until(give_up_at_ns + grace_ns)) {
        recording_->timer->turn_off(
            {"a driver call did not return; the harvesting thread was left behind", CUDA_ERROR_TIMEOUT, ""});
        flag_untimed();
    }
}

void Timeline::flag_untimed() {
    Recording& recording = *recording_;
    const std::lock_guard lock(recording.mark_mutex);
    for (std::size_t i = 0; i < recording.stage_records.size(); ++i) {
        StageRecord& stage = recording.stage_records[i];
        const std::int64_t end = std::atomic_ref(stage.device_end_ns).load(std::memory_order_relaxed);
        if (stage.timed != 0 && end == not_measured) flag_dropped(recording.batches[stage.batch]);
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

std::size_t Timeline::memory_bytes() const noexcept {
    return recording_->batches.bytes() + recording_->stage_records.bytes();
}

}  // namespace virnuc
