// SPDX-License-Identifier: MIT
#include "packing/residue_census.h"

#include <array>

#include "packing/residue_bytes.h"

namespace virnuc {

namespace {

/// Blocks are small enough for 8-bit counters, so that compilers vectorize the loops over them.
constexpr std::size_t block_size = 64;

/// Calls `count` with blocks of a constant size, whose loops need no scalar end; the last one is padded with zeros.
template <class Count>
void for_each_block(Bytes text, Count count) {
    while (text.size() >= block_size) {
        count(text.first<block_size>());
        text = text.subspan(block_size);
    }
    if (text.empty()) return;
    std::array<std::uint8_t, block_size> padded{};
    std::memcpy(padded.data(), text.data(), text.size());
    count(std::span<const std::uint8_t, block_size>(padded));
}

template <std::size_t size, class Holds>
std::int64_t count_in(std::span<const std::uint8_t, size> block, Holds holds) {
    std::uint8_t found = 0;
    for (const std::uint8_t byte : block) found = static_cast<std::uint8_t>(found + holds(byte));
    return found;
}

}  // namespace

ResidueCensus take_census(Bytes text) {
    ResidueCensus census;
    for_each_block(text, [&census](std::span<const std::uint8_t, block_size> block) {
        census.letters += count_in(block, is_letter);
        census.unknown += count_in(block, is_unknown_letter);
        census.line_feeds += count_in(block, [](std::uint8_t byte) { return byte == '\n'; });
        census.carriage_returns += count_in(block, [](std::uint8_t byte) { return byte == '\r'; });
    });
    return census;
}

std::int64_t count_nucleotides(Bytes text) {
    std::int64_t found = 0;
    if (text.size() <= 32) {  // as the starts of all sequences are
        std::array<std::uint8_t, 32> padded{};
        if (!text.empty()) std::memcpy(padded.data(), text.data(), text.size());
        return count_in(std::span<const std::uint8_t, 32>(padded), is_nucleotide);
    }
    for_each_block(
        text, [&found](std::span<const std::uint8_t, block_size> block) { found += count_in(block, is_nucleotide); });
    return found;
}

std::int64_t count_crlf(Bytes text) {
    const auto pairs_in = [](const std::uint8_t* first, const std::uint8_t* second) {
        std::uint8_t found = 0;
        for (std::size_t i = 0; i < block_size; ++i)
            found = static_cast<std::uint8_t>(found + (((first[i] ^ '\r') | (second[i] ^ '\n')) == 0));
        return found;
    };
    std::int64_t found = 0;
    for (; text.size() > block_size; text = text.subspan(block_size)) found += pairs_in(text.data(), text.data() + 1);
    std::array<std::uint8_t, block_size + 1> padded{};
    if (!text.empty()) std::memcpy(padded.data(), text.data(), text.size());
    return found + pairs_in(padded.data(), padded.data() + 1);
}

ResidueClass classify(std::uint8_t byte) {
    if (is_letter(byte)) return ResidueClass::letter;
    if (is_white_space(byte)) return ResidueClass::white_space;
    if (byte >= '0' && byte <= '9') return ResidueClass::digit;
    if (byte == '-' || byte == '.') return ResidueClass::gap;
    if (byte == '*') return ResidueClass::stop;
    return is_printable(byte) && byte != '>' ? ResidueClass::symbol : ResidueClass::invalid;
}

}  // namespace virnuc
