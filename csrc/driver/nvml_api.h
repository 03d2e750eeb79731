// SPDX-License-Identifier: MIT
#pragma once

#include <nvml.h>

#include <string>
#include <type_traits>

#include "driver/dynamic_library.h"

namespace virnuc {

// Exact symbol names: nvml.h renames some. X(member, symbol, signature)
#define VIRNUC_NVML_SYMBOLS(X)                                    \
    X(init, "nvmlInit_v2", nvmlReturn_t())                        \
    X(error_string, "nvmlErrorString", const char*(nvmlReturn_t)) \
    X(device_by_uuid, "nvmlDeviceGetHandleByUUID", nvmlReturn_t(const char*, nvmlDevice_t*))

/// May be absent: the table then holds nullptr, and what it would measure is not supported.
#define VIRNUC_NVML_OPTIONAL_SYMBOLS(X)                                                                               \
    X(utilization, "nvmlDeviceGetUtilizationRates", nvmlReturn_t(nvmlDevice_t, nvmlUtilization_t*))                   \
    X(power, "nvmlDeviceGetPowerUsage", nvmlReturn_t(nvmlDevice_t, unsigned*))                                        \
    X(clock, "nvmlDeviceGetClockInfo", nvmlReturn_t(nvmlDevice_t, nvmlClockType_t, unsigned*))                        \
    X(temperature, "nvmlDeviceGetTemperature", nvmlReturn_t(nvmlDevice_t, nvmlTemperatureSensors_t, unsigned*))       \
    X(clock_event_reasons, "nvmlDeviceGetCurrentClocksEventReasons", nvmlReturn_t(nvmlDevice_t, unsigned long long*)) \
    X(clock_throttle_reasons, "nvmlDeviceGetCurrentClocksThrottleReasons",                                            \
      nvmlReturn_t(nvmlDevice_t, unsigned long long*))                                                                \
    X(memory, "nvmlDeviceGetMemoryInfo_v2", nvmlReturn_t(nvmlDevice_t, nvmlMemory_v2_t*))                             \
    X(memory_v1, "nvmlDeviceGetMemoryInfo", nvmlReturn_t(nvmlDevice_t, nvmlMemory_t*))                                \
    X(total_energy, "nvmlDeviceGetTotalEnergyConsumption", nvmlReturn_t(nvmlDevice_t, unsigned long long*))           \
    X(max_clock, "nvmlDeviceGetMaxClockInfo", nvmlReturn_t(nvmlDevice_t, nvmlClockType_t, unsigned*))                 \
    X(compute_processes, "nvmlDeviceGetComputeRunningProcesses_v3",                                                   \
      nvmlReturn_t(nvmlDevice_t, unsigned*, nvmlProcessInfo_t*))                                                      \
    X(process_utilization, "nvmlDeviceGetProcessUtilization",                                                         \
      nvmlReturn_t(nvmlDevice_t, nvmlProcessUtilizationSample_t*, unsigned*, unsigned long long))                     \
    X(is_mig, "nvmlDeviceIsMigDeviceHandle", nvmlReturn_t(nvmlDevice_t, unsigned*))                                   \
    X(mig_parent, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", nvmlReturn_t(nvmlDevice_t, nvmlDevice_t*))          \
    X(gpu_instance_id, "nvmlDeviceGetGpuInstanceId", nvmlReturn_t(nvmlDevice_t, unsigned*))                           \
    X(gpm_support, "nvmlGpmQueryDeviceSupport", nvmlReturn_t(nvmlDevice_t, nvmlGpmSupport_t*))                        \
    X(gpm_sample_alloc, "nvmlGpmSampleAlloc", nvmlReturn_t(nvmlGpmSample_t*))                                         \
    X(gpm_sample_free, "nvmlGpmSampleFree", nvmlReturn_t(nvmlGpmSample_t))                                            \
    X(gpm_sample_get, "nvmlGpmSampleGet", nvmlReturn_t(nvmlDevice_t, nvmlGpmSample_t))                                \
    X(gpm_mig_sample_get, "nvmlGpmMigSampleGet", nvmlReturn_t(nvmlDevice_t, unsigned, nvmlGpmSample_t))               \
    X(gpm_metrics_get, "nvmlGpmMetricsGet", nvmlReturn_t(nvmlGpmMetricsGet_t*))

/// NVML's functions as a value: tests fill one with lambdas.
struct NvmlApi {
#define X(member, symbol, signature) std::add_pointer_t<signature> member = nullptr;
    VIRNUC_NVML_SYMBOLS(X)
    VIRNUC_NVML_OPTIONAL_SYMBOLS(X)
#undef X

    /// "nvmlDeviceGetHandleByUUID: Not Found".
    [[nodiscard]] std::string describe(nvmlReturn_t result, const char* call) const;
};

struct NvmlLibrary {
    LibraryStatus status;
    NvmlApi api;
};

/// Fills a table; the status names the first symbol that a usable NVML would have.
NvmlLibrary load_nvml(const DynamicLibrary& library);

/// NVML of this process, looked up once: VIRNUC_PROFILER_LIBNVML, else libnvidia-ml.so.1. Calls no NVML
/// function.
const NvmlLibrary& nvml_library();

}  // namespace virnuc
