// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace virnuc {

/// What one pack holds. Lengths are in tokens, BOS and EOS included.
struct PackStatistics {
    std::int64_t sequences = 0;
    std::int64_t tokens = 0;
    std::int64_t min_length = 0;
    std::int64_t max_length = 0;
    std::int64_t sum_squared_lengths = 0;  ///< attention work
    std::optional<std::int64_t> token_budget;

    [[nodiscard]] double mean_length() const;
    /// More tokens than the budget: a single sequence that no pack of this budget can hold.
    [[nodiscard]] bool oversize() const;
    /// tokens / budget, 0 to 1; none without a budget, and for an oversize pack, where it would mislead.
    [[nodiscard]] std::optional<double> packing_efficiency() const;
    /// Tokens that a padded batch of the same sequences would have wasted.
    [[nodiscard]] std::int64_t padding_tokens() const;
};

/// Statistics from cumulative lengths (sequences + 1 values, the first 0). Throws std::invalid_argument, also if
/// several sequences exceed the budget: then it is not the one that they were packed to.
PackStatistics pack_statistics(std::span<const std::int32_t> cu_seqlens, std::optional<std::int64_t> token_budget);

}  // namespace virnuc
