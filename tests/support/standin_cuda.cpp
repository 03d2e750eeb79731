// SPDX-License-Identifier: MIT
// A stand-in for libcuda.so.1: devices, contexts, streams and events with a simulated device clock, and calls
// that can be told to fail, to hang or to vanish. Declares what it needs itself, so that it builds without
// NVIDIA's headers. The functions named standin_* control it, through ctypes or dlsym;
// tests/support/standin.py wraps them.
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using Result = int;
constexpr Result success = 0, invalid_value = 1, not_initialized = 3, invalid_device = 101, invalid_context = 201,
                 invalid_handle = 400, not_ready = 600, captured_event = 907;
constexpr std::int64_t pending = INT64_MAX;  ///< completes at a time that is not known yet

struct Context {
    int device;
};

struct Stream;

struct Event {
    Context* context = nullptr;
    std::int64_t complete_at = -1;  ///< device ns; -1: never recorded
    bool destroyed = false;
    const Stream* captured = nullptr;  ///< where it was recorded into a graph, if it was
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

/// All state, never destroyed: threads of the program may call until the very end.
struct Simulation {
    std::recursive_mutex mutex;
    std::map<std::string, std::int64_t> calls;
    std::int64_t total_calls = 0;
    std::map<std::string, Failure> failures;
    std::map<std::string, std::int64_t> hangs_ns;
    Result vanished = success;
    int devices = 1;
    bool mig = false;
    std::atomic<pid_t> initialised_by{0};
    std::atomic<std::int64_t> foreign_calls{0};  ///< by forked children; no lock: its holder may not have come along
    // The device's clock = offset + host clock × (1 + drift).
    std::int64_t offset_ns = 123'456'789'000;
    double drift_ppm = 0.0;
    std::int64_t latency_ns = 2'000;
    // Virtual host time: each driver call takes call_cost_ns of it.
    bool virtual_time = false;
    std::int64_t virtual_ns = 0;
    std::int64_t call_cost_ns = 1'000;
    bool hold_all = false;
    std::map<std::uintptr_t, Stream> streams;
    std::uintptr_t next_stream = 0x10000;
    std::vector<Context*> contexts;
    std::vector<Event*> events;  ///< never freed: a use after destruction must be seen, not crash
    std::int64_t retained = 0;
    std::int64_t live_events = 0;
    int profiled_device = -1;        ///< between cuProfilerStart and cuProfilerStop
    std::int64_t wrong_context = 0;  ///< records on a default stream while another context was current
};

Simulation& simulation() {
    static auto* const state = new Simulation;
    return *state;
}

thread_local std::vector<Context*> context_stack;

std::int64_t host_now(const Simulation& state) {
    if (state.virtual_time) return state.virtual_ns;
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::int64_t device_now(const Simulation& state) {
    const std::int64_t host = host_now(state);
    return state.offset_ns + host + std::llround(static_cast<double>(host) * state.drift_ppm * 1e-6);
}

/// Counts a call, and says how it fails if it has been told to. Hanging calls hold no lock.
class Call {
  public:
    explicit Call(const char* name) {
        Simulation& state = simulation();
        if (state.initialised_by != 0 && state.initialised_by != getpid()) {
            ++state.foreign_calls;
            result = not_initialized;
            return;
        }
        std::int64_t hang_ns = 0;
        {
            const std::lock_guard lock(state.mutex);
            if (const auto hang = state.hangs_ns.find(name); hang != state.hangs_ns.end()) hang_ns = hang->second;
        }
        if (hang_ns != 0) hang(hang_ns);
        lock_ = std::unique_lock(state.mutex);
        ++state.calls[name];
        ++state.total_calls;
        if (state.virtual_time) state.virtual_ns += state.call_cost_ns;
        if (state.vanished != success) result = state.vanished;
        if (const auto failure = state.failures.find(name); failure != state.failures.end()) {
            if (failure->second.calls_before-- <= 0) result = failure->second.result;
        }
    }
    Result result = success;

  private:
    static void hang(std::int64_t ns) {
        if (ns < 0) {
            for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
        }
        std::this_thread::sleep_for(std::chrono::nanoseconds(ns));
    }
    std::unique_lock<std::recursive_mutex> lock_;
};

// Counts the call and returns early if it is to fail.
#define CALL(name)   \
    Call call(name); \
    if (call.result != success) return call.result

bool on_hold(const Simulation& state, const Stream& stream) {
    return state.hold_all || stream.held;
}

void release(Simulation& state, Stream& stream) {
    for (Event* event : stream.waiting) {
        stream.busy_until = std::max(stream.busy_until, device_now(state) + state.latency_ns);
        event->complete_at = stream.busy_until;
    }
    stream.waiting.clear();
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT Result cuInit(unsigned) {
    CALL("cuInit");
    if (simulation().initialised_by == 0) simulation().initialised_by = getpid();
    return success;
}

EXPORT Result cuGetErrorName(Result result, const char** name) {
    static const std::map<Result, const char*> names = {
        {1, "CUDA_ERROR_INVALID_VALUE"},    {3, "CUDA_ERROR_NOT_INITIALIZED"},   {46, "CUDA_ERROR_DEVICE_UNAVAILABLE"},
        {101, "CUDA_ERROR_INVALID_DEVICE"}, {201, "CUDA_ERROR_INVALID_CONTEXT"}, {400, "CUDA_ERROR_INVALID_HANDLE"},
        {700, "CUDA_ERROR_ILLEGAL_ADDRESS"}};
    const auto known = names.find(result);
    *name = known == names.end() ? nullptr : known->second;
    return known == names.end() ? invalid_value : success;
}

EXPORT Result cuGetErrorString(Result, const char** text) {
    *text = "simulated";
    return success;
}

EXPORT Result cuDeviceGetCount(int* count) {
    CALL("cuDeviceGetCount");
    *count = simulation().devices;
    return success;
}

EXPORT Result cuDeviceGet(int* device, int ordinal) {
    CALL("cuDeviceGet");
    if (ordinal < 0 || ordinal >= simulation().devices) return invalid_device;
    *device = ordinal;
    return success;
}

EXPORT Result cuDeviceGetName(char* name, int size, int device) {
    CALL("cuDeviceGetName");
    std::snprintf(name, static_cast<std::size_t>(size), "Stand-in GPU %d%s", device,
                  simulation().mig ? " MIG 1g.10gb" : "");
    return success;
}

namespace {
void fill_uuid(unsigned char* uuid, int device, int mark) {
    for (int i = 0; i < 16; ++i) uuid[i] = static_cast<unsigned char>(i);
    uuid[0] = static_cast<unsigned char>(mark);
    uuid[15] = static_cast<unsigned char>(device);
}
}  // namespace

EXPORT Result cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
    CALL("cuDeviceGetUuid_v2");
    fill_uuid(uuid, device, simulation().mig ? 0xab : 0xaa);
    return success;
}

EXPORT Result cuDeviceGetUuid(unsigned char* uuid, int device) {
    CALL("cuDeviceGetUuid");
    fill_uuid(uuid, device, 0xaa);
    return success;
}

EXPORT Result cuDeviceGetPCIBusId(char* text, int size, int device) {
    CALL("cuDeviceGetPCIBusId");
    std::snprintf(text, static_cast<std::size_t>(size), "0000:%02x:00.0", device + 1);
    return success;
}

EXPORT Result cuDeviceTotalMem_v2(std::size_t* bytes, int) {
    CALL("cuDeviceTotalMem_v2");
    *bytes = std::size_t{64} << 30U;
    return success;
}

EXPORT Result cuDeviceGetAttribute(int* value, int attribute, int) {
    CALL("cuDeviceGetAttribute");
    *value = attribute == 75 ? 9 : 0;  // compute capability 9.0
    return success;
}

EXPORT Result cuDevicePrimaryCtxRetain(Context** context, int device) {
    CALL("cuDevicePrimaryCtxRetain");
    Simulation& state = simulation();
    while (state.contexts.size() <= static_cast<std::size_t>(device)) {
        state.contexts.push_back(new Context{static_cast<int>(state.contexts.size())});
    }
    *context = state.contexts[static_cast<std::size_t>(device)];
    ++state.retained;
    return success;
}

EXPORT Result cuDevicePrimaryCtxRelease_v2(int) {
    CALL("cuDevicePrimaryCtxRelease_v2");
    --simulation().retained;
    return success;
}

EXPORT Result cuCtxPushCurrent_v2(Context* context) {
    CALL("cuCtxPushCurrent_v2");
    context_stack.push_back(context);
    return success;
}

EXPORT Result cuCtxPopCurrent_v2(Context** context) {
    CALL("cuCtxPopCurrent_v2");
    if (context_stack.empty()) return invalid_context;
    *context = context_stack.back();
    context_stack.pop_back();
    return success;
}

EXPORT Result cuCtxGetCurrent(Context** context) {
    CALL("cuCtxGetCurrent");
    *context = context_stack.empty() ? nullptr : context_stack.back();
    return success;
}

EXPORT Result cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    CALL("cuCtxGetStreamPriorityRange");
    *least = 0;
    *greatest = -5;
    return success;
}

EXPORT Result cuStreamCreateWithPriority(std::uintptr_t* stream, unsigned, int) {
    CALL("cuStreamCreateWithPriority");
    *stream = simulation().next_stream++;
    return success;
}

EXPORT Result cuStreamCreate(std::uintptr_t* stream, unsigned) {
    CALL("cuStreamCreate");
    *stream = simulation().next_stream++;
    return success;
}

EXPORT Result cuStreamDestroy_v2(std::uintptr_t) {
    CALL("cuStreamDestroy_v2");
    return success;
}

EXPORT Result cuStreamIsCapturing(std::uintptr_t handle, int* status) {
    CALL("cuStreamIsCapturing");
    *status = simulation().streams[handle].capturing ? 1 : 0;
    return success;
}

EXPORT Result cuThreadExchangeStreamCaptureMode(int*) {
    CALL("cuThreadExchangeStreamCaptureMode");
    return success;
}

EXPORT Result cuProfilerStart() {
    CALL("cuProfilerStart");
    if (context_stack.empty()) return invalid_context;
    simulation().profiled_device = context_stack.back()->device;
    return success;
}

EXPORT Result cuProfilerStop() {
    CALL("cuProfilerStop");
    if (context_stack.empty()) return invalid_context;
    if (simulation().profiled_device == context_stack.back()->device) simulation().profiled_device = -1;
    return success;
}

EXPORT Result cuEventCreate(Event** event, unsigned) {
    CALL("cuEventCreate");
    if (context_stack.empty()) return invalid_context;
    *event = new Event{context_stack.back()};
    simulation().events.push_back(*event);
    ++simulation().live_events;
    return success;
}

EXPORT Result cuEventDestroy_v2(Event* event) {
    CALL("cuEventDestroy_v2");
    if (event->destroyed) return invalid_handle;
    event->destroyed = true;
    --simulation().live_events;
    return success;
}

EXPORT Result cuEventRecord(Event* event, std::uintptr_t handle) {
    CALL("cuEventRecord");
    Simulation& state = simulation();
    if (event->destroyed) return invalid_handle;
    if (handle <= 2) {
        if (context_stack.empty()) return invalid_context;
        if (context_stack.back() != event->context) {
            ++state.wrong_context;
            return invalid_handle;
        }
    }
    Stream& stream = state.streams[handle];
    event->captured = stream.capturing ? &stream : nullptr;
    if (stream.capturing) return success;
    if (on_hold(state, stream)) {
        event->complete_at = pending;
        std::erase(stream.waiting, event);
        stream.waiting.push_back(event);
        return success;
    }
    stream.busy_until = std::max(stream.busy_until, device_now(state) + state.latency_ns);
    event->complete_at = stream.busy_until;
    return success;
}

EXPORT Result cuEventQuery(Event* event) {
    CALL("cuEventQuery");
    if (event->destroyed) return invalid_handle;
    if (event->captured != nullptr) return event->captured->capturing ? captured_event : invalid_value;
    return event->complete_at <= device_now(simulation()) ? success : not_ready;
}

EXPORT Result cuEventElapsedTime(float* elapsed_ms, Event* start, Event* end) {
    CALL("cuEventElapsedTime");
    if (start->destroyed || end->destroyed || start->complete_at == -1 || end->complete_at == -1) return invalid_handle;
    if (start->captured != nullptr || end->captured != nullptr) return invalid_value;
    const std::int64_t now = device_now(simulation());
    if (start->complete_at > now || end->complete_at > now) return not_ready;
    *elapsed_ms = static_cast<float>(static_cast<double>(end->complete_at - start->complete_at) / 1e6);
    return success;
}

// --- control
// ---------------------------------------------------------------------------------------------------------

/// A call fails with `result` from its (calls_before + 1)-th time on; result 0 mends it.
EXPORT void standin_cuda_fail(const char* name, int result, std::int64_t calls_before) {
    const std::lock_guard lock(simulation().mutex);
    if (result == success) {
        simulation().failures.erase(name);
    } else {
        simulation().failures[name] = {result, calls_before};
    }
}

/// A call hangs for so long before it does anything; -1: for ever, 0: not.
EXPORT void standin_cuda_hang(const char* name, std::int64_t ns) {
    const std::lock_guard lock(simulation().mutex);
    simulation().hangs_ns[name] = ns;
}

/// All calls return `result` from now on; 0: the device is back.
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

/// Between the recording of an event on an idle stream and its completion.
EXPORT void standin_cuda_set_latency(std::int64_t ns) {
    const std::lock_guard lock(simulation().mutex);
    simulation().latency_ns = ns;
}

/// Work of so long on a stream.
EXPORT void standin_cuda_launch(std::uintptr_t handle, std::int64_t duration_ns) {
    Simulation& state = simulation();
    const std::lock_guard lock(state.mutex);
    Stream& stream = state.streams[handle];
    stream.busy_until = std::max(stream.busy_until, device_now(state)) + duration_ns;
}

/// Returns when the device's clock shows `moment_ns`, like a host that waits for an event of that time.
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

/// Events recorded on a held stream do not complete until it is released.
EXPORT void standin_cuda_hold(std::uintptr_t handle, int held) {
    Simulation& state = simulation();
    const std::lock_guard lock(state.mutex);
    state.streams[handle].held = held != 0;
    if (held == 0) release(state, state.streams[handle]);
}

/// What is recorded on a capturing stream becomes part of a graph.
EXPORT void standin_cuda_capture(std::uintptr_t handle, int capturing) {
    const std::lock_guard lock(simulation().mutex);
    simulation().streams[handle].capturing = capturing != 0;
}

/// Holds or releases all streams, that of the anchors too.
EXPORT void standin_cuda_hold_all(int held) {
    Simulation& state = simulation();
    const std::lock_guard lock(state.mutex);
    state.hold_all = held != 0;
    if (held != 0) return;
    for (auto& [handle, stream] : state.streams) release(state, stream);
}

/// Makes a context that is not the library's current on this thread, or takes it away.
EXPORT void standin_cuda_use_foreign_context(int use) {
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

EXPORT std::int64_t standin_cuda_foreign_calls() {
    return simulation().foreign_calls;
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

/// From now on the host's time is what standin_cuda_advance says, plus a cost for each call; starts at `ns`.
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

/// When (device ns) the last event or work of a stream completes.
EXPORT std::int64_t standin_cuda_busy_until(std::uintptr_t handle) {
    const std::lock_guard lock(simulation().mutex);
    return simulation().streams[handle].busy_until;
}

/// Back to the simulation's defaults, for the next test of a process.
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

/// What the device's clock shows at a host time.
EXPORT std::int64_t standin_cuda_device_time(std::int64_t host_ns) {
    const std::lock_guard lock(simulation().mutex);
    const Simulation& state = simulation();
    return state.offset_ns + host_ns + std::llround(static_cast<double>(host_ns) * state.drift_ppm * 1e-6);
}
