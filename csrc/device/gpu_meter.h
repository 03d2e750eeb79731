// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include "driver/nvml_api.h"

namespace virnuc {

/// Readings of NVML's fast counters. A counter that the device does not report is not_measured.
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

/// The total energy counter: millijoules since the driver was loaded.
struct EnergyReading {
    std::int64_t at_ns;
    std::int64_t energy_mj;
};

/// Whether NVML can be used in this process. NVML is never shut down, because a thread may be stuck in it.
LibraryStatus nvml_status();

/// The outcome of a query.
enum class QueryState : std::uint8_t {
    measured,
    partial,      ///< some counters were read and others failed
    failed,       ///< no counter was read
    unsupported,  ///< the device has no such counter
    pending,      ///< no value yet: activity needs two samples
};

/// One GPU or MIG slice as NVML sees it. Must not be used in a forked child.
class GpuMeter {
  public:
    /// Finds a device of an initialized NVML by UUID ("GPU-..." or "MIG-..."). Throws LibraryUnavailable.
    GpuMeter(const NvmlApi& api, const std::string& uuid);

    /// Reads the counters. The caller sets `at_ns`.
    QueryState read_fast(FastReading& reading) const;
    QueryState read_energy(EnergyReading& reading) const;
    /// The highest SM clock of the card, or not_measured.
    [[nodiscard]] std::int64_t max_sm_clock_mhz() const;
    /// Returns why the device has no GPM metrics; empty if it has them.
    [[nodiscard]] std::string gpm_unsupported() const;

    [[nodiscard]] const NvmlApi& api() const noexcept { return *api_; }
    [[nodiscard]] nvmlDevice_t device() const noexcept { return device_; }

  private:
    friend class GpmReader;

    const NvmlApi* api_;
    nvmlDevice_t device_ = nullptr;
    nvmlDevice_t card_ = nullptr;  ///< the whole card, which has the clocks, temperature and throttling of a slice too
    bool mig_ = false;
};

/// Computes activity from two alternating GPM samples. One thread uses it.
class GpmReader {
  public:
    explicit GpmReader(const GpuMeter& meter) : meter_(&meter) {}
    GpmReader(const GpmReader&) = delete;
    GpmReader& operator=(const GpmReader&) = delete;
    ~GpmReader();

    /// Takes a sample. Returns false if NVML fails.
    bool sample();
    /// Reads the activity between the last two samples. Returns false if NVML fails.
    bool activity(GpmReading& reading) const;

  private:
    const GpuMeter* meter_;
    nvmlGpmSample_t previous_ = nullptr;
    nvmlGpmSample_t latest_ = nullptr;
};

}  // namespace virnuc
