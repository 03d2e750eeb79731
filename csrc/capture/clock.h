// SPDX-License-Identifier: MIT
#pragma once

#include <time.h>  // NOLINT(modernize-deprecated-headers): clock_gettime

#include <cstdint>

namespace virnuc {

/// CLOCK_MONOTONIC in ns: the axis of every time here, std::chrono::steady_clock's and time.monotonic_ns's
/// too.
inline std::int64_t monotonic_ns() noexcept {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// Where times come from; tests simulate hours with a clock of their own.
using Clock = std::int64_t (*)() noexcept;

}  // namespace virnuc
