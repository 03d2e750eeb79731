// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace virnuc {

/// The contents of one pack. Lengths are in tokens, including BOS and EOS.
struct PackStatistics {
    std::int64_t sequences = 0;
    std::int64_t tokens = 0;
    std::int64_t min_length = 0;
    std::int64_t max_length = 0;
    std::int64_t sum_squared_lengths = 0;  ///< proportional to the work of attention
    std::optional<std::int64_t> token_budget;

    [[nodiscard]] double mean_length() const;
    /// Whether the pack exceeds its budget: it then holds a single sequence that is longer than the budget.
    [[nodiscard]] bool oversize() const;
    /// tokens / budget, 0 to 1. None without a budget, and for an oversize pack, where it would mislead.
    [[nodiscard]] std::optional<double> packing_efficiency() const;
    /// Number of padding tokens in a padded batch of the same sequences.
    [[nodiscard]] std::int64_t padding_tokens() const;
};

/// Computes statistics from cumulative lengths (sequences + 1 values, starting with 0). Throws std::invalid_argument.
///
/// A budget that several sequences together exceed is rejected too, because they cannot have been packed to it.
PackStatistics pack_statistics(std::span<const std::int32_t> cu_seqlens, std::optional<std::int64_t> token_budget);

}  // namespace virnuc
