// SPDX-License-Identifier: MIT
#include "packing/residue_encoder.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "packing/residue_bytes.h"

namespace virnuc {

namespace {

void check_ranges(std::span<const std::uint8_t> text, std::span<const std::int64_t> starts,
                  std::span<const std::int64_t> ends) {
    if (starts.size() != ends.size()) {
        throw std::invalid_argument("starts and ends differ in size: " + std::to_string(starts.size()) + " and " +
                                    std::to_string(ends.size()));
    }
    for (std::size_t i = 0; i < starts.size(); ++i) {
        if (starts[i] < 0 || ends[i] < starts[i] || ends[i] > static_cast<std::int64_t>(text.size())) {
            throw std::invalid_argument("sequence " + std::to_string(i) + " lies at " + std::to_string(starts[i]) +
                                        " to " + std::to_string(ends[i]) + ", outside the text of " +
                                        std::to_string(text.size()) + " bytes");
        }
    }
}

/// Strips trailing white space and one final '*'.
std::span<const std::uint8_t> without_final_stop(std::span<const std::uint8_t> residues) {
    while (!residues.empty() && is_white_space(residues.back())) residues = residues.first(residues.size() - 1);
    if (!residues.empty() && residues.back() == '*') residues = residues.first(residues.size() - 1);
    return residues;
}

}  // namespace

ResidueEncoder::ResidueEncoder(std::span<const std::uint8_t> table, std::uint8_t bos, std::uint8_t eos,
                               std::uint8_t unknown, std::int64_t max_residues)
    : bos_(bos), eos_(eos), max_residues_(max_residues) {
    if (table.size() != entries_.size()) {
        throw std::invalid_argument("table holds " + std::to_string(table.size()) + " tokens, must hold 256");
    }
    if (max_residues < 1) {
        throw std::invalid_argument("max_residues is " + std::to_string(max_residues) + ", must be at least 1");
    }
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        const auto byte = static_cast<std::uint8_t>(i);
        const std::uint8_t token = table[to_upper(byte)];
        if (is_white_space(byte)) {
            entries_[i] = {0, 0, 0};
        } else if (token == not_in_alphabet) {
            entries_[i] = {unknown, 1, 1};
        } else {
            entries_[i] = {token, 1, 0};
        }
    }
}

EncodedSequences ResidueEncoder::encode(std::span<const std::uint8_t> text, std::span<const std::int64_t> starts,
                                        std::span<const std::int64_t> ends) const {
    check_ranges(text, starts, ends);
    EncodedSequences encoded;
    std::int64_t max_tokens = 0;  // counts white space too, so that the text need not be read
    for (std::size_t i = 0; i < starts.size(); ++i) max_tokens += std::min(ends[i] - starts[i], max_residues_) + 2;
    encoded.tokens = std::make_unique_for_overwrite<std::uint8_t[]>(static_cast<std::size_t>(max_tokens));
    encoded.offsets.reserve(starts.size() + 1);
    encoded.offsets.push_back(0);

    std::uint8_t* out = encoded.tokens.get();
    for (std::size_t i = 0; i < starts.size(); ++i) {
        const auto residues = without_final_stop(
            text.subspan(static_cast<std::size_t>(starts[i]), static_cast<std::size_t>(ends[i] - starts[i])));
        *out++ = bos_;
        const std::uint8_t* in = residues.data();
        const std::uint8_t* const in_end = in + residues.size();
        const std::uint8_t* const out_end = out + std::min(max_residues_, in_end - in);
        // White space is written and then overwritten. Only a residue may move `out` to `out_end`.
        while (in != in_end && out != out_end) {
            const Entry entry = entries_[*in++];
            *out = entry.token;
            out += entry.kept;
            encoded.unknown_residues += entry.unknown;
        }
        if (!std::all_of(in, in_end, is_white_space)) ++encoded.truncated;
        *out++ = eos_;
        encoded.offsets.push_back(out - encoded.tokens.get());
    }
    return encoded;
}

}  // namespace virnuc
