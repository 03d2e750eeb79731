// SPDX-License-Identifier: MIT
// The lower bound for a mark: what the driver and NVTX cost alone. benchmarks/mark_cost.py builds and loads this file.
#include <dlfcn.h>
#include <nvtx3/nvToolsExt.h>

#include <chrono>
#include <cstdint>

namespace {

using Event = void*;
using Stream = void*;

template <typename Call>
double ns_per_call(std::int64_t calls, Call call) {
    const auto start = std::chrono::steady_clock::now();
    for (std::int64_t i = 0; i < calls; ++i) call(i);
    const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
    return elapsed.count() / static_cast<double>(calls);
}

}  // namespace

// Returns the nanoseconds per cuEventRecord, with events taken in turn from a pool as a profiler does; negative on
// failure.
extern "C" double bare_event_record_ns(std::uintptr_t stream, std::int64_t calls) {
    void* const driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    if (driver == nullptr) return -1;
    const auto create = reinterpret_cast<int (*)(Event*, unsigned)>(dlsym(driver, "cuEventCreate"));
    const auto record = reinterpret_cast<int (*)(Event, Stream)>(dlsym(driver, "cuEventRecord"));
    constexpr int pool_size = 1024;
    static Event pool[pool_size];
    for (Event& event : pool) {
        if (event == nullptr && create(&event, 0) != 0) return -2;
    }
    int failed = 0;
    const double ns = ns_per_call(
        calls, [&](std::int64_t i) { failed |= record(pool[i % pool_size], reinterpret_cast<Stream>(stream)); });
    return failed == 0 ? ns : -3;
}

// Returns the nanoseconds per push and pop of a prepared range in its own domain.
extern "C" double bare_nvtx_ns(std::int64_t calls) {
    const nvtxDomainHandle_t domain = nvtxDomainCreateA("bare");
    nvtxEventAttributes_t attributes = {};
    attributes.version = NVTX_VERSION;
    attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    attributes.messageType = NVTX_MESSAGE_TYPE_REGISTERED;
    attributes.message.registered = nvtxDomainRegisterStringA(domain, "stage");
    attributes.payloadType = NVTX_PAYLOAD_TYPE_UNSIGNED_INT64;
    return ns_per_call(calls, [&](std::int64_t i) {
        attributes.payload.ullValue = static_cast<std::uint64_t>(i);
        nvtxDomainRangePushEx(domain, &attributes);
        nvtxDomainRangePop(domain);
    });
}
