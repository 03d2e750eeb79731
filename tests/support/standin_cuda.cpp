// SPDX-License-Identifier: MIT
// A stand-in for libcuda.so.1 whose driver calls can be made to fail or hang, and whose device can vanish. It declares
// everything it needs, so that it builds without NVIDIA's headers.
#include "standin_cuda.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

using namespace standin;

namespace {

constexpr std::int64_t pending = INT64_MAX;  ///< the completion time is not known yet

/// Counts a call and holds its failure, if one was requested. A hanging call holds no lock.
class Call {
  public:
    explicit Call(const char* name) {
        Simulation& state = simulation();
        if (state.initialized_by != 0 && state.initialized_by != getpid()) {
            ++state.forked_child_calls;
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

// Counts the call and returns early if it must fail.
#define CALL(name)   \
    Call call(name); \
    if (call.result != success) return call.result

bool on_hold(const Simulation& state, const Stream& stream) {
    return state.hold_all || stream.held;
}

}  // namespace

EXPORT Result cuInit(unsigned) {
    CALL("cuInit");
    if (simulation().initialized_by == 0) simulation().initialized_by = getpid();
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

EXPORT Result cuMemcpyAsync(void* target, const void* source, std::size_t bytes, std::uintptr_t) {
    CALL("cuMemcpyAsync");
    std::memcpy(target, source, bytes);
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
