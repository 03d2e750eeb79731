// SPDX-License-Identifier: MIT
#include "packing/pack_statistics.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

namespace virnuc {

double PackStatistics::mean_length() const {
    return sequences == 0 ? 0.0 : static_cast<double>(tokens) / static_cast<double>(sequences);
}

bool PackStatistics::oversize() const {
    return token_budget && tokens > *token_budget;
}

std::optional<double> PackStatistics::packing_efficiency() const {
    if (!token_budget || oversize()) return std::nullopt;
    return static_cast<double>(tokens) / static_cast<double>(*token_budget);
}

std::int64_t PackStatistics::padding_tokens() const {
    return sequences * max_length - tokens;
}

PackStatistics pack_statistics(std::span<const std::int32_t> cu_seqlens, std::optional<std::int64_t> token_budget) {
    if (cu_seqlens.empty() || cu_seqlens.front() != 0) {
        throw std::invalid_argument("cu_seqlens must start with 0 (shape: sequences + 1)");
    }
    if (token_budget && *token_budget < 1) {
        throw std::invalid_argument("token_budget is " + std::to_string(*token_budget) + ", must be at least 1");
    }
    PackStatistics statistics;
    statistics.token_budget = token_budget;
    statistics.sequences = static_cast<std::int64_t>(cu_seqlens.size()) - 1;
    statistics.tokens = cu_seqlens.back();
    std::int64_t min_length = std::numeric_limits<std::int64_t>::max();
    for (std::size_t i = 1; i < cu_seqlens.size(); ++i) {
        const std::int64_t length = std::int64_t{cu_seqlens[i]} - cu_seqlens[i - 1];
        if (length < 0) {
            throw std::invalid_argument("cu_seqlens decreases at position " + std::to_string(i));
        }
        min_length = std::min(min_length, length);
        statistics.max_length = std::max(statistics.max_length, length);
        statistics.sum_squared_lengths += length * length;
    }
    if (statistics.oversize() && statistics.sequences > 1) {
        throw std::invalid_argument("a pack of " + std::to_string(statistics.sequences) + " sequences holds " +
                                    std::to_string(statistics.tokens) + " tokens, more than its budget of " +
                                    std::to_string(*token_budget) + ": only a single sequence may exceed it");
    }
    statistics.min_length = statistics.sequences == 0 ? 0 : min_length;
    return statistics;
}

}  // namespace virnuc
