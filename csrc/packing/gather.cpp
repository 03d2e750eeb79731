// SPDX-License-Identifier: MIT
#include "packing/gather.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

namespace virnuc {

std::vector<std::int32_t> gather_sequences(std::span<const std::uint8_t> tokens, std::span<const std::int64_t> offsets,
                                           std::span<const std::int64_t> order, std::span<std::uint8_t> out) {
    const auto sequences = static_cast<std::int64_t>(offsets.size()) - 1;
    const auto token_count = static_cast<std::int64_t>(tokens.size());
    std::vector<std::int32_t> cu_seqlens;
    cu_seqlens.reserve(order.size() + 1);
    cu_seqlens.push_back(0);
    std::int64_t total = 0;
    for (const std::int64_t sequence : order) {
        if (sequence < 0 || sequence >= sequences) {
            throw std::invalid_argument("order names sequence " + std::to_string(sequence) + ", but there are only " +
                                        std::to_string(std::max<std::int64_t>(sequences, 0)));
        }
        const std::int64_t start = offsets[static_cast<std::size_t>(sequence)];
        const std::int64_t end = offsets[static_cast<std::size_t>(sequence) + 1];
        if (start < 0 || end < start || end > token_count) {
            throw std::invalid_argument("offsets put sequence " + std::to_string(sequence) + " at " +
                                        std::to_string(start) + " to " + std::to_string(end) + ", outside the " +
                                        std::to_string(token_count) + " tokens");
        }
        total += end - start;
        if (total > static_cast<std::int64_t>(out.size()) || total > std::numeric_limits<std::int32_t>::max()) {
            throw std::invalid_argument("out holds " + std::to_string(out.size()) +
                                        " tokens (2**31 - 1 at most), too few for the sequences");
        }
        cu_seqlens.push_back(static_cast<std::int32_t>(total));
    }
    auto next = out.begin();
    for (const std::int64_t sequence : order) {
        const std::int64_t start = offsets[static_cast<std::size_t>(sequence)];
        const std::int64_t end = offsets[static_cast<std::size_t>(sequence) + 1];
        next = std::copy(tokens.begin() + start, tokens.begin() + end, next);
    }
    return cu_seqlens;
}

}  // namespace virnuc
