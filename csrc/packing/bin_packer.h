// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace virnuc {

/// Which sequences share a pack.
struct Packing {
    std::vector<std::int64_t> order;         ///< sequence numbers, pack after pack, longest first within each
    std::vector<std::int64_t> pack_offsets;  ///< where each pack starts in `order`; packs + 1 values
};

/// Best-fit decreasing in O(n log n): each sequence, longest first, goes where the least room is left over,
/// else into a new pack. Ties go to the earlier sequence and the earlier pack, so that equal input gives
/// equal packs. A sequence above the budget gets a pack of its own. Throws std::invalid_argument.
Packing pack_sequences(std::span<const std::int64_t> lengths, std::int64_t token_budget);

}  // namespace virnuc
