// SPDX-License-Identifier: MIT
#pragma once

#include <nvml.h>

#include <string>
#include <type_traits>

#include "driver/dynamic_library.h"

namespace virnuc {

// Exact symbol names, because nvml.h renames some functions. X(member, symbol, signature)
#define VIRNUC_NVML_SYMBOLS(X)                                    \
    X(init, "nvmlInit_v2", nvmlReturn_t())                        \
    X(error_string, "nvmlErrorString", const char*(nvmlReturn_t)) \
    X(device_by_uuid, "nvmlDeviceGetHandleByUUID", nvmlReturn_t(const char*, nvmlDevice_t*))

/// Optional symbols: the table holds nullptr for a missing one, and its value counts as unsupported.
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

/// NVML's functions as a value, which tests fill with lambdas.
struct NvmlApi {
#define X(member, symbol, signature) std::add_pointer_t<signature> member = nullptr;
    VIRNUC_NVML_SYMBOLS(X)
    VIRNUC_NVML_OPTIONAL_SYMBOLS(X)
#undef X

    /// Formats "nvmlDeviceGetHandleByUUID: Not Found".
    [[nodiscard]] std::string describe(nvmlReturn_t result, const char* call) const;
};

struct NvmlLibrary {
    LibraryStatus status;
    NvmlApi api;
};

/// Fills a table. The status names the first required symbol that is missing.
NvmlLibrary load_nvml(const DynamicLibrary& library);

/// NVML of this process, looked up once: VIRNUC_PROFILER_LIBNVML, else libnvidia-ml.so.1. Makes no NVML call.
const NvmlLibrary& nvml_library();

}  // namespace virnuc
