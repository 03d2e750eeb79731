// SPDX-License-Identifier: MIT
#include "capture/anchor_taker.h"

#include <algorithm>
#include <cmath>

namespace virnuc {

namespace {

constexpr int tries = 5;
/// A device that has not answered by then is busy on every queue: the anchor is left out. The next ones get more time,
/// for where the device is always shared: a wide anchor is better than elapsed times over minutes.
constexpr std::int64_t least_patience_ns = 2'000'000;

/// Not ordered after other streams, and of highest priority, so that it does not queue behind the work.
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

AnchorTaker::AnchorTaker(DeviceTimer& timer, Clock clock)
    : timer_(&timer), clock_(clock), patience_ns_(least_patience_ns) {
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

void AnchorTaker::destroy() noexcept {
    const CudaApi& api = timer_->api();
    for (CUevent* event : {&reference_, &best_, &trial_}) {
        if (*event != nullptr) api.event_destroy(*event);
        *event = nullptr;
    }
    if (stream_ != nullptr) api.stream_destroy(stream_);
    stream_ = nullptr;
}

bool AnchorTaker::bracket(CUevent event, std::int64_t give_up_at_ns, Bracket& result) {
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
        if (result.after_ns > give_up_at_ns) return false;
    }
}

bool AnchorTaker::take(std::int64_t at_most_ns) {
    const std::int64_t give_up_at_ns = clock_() + std::min(patience_ns_, at_most_ns);  // all tries together
    Bracket best;
    bool found = false;
    for (int i = 0; i < tries; ++i) {
        Bracket trial;
        if (!bracket(trial_, give_up_at_ns, trial)) {
            if (!timer_->enabled()) return false;
            break;  // whoever waits does not get the others faster
        }
        if (!found || trial.width() < best.width()) {
            best = trial;
            std::swap(best_, trial_);
            found = true;
        }
    }
    patience_ns_ = found ? least_patience_ns : std::min(4 * patience_ns_, most_patience_ns);
    if (!found) return false;
    std::int64_t device_ns = 0;
    if (anchored_) {
        if (const CUresult result = device_time(best_, device_ns); result != CUDA_SUCCESS) {
            if (result != CUDA_ERROR_NOT_READY) timer_->turn_off(result, "cuEventElapsedTime");
            return false;
        }
    }
    std::swap(reference_, best_);
    reference_device_ns_ = device_ns;
    anchored_ = true;
    timer_->add_anchor({best.before_ns + best.width() / 2, device_ns, (best.width() + 1) / 2});
    return true;
}

CUresult AnchorTaker::device_time(CUevent event, std::int64_t& device_ns) const {
    float elapsed_ms = 0.0F;
    const CUresult result = timer_->api().event_elapsed_ms(&elapsed_ms, reference_, event);
    if (result == CUDA_SUCCESS) {
        device_ns = reference_device_ns_ + std::llround(static_cast<double>(elapsed_ms) * 1e6);
    }
    return result;
}

}  // namespace virnuc
