// SPDX-License-Identifier: MIT
#include "capture/harvest_loop.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include "capture/clock.h"
#include "device/cuda_context.h"

namespace virnuc {

namespace {

/// Until the clocks have been compared once, try at least this often.
constexpr std::int64_t anchor_retry_ns = 50'000'000;
/// How often it is looked whether the marking threads run short of events or storage; costs no driver call.
constexpr std::int64_t longest_look_interval_ns = 2'000'000;
/// What a last anchor may take beyond the caller's timeout.
constexpr std::int64_t last_anchor_ns = 2'000'000;
/// How often outstanding events are looked for at the end.
constexpr std::int64_t last_poll_interval_ns = 1'000'000;

}  // namespace

void HarvestLoop::run(StopSignal& signal) const {
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
    recording->timer->context().release();
}

void HarvestLoop::end_early(StopSignal& signal, const CudaError& error) const {
    recording->timer->turn_off(error);
    while (!signal.wait_until(monotonic_ns() + 1'000'000'000)) continue;
    harvester->abandon();
}

/// A thread that queries events would otherwise break another thread's graph capture.
void HarvestLoop::allow_graph_capture() const {
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    const auto exchange = recording->timer->api().exchange_capture_mode;
    if (exchange != nullptr) exchange(&mode);
}

void HarvestLoop::work(StopSignal& signal) const {
    const std::int64_t look_interval_ns = std::min(harvest_interval_ns, longest_look_interval_ns);
    std::int64_t next_look = monotonic_ns();
    std::int64_t next_poll = next_look;
    std::int64_t next_anchor = next_look + (harvester->anchored() ? anchor_interval_ns : 0);
    do {
        recording->batches.prepare_spare();
        recording->stage_records.prepare_spare();
        std::int64_t now = monotonic_ns();
        if (recording->timer->enabled() && now >= next_anchor) {
            harvester->take_anchor();
            const std::int64_t wait_ns = harvester->anchored() ? anchor_interval_ns : anchor_retry_ns;
            next_anchor = monotonic_ns() + std::min(anchor_interval_ns, wait_ns);
        }
        if (now >= next_poll || harvester->crowded()) {
            harvester->poll();
            next_poll = now + harvest_interval_ns;
        }
        next_look += look_interval_ns;
        now = monotonic_ns();
        if (next_look < now) next_look = now + look_interval_ns;  // late: no burst to catch up
    } while (!signal.wait_until(next_look));
}

void HarvestLoop::finish() const {
    DeviceTimer& timer = *recording->timer;
    const auto left_ns = [this] { return give_up_at_ns->load() - monotonic_ns(); };
    harvester->poll();
    while (!harvester->idle() && timer.enabled() && left_ns() > 0) {
        std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(harvest_interval_ns, last_poll_interval_ns)));
        if (!harvester->anchored()) harvester->take_anchor(left_ns());
        harvester->poll();
    }
    if (timer.enabled()) harvester->take_anchor(std::max(left_ns(), last_anchor_ns));
    harvester->abandon();
    timer.pool().destroy();
    harvester->destroy();
}

}  // namespace virnuc
