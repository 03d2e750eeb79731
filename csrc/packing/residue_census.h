// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "packing/text_lines.h"

namespace virnuc {

/// Counts of bytes in the lines of one sequence.
struct ResidueCensus {
    std::int64_t letters = 0;  ///< A to Z and a to z
    std::int64_t unknown = 0;  ///< X and J, the letters of unknown amino acids
    std::int64_t line_feeds = 0;
    std::int64_t carriage_returns = 0;
};

/// Counts bytes at about memory speed. A text whose size is the sum of the letters and the line ends holds nothing
/// else.
ResidueCensus take_census(Bytes text);

/// Returns the number of letters for nucleotides: A, C, G, T, U, and N.
std::int64_t count_nucleotides(Bytes text);

/// Returns the number of CRs that an LF follows.
std::int64_t count_crlf(Bytes text);

/// What a byte means inside a sequence.
enum class ResidueClass : std::uint8_t { white_space, letter, gap, digit, stop, symbol, invalid };

constexpr bool is_letter(std::uint8_t byte) {
    return static_cast<std::uint8_t>((byte | 0x20U) - 'a') < 26;
}

constexpr bool is_unknown_letter(std::uint8_t byte) {
    return (byte | 0x20U) == 'x' || (byte | 0x20U) == 'j';
}

constexpr bool is_nucleotide(std::uint8_t byte) {
    const std::uint8_t lower = byte | 0x20U;
    // Sums, unlike chains of "or", are vectorized.
    return (lower == 'a') + (lower == 'c') + (lower == 'g') + (lower == 't') + (lower == 'u') + (lower == 'n') != 0;
}

ResidueClass classify(std::uint8_t byte);

}  // namespace virnuc
