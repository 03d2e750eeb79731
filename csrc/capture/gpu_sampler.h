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

/// Sampling intervals; 0 turns a tier off. With the defaults, all threads together use less than 1 % of a core (H200):
/// one reading of the energy counter alone takes 6.5 ms of CPU time.
struct SamplerIntervals {
    std::int64_t fast_ns = 100'000'000;
    std::int64_t gpm_ns = 250'000'000;
    std::int64_t energy_ns = 2'000'000'000;
    std::int64_t processes_ns = 2'000'000'000;
};

/// Samples one GPU with one thread per tier of query cost, so that a slow query delays only its own tier.
class GpuSampler {
  public:
    /// Throws LibraryUnavailable if NVML or the device is missing, and std::invalid_argument if an interval is negative
    /// or too short. `api` is for tests: an NVML that is already initialized.
    GpuSampler(const std::string& uuid, const SamplerIntervals& intervals, const NvmlApi* api = nullptr);
    GpuSampler(const GpuSampler&) = delete;
    GpuSampler& operator=(const GpuSampler&) = delete;
    ~GpuSampler() { stop(200'000'000); }

    /// Throws std::invalid_argument if the sampler was started before, and Error in a forked child.
    void start();
    /// Ends the threads. A thread that is still stuck in NVML after `timeout_ns` is abandoned. Idempotent.
    void stop(std::int64_t timeout_ns);

    // Readings can be copied while the sampler runs.
    [[nodiscard]] std::vector<FastReading> fast_readings() const;
    [[nodiscard]] std::vector<GpmReading> gpm_readings() const;
    [[nodiscard]] std::vector<EnergyReading> energy_readings() const;
    [[nodiscard]] std::vector<ProcessReading> process_readings() const;
    [[nodiscard]] std::int64_t max_sm_clock_mhz() const noexcept { return shared_->max_sm_clock_mhz; }
    /// Reports on the tiers that are turned on.
    [[nodiscard]] std::vector<TierReport> tiers();

  private:
    /// The threads own this too, because an abandoned thread goes on using it.
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
