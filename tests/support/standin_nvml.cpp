// SPDX-License-Identifier: MIT
// A stand-in for libnvidia-ml.so.1: one card, and optionally a MIG slice of it. Its queries can be made to return other
// values, to be unsupported, to fail, to stall, or to hang forever.
//
// It declares everything it needs. The functions named standin_* control it; tests/support/standin.py wraps them.
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <thread>

namespace {

using Result = int;
constexpr Result success = 0, not_found = 6, gpu_is_lost = 15;

struct Device {
    bool mig;
};

/// All state. Never destroyed, because stuck threads stay in here until the process ends.
struct Simulation {
    std::mutex mutex;
    std::map<std::string, double> values = {
        {"utilization", 73},         {"memory_utilization", 41},     {"power_mw", 350'000},
        {"sm_clock_mhz", 1'980},     {"memory_clock_mhz", 3'201},    {"temperature_c", 55},
        {"throttle_reasons", 4},     {"used_memory_bytes", 1 << 30}, {"reserved_memory_bytes", 1 << 20},
        {"energy_mj", 1'000'000},    {"energy_step_mj", 500},        {"gpm_supported", 1},
        {"sm_activity", 80},         {"tensor_activity", 60},        {"dram_activity", 30},
        {"max_sm_clock_mhz", 1'980}, {"other_processes", 0},         {"other_sm_percent", 0},
        {"lists_this_process", 1},
    };
    std::map<std::string, Result> results;
    std::map<std::string, std::int64_t> stalls_ns;
    std::map<std::string, std::int64_t> calls;
    std::string card_uuid = "GPU-aa010203-0405-0607-0809-0a0b0c0d0e00";
    std::string mig_uuid = "MIG-ab010203-0405-0607-0809-0a0b0c0d0e00";
    bool vanished = false;
    Device card{false};
    Device slice{true};
};

Simulation& simulation() {
    static auto* const state = new Simulation;
    return *state;
}

/// Counts a call, stalls if requested, and returns the requested result. A stalling call holds no lock.
Result enter(const char* name) {
    Simulation& state = simulation();
    std::int64_t stall_ns = 0;
    {
        const std::lock_guard lock(state.mutex);
        ++state.calls[name];
        if (const auto stall = state.stalls_ns.find(name); stall != state.stalls_ns.end()) stall_ns = stall->second;
    }
    while (stall_ns < 0) std::this_thread::sleep_for(std::chrono::hours(1));
    if (stall_ns > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(stall_ns));
    const std::lock_guard lock(state.mutex);
    if (state.vanished) return gpu_is_lost;
    const auto result = state.results.find(name);
    return result == state.results.end() ? success : result->second;
}

double value(const char* name) {
    const std::lock_guard lock(simulation().mutex);
    return simulation().values.at(name);
}

template <typename Number>
Result answer(const char* call, const char* name, Number* out) {
    if (const Result result = enter(call); result != success) return result;
    *out = static_cast<Number>(value(name));
    return success;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT Result nvmlInit_v2() {
    return enter("nvmlInit_v2");
}

EXPORT const char* nvmlErrorString(Result result) {
    switch (result) {
        case success:
            return "Success";
        case 3:
            return "Not Supported";
        case not_found:
            return "Not Found";
        case 9:
            return "Driver Not Loaded";
        case gpu_is_lost:
            return "GPU is lost";
        default:
            return "Unknown Error";
    }
}

EXPORT Result nvmlDeviceGetHandleByUUID(const char* uuid, Device** device) {
    if (const Result result = enter("nvmlDeviceGetHandleByUUID"); result != success) return result;
    Simulation& state = simulation();
    const std::lock_guard lock(state.mutex);
    if (uuid == state.card_uuid) {
        *device = &state.card;
    } else if (uuid == state.mig_uuid) {
        *device = &state.slice;
    } else {
        return not_found;
    }
    return success;
}

EXPORT Result nvmlDeviceIsMigDeviceHandle(Device* device, unsigned* mig) {
    *mig = device->mig ? 1 : 0;
    return enter("nvmlDeviceIsMigDeviceHandle");
}

EXPORT Result nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device*, Device** card) {
    *card = &simulation().card;
    return enter("nvmlDeviceGetDeviceHandleFromMigDeviceHandle");
}

EXPORT Result nvmlDeviceGetGpuInstanceId(Device*, unsigned* id) {
    *id = 7;
    return enter("nvmlDeviceGetGpuInstanceId");
}

struct Utilization {
    unsigned gpu, memory;
};

EXPORT Result nvmlDeviceGetUtilizationRates(Device* device, Utilization* rates) {
    if (const Result result = enter("nvmlDeviceGetUtilizationRates"); result != success) return result;
    if (device->mig) return 3;  // as NVML does
    rates->gpu = static_cast<unsigned>(value("utilization"));
    rates->memory = static_cast<unsigned>(value("memory_utilization"));
    return success;
}

EXPORT Result nvmlDeviceGetPowerUsage(Device*, unsigned* power) {
    return answer("nvmlDeviceGetPowerUsage", "power_mw", power);
}

EXPORT Result nvmlDeviceGetClockInfo(Device* device, int type, unsigned* mhz) {
    if (device->mig) return 3;
    return answer("nvmlDeviceGetClockInfo", type == 1 ? "sm_clock_mhz" : "memory_clock_mhz", mhz);
}

EXPORT Result nvmlDeviceGetTemperature(Device*, int, unsigned* celsius) {
    return answer("nvmlDeviceGetTemperature", "temperature_c", celsius);
}

EXPORT Result nvmlDeviceGetCurrentClocksEventReasons(Device*, unsigned long long* reasons) {
    return answer("nvmlDeviceGetCurrentClocksEventReasons", "throttle_reasons", reasons);
}

struct MemoryV2 {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

EXPORT Result nvmlDeviceGetMemoryInfo_v2(Device*, MemoryV2* memory) {
    if (memory->version != (sizeof(MemoryV2) | (2U << 24U))) return 25;  // argument version mismatch
    return answer("nvmlDeviceGetMemoryInfo_v2", "used_memory_bytes", &memory->used);
}

struct Memory {
    unsigned long long total, free, used;
};

EXPORT Result nvmlDeviceGetMemoryInfo(Device*, Memory* memory) {
    const Result result = answer("nvmlDeviceGetMemoryInfo", "used_memory_bytes", &memory->used);
    memory->used += static_cast<unsigned long long>(value("reserved_memory_bytes"));
    return result;
}

EXPORT Result nvmlDeviceGetTotalEnergyConsumption(Device*, unsigned long long* millijoules) {
    const Result result = answer("nvmlDeviceGetTotalEnergyConsumption", "energy_mj", millijoules);
    const std::lock_guard lock(simulation().mutex);
    simulation().values["energy_mj"] += simulation().values["energy_step_mj"];
    return result;
}

EXPORT Result nvmlDeviceGetMaxClockInfo(Device* device, int, unsigned* mhz) {
    if (device->mig) return 3;
    return answer("nvmlDeviceGetMaxClockInfo", "max_sm_clock_mhz", mhz);
}

struct Process {
    unsigned pid;
    unsigned long long used_memory;
    unsigned gpu_instance, compute_instance;
};

/// Lists as many other processes as requested, and this process unless it is hidden.
EXPORT Result nvmlDeviceGetComputeRunningProcesses_v3(Device*, unsigned* count, Process* processes) {
    if (const Result result = enter("nvmlDeviceGetComputeRunningProcesses_v3"); result != success) return result;
    const auto others = static_cast<unsigned>(value("other_processes"));
    const unsigned own = value("lists_this_process") != 0 ? 1 : 0;
    const unsigned capacity = *count;
    *count = others + own;
    if (capacity < *count) return 7;  // insufficient size
    for (unsigned i = 0; i < others; ++i) processes[i] = {1'000'000 + i, 1 << 30, 0, 0};
    if (own != 0) processes[others] = {static_cast<unsigned>(getpid()), 1 << 30, 0, 0};
    return success;
}

struct ProcessSample {
    unsigned pid;
    unsigned long long at_us;
    unsigned sm, memory, encoder, decoder;
};

/// Returns a new sample on each call: of this process, and of another one that takes other_sm_percent.
EXPORT Result nvmlDeviceGetProcessUtilization(Device* device, ProcessSample* samples, unsigned* count,
                                              unsigned long long last_seen_us) {
    if (const Result result = enter("nvmlDeviceGetProcessUtilization"); result != success) return result;
    if (device->mig) return 3;
    const auto percent = static_cast<unsigned>(value("other_sm_percent"));
    const unsigned capacity = *count;
    *count = percent == 0 ? 1 : 2;
    if (capacity < *count) return 7;
    samples[0] = {static_cast<unsigned>(getpid()), last_seen_us + 1, 100 - percent, 1, 0, 0};
    if (percent != 0) samples[1] = {1'000'000, last_seen_us + 1, percent, 1, 0, 0};
    return success;
}

struct GpmSupport {
    unsigned version, supported;
};

EXPORT Result nvmlGpmQueryDeviceSupport(Device*, GpmSupport* support) {
    return answer("nvmlGpmQueryDeviceSupport", "gpm_supported", &support->supported);
}

struct GpmSample {
    std::int64_t at_ns = 0;
};

EXPORT Result nvmlGpmSampleAlloc(GpmSample** sample) {
    *sample = new GpmSample;
    return enter("nvmlGpmSampleAlloc");
}

EXPORT Result nvmlGpmSampleFree(GpmSample* sample) {
    delete sample;
    return enter("nvmlGpmSampleFree");
}

EXPORT Result nvmlGpmSampleGet(Device* device, GpmSample* sample) {
    if (const Result result = enter("nvmlGpmSampleGet"); result != success) return result;
    if (device->mig) return 3;
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    sample->at_ns = std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
    return success;
}

EXPORT Result nvmlGpmMigSampleGet(Device* card, unsigned instance, GpmSample* sample) {
    if (const Result result = enter("nvmlGpmMigSampleGet"); result != success) return result;
    if (instance != 7) return not_found;
    return nvmlGpmSampleGet(card, sample);
}

struct GpmMetric {
    unsigned id;
    Result result;
    double value;
    const char* info[3];
};

struct GpmRequest {
    unsigned version, count;
    GpmSample *first, *second;
    GpmMetric metrics[1];  ///< `count` entries
};

EXPORT Result nvmlGpmMetricsGet(GpmRequest* request) {
    if (const Result result = enter("nvmlGpmMetricsGet"); result != success) return result;
    // NVML's documentation requires at least 100 ms between two samples.
    if (request->second->at_ns - request->first->at_ns < 100'000'000) return 2;
    static const std::map<unsigned, const char*> names = {
        {2, "sm_activity"}, {5, "tensor_activity"}, {10, "dram_activity"}};
    for (unsigned i = 0; i < request->count; ++i) {
        const double percent = value(names.at(request->metrics[i].id));
        request->metrics[i].result = percent < 0 ? 3 : success;
        request->metrics[i].value = percent;
    }
    return success;
}

// --- Control ---

EXPORT void standin_nvml_set(const char* name, double number) {
    const std::lock_guard lock(simulation().mutex);
    simulation().values[name] = number;
}

/// Sets what a call returns from now on: 0 success, 3 not supported, 15 GPU is lost, 999 unknown, ...
EXPORT void standin_nvml_fail(const char* name, int result) {
    const std::lock_guard lock(simulation().mutex);
    simulation().results[name] = result;
}

/// Sets how long a call takes; -1: forever.
EXPORT void standin_nvml_stall(const char* name, std::int64_t ns) {
    const std::lock_guard lock(simulation().mutex);
    simulation().stalls_ns[name] = ns;
}

EXPORT void standin_nvml_vanish(int vanished) {
    const std::lock_guard lock(simulation().mutex);
    simulation().vanished = vanished != 0;
}

EXPORT void standin_nvml_set_uuids(const char* card, const char* mig) {
    const std::lock_guard lock(simulation().mutex);
    simulation().card_uuid = card;
    simulation().mig_uuid = mig;
}

EXPORT std::int64_t standin_nvml_calls(const char* name) {
    const std::lock_guard lock(simulation().mutex);
    return simulation().calls[name];
}
