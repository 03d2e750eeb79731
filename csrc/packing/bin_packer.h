// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace virnuc {

/// The assignment of sequences to packs.
struct Packing {
    std::vector<std::int64_t> order;         ///< sequence numbers, pack by pack, longest first within a pack
    std::vector<std::int64_t> pack_offsets;  ///< start of each pack in `order`; packs + 1 values
};

/// Packs by best-fit decreasing in O(n log n): each sequence, longest first, goes into the fullest pack that can hold
/// it, or else into a new pack.
///
/// Ties go to the earlier sequence and the earlier pack, so that equal input gives equal packs. A sequence above the
/// budget gets its own pack.
///
/// Throws std::invalid_argument.
Packing pack_sequences(std::span<const std::int64_t> lengths, std::int64_t token_budget);

}  // namespace virnuc
