// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <limits>

namespace virnuc {

/// Stands for an integer that was not measured; never 0.
inline constexpr std::int64_t not_measured = std::numeric_limits<std::int64_t>::min();

}  // namespace virnuc
