// SPDX-License-Identifier: MIT
// The state that the stand-in for libcuda.so.1 simulates: devices, contexts, streams and events with their own clock.
#pragma once

#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace standin {

using Result = int;
constexpr Result success = 0, invalid_value = 1, not_initialized = 3, invalid_device = 101, invalid_context = 201,
                 invalid_handle = 400, not_ready = 600, captured_event = 907;

struct Context {
    int device;
};

struct Stream;

struct Event {
    Context* context = nullptr;
    std::int64_t complete_at = -1;  ///< device ns; -1: never recorded
    bool destroyed = false;
    const Stream* captured = nullptr;  ///< the stream whose graph capture recorded it, if any
};

struct Stream {
    std::int64_t busy_until = INT64_MIN;
    bool held = false;
    bool capturing = false;
    std::vector<Event*> waiting;  ///< recorded while the stream was held
};

struct Failure {
    Result result;
    std::int64_t calls_before;
};

/// All state. Never destroyed, because the program's threads may call until the process ends.
struct Simulation {
    std::recursive_mutex mutex;
    std::map<std::string, std::int64_t> calls;
    std::int64_t total_calls = 0;
    std::map<std::string, Failure> failures;
    std::map<std::string, std::int64_t> hangs_ns;
    Result vanished = success;
    int devices = 1;
    bool mig = false;
    std::atomic<pid_t> initialized_by{0};
    std::atomic<std::int64_t> forked_child_calls{0};  ///< counted without the mutex, which may be locked in a child
    // Device clock = offset + host clock × (1 + drift).
    std::int64_t offset_ns = 123'456'789'000;
    double drift_ppm = 0.0;
    std::int64_t latency_ns = 2'000;
    // Virtual host time: each driver call advances it by call_cost_ns.
    bool virtual_time = false;
    std::int64_t virtual_ns = 0;
    std::int64_t call_cost_ns = 1'000;
    bool hold_all = false;
    std::map<std::uintptr_t, Stream> streams;
    std::uintptr_t next_stream = 0x10000;
    std::vector<Context*> contexts;
    std::vector<Event*> events;  ///< never freed, so that a use after destruction is reported instead of crashing
    std::int64_t retained = 0;
    std::int64_t live_events = 0;
    int profiled_device = -1;        ///< between cuProfilerStart and cuProfilerStop
    std::int64_t wrong_context = 0;  ///< records on a default stream while another context was current
};

inline Simulation& simulation() {
    static auto* const state = new Simulation;
    return *state;
}

inline thread_local std::vector<Context*> context_stack;

inline std::int64_t host_now(const Simulation& state) {
    if (state.virtual_time) return state.virtual_ns;
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// Returns the device clock at a host time.
inline std::int64_t device_time(const Simulation& state, std::int64_t host_ns) {
    return state.offset_ns + host_ns + std::llround(static_cast<double>(host_ns) * state.drift_ppm * 1e-6);
}

inline std::int64_t device_now(const Simulation& state) {
    return device_time(state, host_now(state));
}

}  // namespace standin
