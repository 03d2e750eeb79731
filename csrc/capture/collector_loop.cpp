// SPDX-License-Identifier: MIT
#include "capture/collector_loop.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include "capture/clock.h"
#include "device/cuda_context.h"

namespace virnuc {

namespace {

/// Interval between attempts to synchronize the clocks, until the first one succeeds.
constexpr std::int64_t sync_retry_ns = 50'000'000;
/// Longest interval between checks whether the marking threads run low on events or storage. A check makes no driver
/// call.
constexpr std::int64_t max_tick_ns = 2'000'000;
/// Time that the last sync may take beyond the caller's timeout.
constexpr std::int64_t final_sync_ns = 2'000'000;
/// Longest interval between polls for outstanding events at the end.
constexpr std::int64_t max_final_poll_interval_ns = 1'000'000;

}  // namespace

void CollectorLoop::run(StopSignal& signal) const {
    try {
        const CurrentContext current(recording->timer->context());
        allow_graph_capture();
        collect_until_stopped(signal);
        drain();
    } catch (const CudaError& error) {  // the context could not be made current
        wait_after_failure(signal, error);
    } catch (const std::exception& error) {  // out of memory
        wait_after_failure(signal, CudaError(std::string("the collector thread failed: ") + error.what(),
                                             CUDA_ERROR_OUT_OF_MEMORY, ""));
    }
    recording->timer->context().release();
}

void CollectorLoop::wait_after_failure(StopSignal& signal, const CudaError& error) const {
    recording->timer->turn_off(error);
    while (!signal.wait_until(monotonic_ns() + 1'000'000'000)) continue;
    collector->drop_pending();
}

/// Lets other threads capture graphs. By default, the event queries of this thread would break their captures.
void CollectorLoop::allow_graph_capture() const {
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    const auto exchange = recording->timer->api().exchange_capture_mode;
    if (exchange != nullptr) exchange(&mode);
}

void CollectorLoop::collect_until_stopped(StopSignal& signal) const {
    const std::int64_t tick_ns = std::min(collect_interval_ns, max_tick_ns);
    std::int64_t next_tick = monotonic_ns();
    std::int64_t next_poll = next_tick;
    std::int64_t next_sync = next_tick + (collector->clocks_synced() ? clock_sync_interval_ns : 0);
    do {
        recording->batches.prepare_spare();
        recording->stage_records.prepare_spare();
        std::int64_t now = monotonic_ns();
        if (recording->timer->enabled() && now >= next_sync) {
            collector->sync_clocks();
            const std::int64_t wait_ns = collector->clocks_synced() ? clock_sync_interval_ns : sync_retry_ns;
            next_sync = monotonic_ns() + std::min(clock_sync_interval_ns, wait_ns);
        }
        if (now >= next_poll || collector->pool_under_pressure()) {
            collector->poll();
            next_poll = now + collect_interval_ns;
        }
        next_tick += tick_ns;
        now = monotonic_ns();
        if (next_tick < now) next_tick = now + tick_ns;  // late: skip the missed ticks
    } while (!signal.wait_until(next_tick));
}

void CollectorLoop::drain() const {
    DeviceTimer& timer = *recording->timer;
    const auto left_ns = [this] { return drain_deadline_ns->load() - monotonic_ns(); };
    collector->poll();
    while (!collector->idle() && timer.enabled() && left_ns() > 0) {
        const std::int64_t interval_ns = std::min(collect_interval_ns, max_final_poll_interval_ns);
        std::this_thread::sleep_for(std::chrono::nanoseconds(interval_ns));
        if (!collector->clocks_synced()) collector->sync_clocks(left_ns());
        collector->poll();
    }
    if (timer.enabled()) collector->sync_clocks(std::max(left_ns(), final_sync_ns));
    collector->drop_pending();
    timer.pool().destroy();
    collector->destroy();
}

}  // namespace virnuc
