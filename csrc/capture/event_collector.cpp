// SPDX-License-Identifier: MIT
#include "capture/event_collector.h"

#include <algorithm>
#include <atomic>

namespace virnuc {

namespace {

/// Whether the result of a query means that the event was recorded into a graph. Driver 580 returns the first code
/// during the capture and the second after it.
bool is_captured(CUresult state) {
    return state == CUDA_ERROR_CAPTURED_EVENT || state == CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

void EventCollector::collect() {
    Boundary boundary;
    while (timer_->next(boundary)) {
        auto queue = std::find_if(streams_.begin(), streams_.end(),
                                  [&](const StreamQueue& known) { return known.stream_key == boundary.stream_key; });
        if (queue == streams_.end()) queue = streams_.insert(queue, StreamQueue{boundary.stream_key, {}});
        queue->pending.push_back(boundary);
    }
}

bool EventCollector::pool_under_pressure() const noexcept {
    std::size_t in_flight = timer_->recorded();
    for (const StreamQueue& stream : streams_) in_flight += stream.pending.size();
    return 4 * in_flight >= timer_->pool().size();
}

bool EventCollector::completed(CUevent event) {
    const CUresult state = timer_->api().event_query(event);
    if (is_captured(state)) {
        saw_captured_ = true;
    } else if (state != CUDA_SUCCESS && state != CUDA_ERROR_NOT_READY) {
        timer_->turn_off(state, "cuEventQuery");
    }
    return state == CUDA_SUCCESS;
}

void EventCollector::drop_captured(std::deque<Boundary>& pending) {
    std::erase_if(pending, [this](const Boundary& boundary) {
        if (!is_captured(timer_->api().event_query(boundary.event))) return false;
        flag_dropped(*boundary.batch);
        timer_->pool().release(boundary.event);
        return true;
    });
    saw_captured_ = false;
}

std::size_t EventCollector::count_completed(const std::deque<Boundary>& pending) {
    // Events of a stream complete in order: if the newest has completed, all have; if the oldest has not, none has.
    // In between, gallop and then bisect, so that a long queue costs few driver calls.
    if (completed(pending.back().event)) return pending.size();
    if (pending.size() == 1 || !completed(pending.front().event)) return 0;
    std::size_t done = 1;
    std::size_t open = pending.size() - 1;  // index of an event that has not completed
    for (std::size_t step = 1; done + step < open; step *= 2) {
        if (!completed(pending[done + step - 1].event)) {
            open = done + step - 1;
            break;
        }
        done += step;
    }
    while (done < open) {
        const std::size_t middle = done + (open - done) / 2;
        if (completed(pending[middle].event)) {
            done = middle + 1;
        } else {
            open = middle;
        }
    }
    return done;
}

bool EventCollector::store_time(const Boundary& boundary) {
    std::int64_t device_ns = 0;
    const CUresult result = clock_sync_.device_time(boundary.event, device_ns);
    // Not ready after all: the driver may give the handle of a stream with pending events to a new stream.
    if (result == CUDA_ERROR_NOT_READY) return false;
    if (result == CUDA_SUCCESS) {
        if (boundary.ended != nullptr) {
            std::atomic_ref(boundary.ended->device_end_ns).store(device_ns, std::memory_order_relaxed);
        }
        if (boundary.started != nullptr) {
            std::atomic_ref(boundary.started->device_start_ns).store(device_ns, std::memory_order_relaxed);
        }
    } else if (is_captured(timer_->api().event_query(boundary.event))) {  // although later events have completed
        flag_dropped(*boundary.batch);
    } else {
        timer_->turn_off(result, "cuEventElapsedTime");
        return false;
    }
    timer_->pool().release(boundary.event);
    return true;
}

void EventCollector::poll() {
    collect();
    if (clock_sync_.synced()) {
        for (StreamQueue& stream : streams_) {
            if (!timer_->enabled()) break;
            std::size_t ready = count_completed(stream.pending);
            if (saw_captured_) {
                drop_captured(stream.pending);
                ready = stream.pending.empty() ? 0 : count_completed(stream.pending);
            }
            for (; ready > 0 && store_time(stream.pending.front()); --ready) stream.pending.pop_front();
        }
    }
    if (!timer_->enabled()) {
        drop_pending();
        return;
    }
    std::erase_if(streams_, [](const StreamQueue& stream) { return stream.pending.empty(); });
}

void EventCollector::drop_pending() {
    collect();
    for (const StreamQueue& stream : streams_) {
        for (const Boundary& boundary : stream.pending) flag_dropped(*boundary.batch);
    }
    streams_.clear();
}

}  // namespace virnuc
