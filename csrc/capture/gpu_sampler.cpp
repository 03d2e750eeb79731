// SPDX-License-Identifier: MIT
#include "capture/gpu_sampler.h"

#include <chrono>
#include <stdexcept>
#include <thread>

#include "driver/errors.h"

namespace virnuc {

namespace {

/// NVML's documentation requires at least this time between the two samples of a GPM metric.
constexpr std::int64_t min_gpm_interval_ns = 100'000'000;
/// The tier's own thread waits for a sample that is due within this time.
constexpr std::int64_t max_wait_ns = 20'000'000;
constexpr std::int64_t min_interval_ns = 1'000'000;
/// NVML serves one query at a time, so a slow query delays a fast one that begins with it. With the default intervals,
/// these phases keep the deadlines of the tiers apart.
constexpr std::int64_t gpm_phase_ns = 30'000'000;
constexpr std::int64_t energy_phase_ns = 55'000'000;
constexpr std::int64_t processes_phase_ns = 68'000'000;
constexpr const char* unlisted =
    "NVML's process list lacks this process, so other processes cannot be counted (does this container have its own "
    "process IDs?)";

void validate(const char* name, std::int64_t interval_ns, std::int64_t min_ns) {
    if (interval_ns == 0 || interval_ns >= min_ns) return;
    throw std::invalid_argument(std::string(name) + " is " + std::to_string(static_cast<double>(interval_ns) / 1e6) +
                                ", must be 0 (off) or at least " + std::to_string(min_ns / 1'000'000));
}

const NvmlApi& require_nvml() {
    const LibraryStatus status = nvml_status();
    if (!status.available()) throw LibraryUnavailable("the GPU cannot be sampled: " + status.reason);
    return nvml_library().api;
}

/// Returns the midpoint of a query that started at `before_ns` and has just ended.
std::int64_t midpoint_since(std::int64_t before_ns) {
    return before_ns + (monotonic_ns() - before_ns) / 2;
}

/// Takes a reading and dates it at the midpoint of its query.
template <typename Reading, typename Query>
QueryState read_timed(Reading& reading, Query query) {
    const std::int64_t before_ns = monotonic_ns();
    const QueryState state = query(reading);
    reading.at_ns = midpoint_since(before_ns);
    return state;
}

template <typename Reading>
std::vector<Reading> copy_readings(const SamplerTier<Reading>& tier) {
    std::vector<Reading> readings(tier.readings.size());
    for (std::size_t i = 0; i < readings.size(); ++i) readings[i] = tier.readings[i];
    return readings;
}

/// Computes one GPM reading from each pair of successive samples.
class GpmQuery {
  public:
    explicit GpmQuery(const GpuMeter& meter) : samples_(meter) {}

    QueryState operator()(GpmReading& reading) {
        if (sampled_at_ns_ != 0) {
            // Measure from the end of the last query: only then are the samples as far apart as NVML requires.
            const std::int64_t early_ns = query_ended_ns_ + min_gpm_interval_ns - monotonic_ns();
            if (early_ns > max_wait_ns) return QueryState::pending;  // the last sample came very late
            if (early_ns > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(early_ns));
        }
        const std::int64_t before_ns = monotonic_ns();
        const std::int64_t previous_ns = sampled_at_ns_;
        sampled_at_ns_ = 0;
        if (!samples_.sample()) return QueryState::failed;
        sampled_at_ns_ = midpoint_since(before_ns);
        query_ended_ns_ = monotonic_ns();
        if (previous_ns == 0) return QueryState::pending;
        reading.at_ns = sampled_at_ns_;
        reading.interval_ns = sampled_at_ns_ - previous_ns;
        return samples_.activity(reading) ? QueryState::measured : QueryState::failed;
    }

  private:
    GpmReader samples_;
    std::int64_t query_ended_ns_ = 0;
    std::int64_t sampled_at_ns_ = 0;  ///< 0: there is no previous sample
};

}  // namespace

GpuSampler::Shared::Shared(const NvmlApi& api, const std::string& uuid, const SamplerIntervals& intervals)
    : meter(api, uuid),
      fast("fast", intervals.fast_ns),
      gpm("gpm", intervals.gpm_ns, gpm_phase_ns),
      energy("energy", intervals.energy_ns, energy_phase_ns),
      processes("processes", intervals.processes_ns, processes_phase_ns),
      max_sm_clock_mhz(meter.max_sm_clock_mhz()) {}

void GpuSampler::Shared::run_fast(StopSignal& signal) {
    fast.run(signal, false, [this](FastReading& reading) {
        return read_timed(reading, [this](FastReading& blank) { return meter.read_fast(blank); });
    });
}

void GpuSampler::Shared::run_gpm(StopSignal& signal) {
    gpm.state.query_started(monotonic_ns());
    std::string unsupported = meter.gpm_unsupported();
    gpm.state.query_started(0);
    if (!unsupported.empty()) {
        gpm.state.set_unsupported(std::move(unsupported));
        return;
    }
    GpmQuery query(meter);
    gpm.run(signal, false, [&query](GpmReading& reading) { return query(reading); });
}

void GpuSampler::Shared::run_energy(StopSignal& signal) {
    // Sample once more at the end: the energy of a run is the last reading minus the first.
    energy.run(signal, true, [this](EnergyReading& reading) {
        return read_timed(reading, [this](EnergyReading& blank) { return meter.read_energy(blank); });
    });
}

void GpuSampler::Shared::run_processes(StopSignal& signal) {
    ProcessMeter others(meter);
    processes.run(signal, false, [this, &others](ProcessReading& reading) {
        const QueryState state = read_timed(reading, [&others](ProcessReading& blank) { return others.read(blank); });
        processes.state.set_unsupported(state == QueryState::pending ? unlisted : "");
        return state;
    });
}

GpuSampler::GpuSampler(const std::string& uuid, const SamplerIntervals& intervals, const NvmlApi* api) {
    validate("fast_interval_ms", intervals.fast_ns, min_interval_ns);
    validate("gpm_interval_ms", intervals.gpm_ns, min_gpm_interval_ns);
    validate("energy_interval_ms", intervals.energy_ns, min_interval_ns);
    validate("processes_interval_ms", intervals.processes_ns, min_interval_ns);
    shared_ = std::make_shared<Shared>(api != nullptr ? *api : require_nvml(), uuid, intervals);
}

void GpuSampler::start() {
    if (!owner_.is_current()) throw Error("this sampler belongs to the parent process; create one in this process");
    const std::lock_guard lock(mutex_);
    if (started_) throw std::invalid_argument("the sampler was started already; create a new one");
    started_ = true;
    const auto launch = [this](TierThread& tier, TierState& state, void (Shared::*body)(StopSignal&)) {
        if (state.interval_ns == 0) return;
        tier.state = &state;
        tier.thread.start([shared = shared_, body](StopSignal& signal) { ((*shared).*body)(signal); });
    };
    launch(threads_[0], shared_->fast.state, &Shared::run_fast);
    launch(threads_[1], shared_->gpm.state, &Shared::run_gpm);
    launch(threads_[2], shared_->energy.state, &Shared::run_energy);
    launch(threads_[3], shared_->processes.state, &Shared::run_processes);
}

void GpuSampler::stop(std::int64_t timeout_ns) {
    if (!owner_.is_current()) {  // a forked child has no threads, and the mutex may stay locked forever
        for (TierThread& tier : threads_) tier.thread.join_until(0);
        return;
    }
    const std::lock_guard lock(mutex_);
    started_ = true;
    const std::int64_t deadline_ns = monotonic_ns() + timeout_ns;
    for (TierThread& tier : threads_) tier.thread.request_stop();
    for (TierThread& tier : threads_) {
        if (tier.thread.running() && !tier.thread.join_until(deadline_ns)) tier.state->abandon();
    }
}

std::vector<FastReading> GpuSampler::fast_readings() const {
    return copy_readings(shared_->fast);
}

std::vector<GpmReading> GpuSampler::gpm_readings() const {
    return copy_readings(shared_->gpm);
}

std::vector<EnergyReading> GpuSampler::energy_readings() const {
    return copy_readings(shared_->energy);
}

std::vector<ProcessReading> GpuSampler::process_readings() const {
    return copy_readings(shared_->processes);
}

std::vector<TierReport> GpuSampler::tiers() {
    std::vector<TierReport> reports;
    const auto add = [&reports](const auto& tier, BackgroundThread& thread) {
        if (tier.state.interval_ns == 0) return;
        reports.push_back(tier.state.report(static_cast<std::int64_t>(tier.readings.size())));
        reports.back().cpu_ns = thread.cpu_ns();
    };
    const auto lock = lock_unless_orphaned(mutex_, owner_);
    add(shared_->fast, threads_[0].thread);
    add(shared_->gpm, threads_[1].thread);
    add(shared_->energy, threads_[2].thread);
    add(shared_->processes, threads_[3].thread);
    return reports;
}

}  // namespace virnuc
