// SPDX-License-Identifier: MIT
// The functions that control the stand-in for libcuda.so.1, through ctypes or dlsym. tests/support/standin.py wraps
// them.
#include <algorithm>
#include <chrono>
#include <thread>

#include "standin_cuda.h"

using namespace standin;

namespace {

void release(Simulation& state, Stream& stream) {
    for (Event* event : stream.waiting) {
        stream.busy_until = std::max(stream.busy_until, device_now(state) + state.latency_ns);
        event->complete_at = stream.busy_until;
    }
    stream.waiting.clear();
}

}  // namespace

/// Makes a call fail with `result` after `calls_before` more calls. A result of 0 makes it succeed again.
EXPORT void standin_cuda_fail(const char* name, int result, std::int64_t calls_before) {
    const std::lock_guard lock(simulation().mutex);
    if (result == success) {
        simulation().failures.erase(name);
    } else {
        simulation().failures[name] = {result, calls_before};
    }
}

/// Makes a call hang for `ns` before it does anything; -1: forever, 0: not at all.
EXPORT void standin_cuda_hang(const char* name, std::int64_t ns) {
    const std::lock_guard lock(simulation().mutex);
    simulation().hangs_ns[name] = ns;
}

/// Makes all calls return `result` from now on; 0: the device is back.
EXPORT void standin_cuda_vanish(int result) {
    const std::lock_guard lock(simulation().mutex);
    simulation().vanished = result;
}

EXPORT void standin_cuda_set_devices(int count, int mig) {
    const std::lock_guard lock(simulation().mutex);
    simulation().devices = count;
    simulation().mig = mig != 0;
}

EXPORT void standin_cuda_set_clock(std::int64_t offset_ns, double drift_ppm) {
    const std::lock_guard lock(simulation().mutex);
    simulation().offset_ns = offset_ns;
    simulation().drift_ppm = drift_ppm;
}

/// Sets the time from the recording of an event on an idle stream to its completion.
EXPORT void standin_cuda_set_latency(std::int64_t ns) {
    const std::lock_guard lock(simulation().mutex);
    simulation().latency_ns = ns;
}

/// Adds work of the given duration to a stream.
EXPORT void standin_cuda_launch(std::uintptr_t handle, std::int64_t duration_ns) {
    Simulation& state = simulation();
    const std::lock_guard lock(state.mutex);
    Stream& stream = state.streams[handle];
    stream.busy_until = std::max(stream.busy_until, device_now(state)) + duration_ns;
}

/// Returns when the device clock shows `moment_ns`, like a host that waits for an event of that time.
EXPORT void standin_cuda_wait_until(std::int64_t moment_ns) {
    Simulation& state = simulation();
    for (;;) {
        std::int64_t left_ns = 0;
        {
            const std::lock_guard lock(state.mutex);
            left_ns = moment_ns - device_now(state);
        }
        if (left_ns <= 0) return;
        std::this_thread::sleep_for(std::chrono::nanoseconds(left_ns));
    }
}

/// Holds or releases a stream. Events recorded on a held stream do not complete until it is released.
EXPORT void standin_cuda_hold(std::uintptr_t handle, int held) {
    Simulation& state = simulation();
    const std::lock_guard lock(state.mutex);
    state.streams[handle].held = held != 0;
    if (held == 0) release(state, state.streams[handle]);
}

/// Begins or ends a capture. What is recorded on a capturing stream becomes part of a graph.
EXPORT void standin_cuda_capture(std::uintptr_t handle, int capturing) {
    const std::lock_guard lock(simulation().mutex);
    simulation().streams[handle].capturing = capturing != 0;
}

/// Holds or releases all streams, including the one that synchronizes the clocks.
EXPORT void standin_cuda_hold_all(int held) {
    Simulation& state = simulation();
    const std::lock_guard lock(state.mutex);
    state.hold_all = held != 0;
    if (held != 0) return;
    for (auto& [handle, stream] : state.streams) release(state, stream);
}

/// Makes a context other than the library's current on this thread, or removes it.
EXPORT void standin_cuda_use_other_context(int use) {
    if (use != 0) {
        context_stack.push_back(new Context{99});
    } else {
        context_stack.pop_back();
    }
}

EXPORT std::int64_t standin_cuda_calls(const char* name) {
    const std::lock_guard lock(simulation().mutex);
    return name == nullptr || *name == '\0' ? simulation().total_calls : simulation().calls[name];
}

EXPORT std::int64_t standin_cuda_forked_child_calls() {
    return simulation().forked_child_calls;
}

EXPORT std::int64_t standin_cuda_live_events() {
    const std::lock_guard lock(simulation().mutex);
    return simulation().live_events;
}

EXPORT std::int64_t standin_cuda_retained_contexts() {
    const std::lock_guard lock(simulation().mutex);
    return simulation().retained;
}

EXPORT std::int64_t standin_cuda_wrong_context() {
    const std::lock_guard lock(simulation().mutex);
    return simulation().wrong_context;
}

EXPORT int standin_cuda_profiled_device() {
    const std::lock_guard lock(simulation().mutex);
    return simulation().profiled_device;
}

/// Replaces the host clock: it starts at `ns` and advances by a cost per call and by standin_cuda_advance.
EXPORT void standin_cuda_use_virtual_time(std::int64_t ns, std::int64_t call_cost_ns) {
    const std::lock_guard lock(simulation().mutex);
    simulation().virtual_time = true;
    simulation().virtual_ns = ns;
    simulation().call_cost_ns = call_cost_ns;
}

EXPORT void standin_cuda_advance(std::int64_t ns) {
    const std::lock_guard lock(simulation().mutex);
    simulation().virtual_ns += ns;
}

EXPORT std::int64_t standin_cuda_host_now() {
    const std::lock_guard lock(simulation().mutex);
    return host_now(simulation());
}

/// Returns the device time at which the last event or work of a stream completes.
EXPORT std::int64_t standin_cuda_busy_until(std::uintptr_t handle) {
    const std::lock_guard lock(simulation().mutex);
    return simulation().streams[handle].busy_until;
}

/// Restores the simulation's defaults, for the next test of a process.
EXPORT void standin_cuda_reset() {
    Simulation& state = simulation();
    const std::lock_guard lock(state.mutex);
    state.failures.clear();
    state.hangs_ns.clear();
    state.streams.clear();
    state.calls.clear();
    state.vanished = success;
    state.drift_ppm = 0.0;
    state.latency_ns = 2'000;
    state.virtual_time = false;
    state.hold_all = false;
}

EXPORT std::int64_t standin_cuda_device_time(std::int64_t host_ns) {
    const std::lock_guard lock(simulation().mutex);
    return device_time(simulation(), host_ns);
}
