// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <random>

#include "capture/clock_map.h"

using namespace virnuc;

namespace {
constexpr std::int64_t second = 1'000'000'000;
}

TEST_CASE("a single anchor only shifts") {
    const ClockMap map({{5'000, 100, 10}});
    CHECK(map.to_host(100) == 5'000);
    CHECK(map.to_host(50) == 4'950);
    CHECK(map.to_host(10 * second) == 10 * second + 4'900);
}

TEST_CASE("times between anchors are interpolated, and times beyond them extrapolated at the same rate") {
    // The host's clock runs 100 ppm faster than the device's.
    const ClockMap map({{0, 0, 10}, {10 * second + 1'000'000, 10 * second, 10}});
    CHECK(map.to_host(5 * second) == 5 * second + 500'000);
    CHECK(map.to_host(20 * second) == 20 * second + 2'000'000);
    CHECK(map.to_host(-10 * second) == -10 * second - 1'000'000);
}

TEST_CASE("anchors too close together do not reveal the rate") {
    const ClockMap map({{0, 0, 1'000}, {100'000 + 900, 100'000, 1'000}});
    CHECK(map.to_host(second) == second + 900);
}

TEST_CASE("an anchor that the device answered late is ignored") {
    const ClockMap map({{0, 0, 1'000}, {second + 800'000, second, 1'500'000}, {2 * second, 2 * second, 1'000}});
    CHECK(map.to_host(second) == second);
    const ClockMap only({{7, 0, 1'500'000}});
    CHECK(only.to_host(0) == 7);
}

TEST_CASE("with any drift and noise, times are monotonic and no error exceeds that of the anchors") {
    std::mt19937_64 random(20'240'601);
    for (int round = 0; round < 200; ++round) {
        const double rate = 1.0 + std::uniform_real_distribution(-2e-4, 2e-4)(random);
        const std::int64_t offset = std::uniform_int_distribution<std::int64_t>(-second, second)(random);
        const auto truth = [&](std::int64_t device) {
            return offset + std::llround(static_cast<double>(device) * rate);
        };
        std::vector<Anchor> anchors;
        std::int64_t worst = 0;
        for (std::int64_t device = 0; device < 60 * second; device += 2 * second) {
            const std::int64_t uncertainty = std::uniform_int_distribution<std::int64_t>(500, 3'000)(random);
            const std::int64_t noise = std::uniform_int_distribution<std::int64_t>(-uncertainty, uncertainty)(random);
            anchors.push_back({truth(device) + noise, device, uncertainty});
            worst = std::max(worst, uncertainty);
        }
        const ClockMap map(anchors);
        std::int64_t before = map.to_host(-second);
        for (std::int64_t device = 0; device < 58 * second; device += 37'000'000) {
            const std::int64_t host = map.to_host(device);
            REQUIRE(std::abs(host - truth(device)) <= worst + 1);
            REQUIRE(host > before);
            before = host;
        }
    }
}
