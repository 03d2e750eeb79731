// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace virnuc {

/// White space inside a sequence: space, tab, line ends, vertical tab, form feed. Independent of the locale.
constexpr bool is_white_space(std::uint8_t byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/// Printable ASCII other than white space: what may be a residue, whether or not the alphabet knows it.
constexpr bool is_printable(std::uint8_t byte) {
    return byte > 0x20 && byte < 0x7F;
}

/// Converts ASCII letters to upper case and leaves all other bytes as they are.
constexpr std::uint8_t to_upper(std::uint8_t byte) {
    return byte >= 'a' && byte <= 'z' ? static_cast<std::uint8_t>(byte - 'a' + 'A') : byte;
}

}  // namespace virnuc
