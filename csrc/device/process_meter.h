// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "device/gpu_meter.h"

namespace virnuc {

/// Other processes that compute on the device. A value that NVML does not report is not_measured.
struct ProcessReading {
    std::int64_t at_ns;
    std::int64_t other_processes;
    std::int64_t other_sm_percent;  ///< share of SM time that the other processes took, summed over them
};

/// Queries NVML for the processes on a device. One thread uses it; a reading takes about 2.5 ms (H200).
///
/// In a container, NVML may number processes as the host does. A list of processes that lacks this one, which has a
/// context on the device, cannot be trusted and counts as not measured.
class ProcessMeter {
  public:
    explicit ProcessMeter(const GpuMeter& meter) : meter_(&meter) {}

    /// Reads the counters. The caller sets `at_ns`.
    QueryState read(ProcessReading& reading);

  private:
    nvmlReturn_t list_processes();
    nvmlReturn_t list_utilization();

    const GpuMeter* meter_;
    std::vector<nvmlProcessInfo_t> processes_;
    std::vector<nvmlProcessUtilizationSample_t> utilization_;
    unsigned long long last_seen_us_ = 0;  ///< NVML's time of the newest sample so far
};

}  // namespace virnuc
