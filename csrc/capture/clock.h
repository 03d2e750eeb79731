// SPDX-License-Identifier: MIT
#pragma once

#include <time.h>  // NOLINT(modernize-deprecated-headers): clock_gettime

#include <cstdint>

namespace virnuc {

/// CLOCK_MONOTONIC in nanoseconds: the clock of all host times here, of std::chrono::steady_clock, and of Python's
/// time.monotonic_ns().
inline std::int64_t monotonic_ns() noexcept {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// The source of host times. Tests simulate hours with their own clock.
using Clock = std::int64_t (*)() noexcept;

}  // namespace virnuc
