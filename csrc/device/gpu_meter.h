// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include "driver/nvml_api.h"

namespace virnuc {

/// NVML's cheap counters; what the device does not tell is not_measured.
struct FastReading {
    std::int64_t at_ns;
    std::int64_t utilization_percent;
    std::int64_t memory_utilization_percent;
    std::int64_t power_mw;
    std::int64_t sm_clock_mhz;
    std::int64_t memory_clock_mhz;
    std::int64_t temperature_c;
    std::int64_t throttle_reasons;
    std::int64_t used_memory_bytes;
};

/// Hardware activity over the interval that ends at `at_ns`, 0 to 1; NaN where not measured.
struct GpmReading {
    std::int64_t at_ns;
    std::int64_t interval_ns;
    double sm_activity;
    double tensor_activity;
    double dram_activity;
};

/// The total energy counter, millijoules since the driver was loaded.
struct EnergyReading {
    std::int64_t at_ns;
    std::int64_t energy_mj;
};

/// Whether NVML can be used in this process. It stays initialised for the rest of it: a thread that is stuck
/// in NVML must not see it shut down.
LibraryStatus nvml_status();

/// How a query went.
enum class QueryState : std::uint8_t {
    measured,
    partly,       ///< some counters, and an error
    failed,       ///< an error and nothing else
    unsupported,  ///< the device has nothing of the kind
    pending,      ///< nothing yet: activity needs two samples
};

/// One GPU, or a MIG slice of one, as NVML sees it. Not for use in a forked child.
class GpuMeter {
  public:
    /// Finds a device of an initialised NVML by UUID ("GPU-..." or "MIG-..."). Throws LibraryUnavailable.
    GpuMeter(const NvmlApi& api, const std::string& uuid);

    /// Leaves at_ns to the caller.
    QueryState read_fast(FastReading& reading) const;
    QueryState read_energy(EnergyReading& reading) const;
    /// The highest SM clock that the card may run at, or not_measured.
    [[nodiscard]] std::int64_t max_sm_clock_mhz() const;
    /// Empty if the device has GPM metrics, else why not.
    [[nodiscard]] std::string gpm_unsupported() const;

    [[nodiscard]] const NvmlApi& api() const noexcept { return *api_; }
    [[nodiscard]] nvmlDevice_t device() const noexcept { return device_; }

  private:
    friend class GpmReader;

    const NvmlApi* api_;
    nvmlDevice_t device_ = nullptr;
    nvmlDevice_t card_ = nullptr;  ///< the whole card; clocks, temperature and throttling are its, also of a slice
    bool mig_ = false;
};

/// Two GPM samples in turn. Used by one thread.
class GpmReader {
  public:
    explicit GpmReader(const GpuMeter& meter) : meter_(&meter) {}
    GpmReader(const GpmReader&) = delete;
    GpmReader& operator=(const GpmReader&) = delete;
    ~GpmReader();

    /// Takes a sample; false if NVML would not.
    bool sample();
    /// Activity between the last two samples; false if NVML would not say.
    bool activity(GpmReading& reading) const;

  private:
    const GpuMeter* meter_;
    nvmlGpmSample_t previous_ = nullptr;
    nvmlGpmSample_t latest_ = nullptr;
};

}  // namespace virnuc
