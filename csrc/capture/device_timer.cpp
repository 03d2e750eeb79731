// SPDX-License-Identifier: MIT
#include "capture/device_timer.h"

#include <functional>
#include <thread>

namespace virnuc {

namespace {

EventPool pool_in(const CudaContext& context, std::size_t size) {
    const CurrentContext current(context);
    return {context.api(), size};
}

CUstream to_handle(Stream stream) noexcept {
    return reinterpret_cast<CUstream>(stream);  // NOLINT(performance-no-int-to-ptr): Python passes an integer
}

/// Events with the same key complete in order. The per-thread default stream (2) is a different stream in each thread.
Stream stream_key_of(Stream stream) noexcept {
    if (stream != 2) return stream;
    return std::hash<std::thread::id>{}(std::this_thread::get_id()) | 1U;  // odd, so never a pointer
}

}  // namespace

DeviceTimer::DeviceTimer(const CudaApi& api, int ordinal, std::size_t event_pool_size)
    : context_(api, ordinal), pool_(pool_in(context_, event_pool_size)), recorded_(event_pool_size) {}

bool DeviceTimer::accepts(BatchRecord& batch) const noexcept {
    const bool on = open_ && enabled();
    if (!on) flag_dropped(batch);
    return on;
}

bool DeviceTimer::record(Stream stream, BatchRecord& batch, StageRecord* ended, StageRecord* started) noexcept {
    if (!accepts(batch)) return false;
    CUevent event = is_being_captured(stream, batch) ? nullptr : pool_.acquire();
    if (event == nullptr) {
        flag_dropped(batch);
        return false;
    }
    if (const CUresult result = record_event(context_, event, to_handle(stream)); result != CUDA_SUCCESS) {
        turn_off(result, "cuEventRecord");
        flag_dropped(batch);
        return false;
    }
    recorded_.push({event, stream_key_of(stream), &batch, ended, started});  // never full: as large as the event pool
    return true;
}

bool DeviceTimer::is_being_captured(Stream stream, const BatchRecord& batch) noexcept {
    const Stream key = stream_key_of(stream);
    if (key == checked_stream_ && &batch == checked_batch_) return false;
    if (is_capturing(context_, to_handle(stream))) return true;
    checked_stream_ = key;
    checked_batch_ = &batch;
    return false;
}

void DeviceTimer::turn_off(const CudaError& failure) {
    const std::lock_guard lock(slow_mutex_);
    if (!failure_) failure_ = failure;
    enabled_.store(false, std::memory_order_release);
}

std::optional<CudaError> DeviceTimer::failure() const {
    const auto lock = lock_unless_orphaned(slow_mutex_, owner_);
    return lock ? failure_ : std::nullopt;
}

std::vector<Anchor> DeviceTimer::anchors() const {
    const auto lock = lock_unless_orphaned(slow_mutex_, owner_);
    return lock ? anchors_ : std::vector<Anchor>{};
}

void DeviceTimer::add_anchor(const Anchor& anchor) {
    const std::lock_guard lock(slow_mutex_);
    anchors_.push_back(anchor);
}

}  // namespace virnuc
