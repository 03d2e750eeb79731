// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "capture/clock.h"
#include "capture/gpu_sampler.h"
#include "device/not_measured.h"
#include "driver/errors.h"
#include "standin.h"

using namespace virnuc;

namespace {

/// Waits for a condition that another thread will fulfill. Fails the test if it never does.
template <typename Condition>
void wait_for(Condition condition) {
    const std::int64_t deadline_ns = monotonic_ns() + 60'000'000'000;
    while (!condition()) {
        REQUIRE(monotonic_ns() < deadline_ns);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

constexpr SamplerIntervals quick{
    .fast_ns = 2'000'000, .gpm_ns = 100'000'000, .energy_ns = 5'000'000, .processes_ns = 5'000'000};
constexpr SamplerIntervals off{.fast_ns = 0, .gpm_ns = 0, .energy_ns = 0, .processes_ns = 0};

}  // namespace

TEST_CASE("all tiers take readings at their own times, while another thread reads them") {
    auto& nvml = standin::nvml();
    GpuSampler sampler(standin::card_uuid, quick, &nvml.api);
    sampler.start();
    wait_for([&] { return sampler.gpm_readings().size() >= 2 && sampler.energy_readings().size() >= 2; });
    sampler.stop(10'000'000'000);
    const auto fast = sampler.fast_readings();
    REQUIRE(fast.size() >= 2);
    CHECK(fast[0].power_mw == 350'000);
    CHECK(fast[0].used_memory_bytes == 1 << 30);
    CHECK(fast[0].at_ns < fast[1].at_ns);
    const auto gpm = sampler.gpm_readings();
    CHECK(gpm[0].sm_activity == doctest::Approx(0.8));
    CHECK(gpm[1].interval_ns == gpm[1].at_ns - gpm[0].at_ns);
    const auto energy = sampler.energy_readings();
    CHECK(energy[1].energy_mj - energy[0].energy_mj == 500);
    CHECK(sampler.process_readings().at(0).other_processes == 0);
    CHECK(sampler.max_sm_clock_mhz() == 1'980);
    CHECK(sampler.tiers().size() == 4);
    for (const TierReport& tier : sampler.tiers()) {
        CHECK(tier.readings > 0);
        CHECK(tier.cpu_ns > 0);
        CHECK(tier.errors == 0);
        CHECK_FALSE(tier.stalled);
        CHECK(tier.unsupported.empty());
    }
    sampler.stop(0);
    CHECK(sampler.fast_readings().size() == fast.size());
    CHECK_THROWS_AS(sampler.start(), std::invalid_argument);
}

TEST_CASE("an unsupported counter is not measured, and a tier without any counter says so") {
    auto& nvml = standin::nvml();
    nvml.fail("nvmlDeviceGetPowerUsage", 3);
    nvml.fail("nvmlDeviceGetTotalEnergyConsumption", 3);
    nvml.set("gpm_supported", 0);
    GpuSampler sampler(standin::card_uuid, quick, &nvml.api);
    sampler.start();
    wait_for([&] { return sampler.fast_readings().size() > 2; });
    wait_for([&] { return !sampler.tiers()[1].unsupported.empty() && !sampler.tiers()[2].unsupported.empty(); });
    sampler.stop(10'000'000'000);
    CHECK(sampler.fast_readings()[0].power_mw == not_measured);
    CHECK(sampler.fast_readings()[0].utilization_percent == 73);
    CHECK(sampler.tiers()[0].errors == 0);
    CHECK(sampler.tiers()[1].unsupported.find("Hopper") != std::string::npos);
    CHECK(sampler.energy_readings().empty());
    nvml.fail("nvmlDeviceGetPowerUsage", 0);
    nvml.fail("nvmlDeviceGetTotalEnergyConsumption", 0);
    nvml.set("gpm_supported", 1);
}

TEST_CASE("a query that never returns delays neither the fast tier nor stop()") {
    auto& nvml = standin::nvml();
    nvml.stall("nvmlDeviceGetTotalEnergyConsumption", standin::forever);
    {
        GpuSampler sampler(standin::card_uuid, quick, &nvml.api);
        sampler.start();
        wait_for([&] { return nvml.calls("nvmlDeviceGetTotalEnergyConsumption") > 0; });
        const std::size_t before = sampler.fast_readings().size();
        wait_for([&] { return sampler.fast_readings().size() >= before + 10; });
        sampler.stop(50'000'000);
        const auto tiers = sampler.tiers();
        CHECK_FALSE(tiers[0].stalled);
        CHECK(tiers[2].stalled);
        CHECK(tiers[2].readings == 0);
    }
    nvml.stall("nvmlDeviceGetTotalEnergyConsumption", 0);
}

TEST_CASE("slow queries miss deadlines, and each missed deadline is counted") {
    auto& nvml = standin::nvml();
    nvml.stall("nvmlDeviceGetPowerUsage", 21'000'000);
    SamplerIntervals intervals = off;
    intervals.fast_ns = 10'000'000;
    GpuSampler sampler(standin::card_uuid, intervals, &nvml.api);
    sampler.start();
    wait_for([&] { return sampler.fast_readings().size() >= 3; });
    sampler.stop(10'000'000'000);
    nvml.stall("nvmlDeviceGetPowerUsage", 0);
    const auto tiers = sampler.tiers();
    REQUIRE(tiers.size() == 1);
    CHECK(tiers[0].missed_deadlines >= 2 * (tiers[0].readings - 1));
}

TEST_CASE("other processes on the device are counted with their share of SM time") {
    auto& nvml = standin::nvml();
    nvml.set("other_processes", 40);  // more than the first list can hold
    nvml.set("other_sm_percent", 35);
    SamplerIntervals intervals = off;
    intervals.processes_ns = 2'000'000;
    GpuSampler sampler(standin::card_uuid, intervals, &nvml.api);
    sampler.start();
    wait_for([&] { return sampler.process_readings().size() >= 2; });
    sampler.stop(10'000'000'000);
    const auto readings = sampler.process_readings();
    CHECK(readings[0].other_processes == 40);
    CHECK(readings[0].other_sm_percent == not_measured);  // NVML's first answer reaches back to before the run
    CHECK(readings[1].other_sm_percent == 35);
    nvml.set("other_processes", 0);
    nvml.set("other_sm_percent", 0);
}

TEST_CASE("a process list without this process is not trusted") {
    auto& nvml = standin::nvml();
    nvml.set("lists_this_process", 0);
    nvml.set("other_processes", 2);
    SamplerIntervals intervals = off;
    intervals.processes_ns = 2'000'000;
    GpuSampler sampler(standin::card_uuid, intervals, &nvml.api);
    sampler.start();
    wait_for([&] { return !sampler.tiers()[0].unsupported.empty(); });
    CHECK(sampler.process_readings().empty());
    nvml.set("lists_this_process", 1);
    wait_for([&] { return !sampler.process_readings().empty(); });
    CHECK(sampler.tiers()[0].unsupported.empty());
    nvml.set("other_processes", 0);
}

TEST_CASE("unknown devices and invalid intervals are rejected") {
    auto& nvml = standin::nvml();
    CHECK_THROWS_AS(GpuSampler("GPU-0", quick, &nvml.api), LibraryUnavailable);
    CHECK_THROWS_AS(GpuSampler(standin::card_uuid, {.fast_ns = -1}, &nvml.api), std::invalid_argument);
    CHECK_THROWS_AS(GpuSampler(standin::card_uuid, {.gpm_ns = 50'000'000}, &nvml.api), std::invalid_argument);
}
