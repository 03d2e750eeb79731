// SPDX-License-Identifier: MIT
#include "capture/clock_sync.h"

#include <algorithm>
#include <cmath>

namespace virnuc {

namespace {

constexpr int attempts = 5;
/// Wait limit of a sync, unless the last one timed out. A device that does not answer in time is busy on all queues, so
/// the sync is skipped; the next ones wait longer, because a wide anchor is better than float32 times over minutes.
constexpr std::int64_t min_wait_ns = 2'000'000;

/// Creates a non-blocking stream of the highest priority, so that a sync does not queue behind the work.
CUstream make_stream(const CudaApi& api) {
    CUstream stream = nullptr;
    int least = 0;
    int greatest = 0;
    if (api.stream_create_with_priority != nullptr && api.stream_priority_range != nullptr &&
        api.stream_priority_range(&least, &greatest) == CUDA_SUCCESS &&
        api.stream_create_with_priority(&stream, CU_STREAM_NON_BLOCKING, greatest) == CUDA_SUCCESS) {
        return stream;
    }
    api.check(api.stream_create(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
    return stream;
}

}  // namespace

ClockSync::ClockSync(DeviceTimer& timer, Clock clock) : timer_(&timer), clock_(clock), wait_ns_(min_wait_ns) {
    const CudaApi& api = timer.api();
    try {
        stream_ = make_stream(api);
        for (CUevent* event : {&reference_, &best_, &trial_}) {
            api.check(api.event_create(event, CU_EVENT_DEFAULT), "cuEventCreate");
        }
    } catch (...) {
        destroy();
        throw;
    }
}

void ClockSync::destroy() noexcept {
    const CudaApi& api = timer_->api();
    for (CUevent* event : {&reference_, &best_, &trial_}) {
        if (*event != nullptr) api.event_destroy(*event);
        *event = nullptr;
    }
    if (stream_ != nullptr) api.stream_destroy(stream_);
    stream_ = nullptr;
}

bool ClockSync::bracket(CUevent event, std::int64_t deadline_ns, Bracket& result) {
    const CudaApi& api = timer_->api();
    result.before_ns = clock_();
    if (const CUresult recorded = api.event_record(event, stream_); recorded != CUDA_SUCCESS) {
        timer_->turn_off(recorded, "cuEventRecord");
        return false;
    }
    for (;;) {
        const CUresult state = api.event_query(event);
        result.after_ns = clock_();
        if (state == CUDA_SUCCESS) return true;
        if (state != CUDA_ERROR_NOT_READY) {
            timer_->turn_off(state, "cuEventQuery");
            return false;
        }
        if (result.after_ns > deadline_ns) return false;
    }
}

bool ClockSync::sync(std::int64_t limit_ns) {
    const std::int64_t deadline_ns = clock_() + std::min(wait_ns_, limit_ns);  // for all attempts together
    Bracket best;
    bool found = false;
    for (int i = 0; i < attempts; ++i) {
        Bracket trial;
        if (!bracket(trial_, deadline_ns, trial)) {
            if (!timer_->enabled()) return false;
            break;  // the device would not answer further attempts sooner
        }
        if (!found || trial.width() < best.width()) {
            best = trial;
            std::swap(best_, trial_);
            found = true;
        }
    }
    wait_ns_ = found ? min_wait_ns : std::min(4 * wait_ns_, max_wait_ns);
    if (!found) return false;
    std::int64_t device_ns = 0;
    if (synced_) {
        if (const CUresult result = device_time(best_, device_ns); result != CUDA_SUCCESS) {
            if (result != CUDA_ERROR_NOT_READY) timer_->turn_off(result, "cuEventElapsedTime");
            return false;
        }
    }
    std::swap(reference_, best_);
    reference_device_ns_ = device_ns;
    synced_ = true;
    timer_->add_anchor({best.before_ns + best.width() / 2, device_ns, (best.width() + 1) / 2});
    return true;
}

CUresult ClockSync::device_time(CUevent event, std::int64_t& device_ns) const {
    float elapsed_ms = 0.0F;
    const CUresult result = timer_->api().event_elapsed_ms(&elapsed_ms, reference_, event);
    if (result == CUDA_SUCCESS) {
        device_ns = reference_device_ns_ + std::llround(static_cast<double>(elapsed_ms) * 1e6);
    }
    return result;
}

}  // namespace virnuc
