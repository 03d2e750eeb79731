// SPDX-License-Identifier: MIT
#include "packing/residue_encoder.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "packing/residue_bytes.h"
#include "packing/text_lines.h"

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

/// Whether there may be a comment line.
bool has_comment_mark(Bytes text) {
    for (const char mark : {';', '#', '/'}) {
        if (!text.empty() && std::memchr(text.data(), mark, text.size())) return true;
    }
    return false;
}

std::vector<std::uint8_t> without_comments(Bytes text) {
    std::vector<std::uint8_t> kept;
    kept.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const TextLine line = line_at(text, at);
        const Bytes bytes = text.subspan(at, line.next - at);
        if (!is_comment(bytes)) kept.insert(kept.end(), bytes.begin(), bytes.end());
        at = line.next;
    }
    return kept;
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

void ResidueEncoder::encode_residues(const std::uint8_t*& in, const std::uint8_t* in_end, std::uint8_t*& out,
                                     const std::uint8_t* out_end, std::int64_t& unknown) const {
    const std::uint8_t* from = in;
    std::uint8_t* to = out;
    std::int64_t lacking = 0;
    // White space is written and then overwritten. Only a residue may move `to` to `out_end`.
    while (from != in_end && to != out_end) {
        const Entry entry = entries_[*from++];
        *to = entry.token;
        to += entry.kept;
        lacking += entry.unknown;
    }
    in = from;
    out = to;
    unknown += lacking;
}

EncodedSequences ResidueEncoder::encode(std::span<const std::uint8_t> text, std::span<const std::int64_t> starts,
                                        std::span<const std::int64_t> ends, bool skip_comments) const {
    check_ranges(text, starts, ends);
    EncodedSequences encoded;
    std::int64_t max_tokens = 0;  // counts white space too, so that the text need not be read
    for (std::size_t i = 0; i < starts.size(); ++i) max_tokens += std::min(ends[i] - starts[i], max_residues_) + 2;
    encoded.tokens = std::make_unique_for_overwrite<std::uint8_t[]>(static_cast<std::size_t>(max_tokens));
    encoded.offsets.reserve(starts.size() + 1);
    encoded.offsets.push_back(0);

    std::vector<std::uint8_t> uncommented;
    std::uint8_t* out = encoded.tokens.get();
    for (std::size_t i = 0; i < starts.size(); ++i) {
        const Bytes lines =
            text.subspan(static_cast<std::size_t>(starts[i]), static_cast<std::size_t>(ends[i] - starts[i]));
        const bool has_comments = skip_comments && has_comment_mark(lines);
        if (has_comments) uncommented = without_comments(lines);
        const auto residues = without_final_stop(has_comments ? Bytes(uncommented) : lines);
        *out++ = bos_;
        const std::uint8_t* in = residues.data();
        const std::uint8_t* const in_end = in + residues.size();
        const std::uint8_t* const out_end = out + std::min(max_residues_, in_end - in);
        encode_residues(in, in_end, out, out_end, encoded.unknown_residues);
        if (!std::all_of(in, in_end, is_white_space)) ++encoded.truncated;
        *out++ = eos_;
        encoded.offsets.push_back(out - encoded.tokens.get());
    }
    return encoded;
}

}  // namespace virnuc
