// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "device/gpu_meter.h"

namespace virnuc {

/// Who else computes on the device; what NVML does not tell is not_measured.
struct ProcessReading {
    std::int64_t at_ns;
    std::int64_t other_processes;
    std::int64_t other_sm_percent;  ///< share of SM time that the others took, sum over them
};

/// Asks NVML for the processes on a device. Used by one thread; some 2.5 ms a reading (H200).
///
/// In a container NVML may number processes as the host does. A list that holds processes but not this one (which
/// has a context on the device, or it would not be measured) cannot be trusted, and counts as not measured.
class ProcessMeter {
  public:
    explicit ProcessMeter(const GpuMeter& meter) : meter_(&meter) {}

    /// Leaves at_ns to the caller.
    QueryState read(ProcessReading& reading);

  private:
    nvmlReturn_t list_processes();
    nvmlReturn_t list_utilization();

    const GpuMeter* meter_;
    std::vector<nvmlProcessInfo_t> processes_;
    std::vector<nvmlProcessUtilizationSample_t> utilization_;
    unsigned long long seen_until_us_ = 0;  ///< NVML's time of the newest sample so far
};

}  // namespace virnuc
