// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "capture/background_thread.h"
#include "capture/sampler_tier.h"
#include "device/gpu_meter.h"
#include "device/process_meter.h"

namespace virnuc {

/// By default all threads together take less than 1 % of a core (H200): the energy counter alone costs 6.5 ms of CPU a
/// reading.
struct SamplerIntervals {
    std::int64_t fast_ns = 100'000'000;
    std::int64_t gpm_ns = 250'000'000;
    std::int64_t energy_ns = 2'000'000'000;
    std::int64_t processes_ns = 2'000'000'000;
};

/// Samples one GPU from a thread for each tier of query cost, so that a slow query delays its own tier only.
class GpuSampler {
  public:
    /// Throws LibraryUnavailable (no NVML, no such device) or std::invalid_argument (an interval that is
    /// negative, or too short). `api` is for tests: an NVML that is initialised already.
    GpuSampler(const std::string& uuid, const SamplerIntervals& intervals, const NvmlApi* api = nullptr);
    GpuSampler(const GpuSampler&) = delete;
    GpuSampler& operator=(const GpuSampler&) = delete;
    ~GpuSampler() { stop(200'000'000); }

    /// Throws std::invalid_argument if it was started before, Error in a forked child.
    void start();
    /// Ends the threads; one that is stuck in NVML after `timeout_ns` is left behind. Idempotent.
    void stop(std::int64_t timeout_ns);

    // Readings may be had while it runs.
    [[nodiscard]] std::vector<FastReading> fast_readings() const;
    [[nodiscard]] std::vector<GpmReading> gpm_readings() const;
    [[nodiscard]] std::vector<EnergyReading> energy_readings() const;
    [[nodiscard]] std::vector<ProcessReading> process_readings() const;
    [[nodiscard]] std::int64_t max_sm_clock_mhz() const noexcept { return shared_->max_sm_clock_mhz; }
    /// Of those tiers that are turned on.
    [[nodiscard]] std::vector<TierReport> tiers();

  private:
    /// Owned by the threads too: one that is left behind goes on using it.
    struct Shared {
        GpuMeter meter;
        SamplerTier<FastReading> fast;
        SamplerTier<GpmReading> gpm;
        SamplerTier<EnergyReading> energy;
        SamplerTier<ProcessReading> processes;
        std::int64_t max_sm_clock_mhz;

        Shared(const NvmlApi& api, const std::string& uuid, const SamplerIntervals& intervals);
        void run_fast(StopSignal& signal);
        void run_gpm(StopSignal& signal);
        void run_energy(StopSignal& signal);
        void run_processes(StopSignal& signal);
    };
    struct TierThread {
        TierState* state = nullptr;
        BackgroundThread thread;
    };

    std::shared_ptr<Shared> shared_;
    OwnerProcess owner_;
    std::mutex mutex_;
    bool started_ = false;
    std::array<TierThread, 4> threads_;
};

}  // namespace virnuc
