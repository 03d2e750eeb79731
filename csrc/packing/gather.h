// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace virnuc {

/// Copies the sequences named by `order` one after the other into `out`. Returns their cumulative lengths, starting
/// with 0.
///
/// `offsets` holds the start of each sequence in `tokens` (sequences + 1 values). Throws std::invalid_argument before
/// anything is written.
std::vector<std::int32_t> gather_sequences(std::span<const std::uint8_t> tokens, std::span<const std::int64_t> offsets,
                                           std::span<const std::int64_t> order, std::span<std::uint8_t> out);

}  // namespace virnuc
