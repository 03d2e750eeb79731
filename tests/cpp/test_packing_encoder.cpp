// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <array>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "packing/gather.h"
#include "packing/residue_encoder.h"

namespace {

using Numbers = std::vector<std::int64_t>;
using Tokens = std::vector<std::uint8_t>;

constexpr std::uint8_t bos_token = 90;
constexpr std::uint8_t eos_token = 91;
constexpr std::uint8_t unknown_token = 92;

/// A is 0, B is 1, and so on up to Y. Z is not in the alphabet.
std::array<std::uint8_t, 256> letters() {
    std::array<std::uint8_t, 256> table{};
    table.fill(virnuc::not_in_alphabet);
    for (std::uint8_t letter = 'A'; letter <= 'Y'; ++letter) table[letter] = static_cast<std::uint8_t>(letter - 'A');
    return table;
}

virnuc::EncodedSequences encode(std::string_view text, const Numbers& starts, const Numbers& ends,
                                std::int64_t max_residues = 100) {
    const auto table = letters();
    const virnuc::ResidueEncoder encoder(table, bos_token, eos_token, unknown_token, max_residues);
    return encoder.encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, starts, ends);
}

virnuc::EncodedSequences encode_all(std::string_view text, std::int64_t max_residues = 100) {
    return encode(text, {0}, {static_cast<std::int64_t>(text.size())}, max_residues);
}

Tokens tokens_of(const virnuc::EncodedSequences& encoded) {
    return {encoded.tokens.get(), encoded.tokens.get() + encoded.offsets.back()};
}

}  // namespace

TEST_CASE("letters become tokens between BOS and EOS, and white space and a final stop are dropped") {
    const auto encoded = encode("xxAbC\r\n d* \nyAA", {2, 13}, {12, 15});
    CHECK(tokens_of(encoded) == Tokens{bos_token, 0, 1, 2, 3, eos_token, bos_token, 0, 0, eos_token});
    CHECK(encoded.offsets == Numbers{0, 6, 10});
    CHECK(encoded.truncated == 0);
    CHECK(encoded.unknown_residues == 0);
}

TEST_CASE("comment lines are skipped on request, and not cut off as residues") {
    const std::string_view text = ";note\nAB\r#C\r\n//\nD;E\n*\n; end\n";
    const auto table = letters();
    const auto encode_skipping = [&](std::int64_t max_residues) {
        const virnuc::ResidueEncoder encoder(table, bos_token, eos_token, unknown_token, max_residues);
        const Numbers starts{0};
        const Numbers ends{static_cast<std::int64_t>(text.size())};
        return encoder.encode({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, starts, ends, true);
    };
    CHECK(tokens_of(encode_skipping(100)) == Tokens{bos_token, 0, 1, 3, unknown_token, 4, eos_token});
    CHECK(encode_skipping(100).unknown_residues == 1);
    CHECK(encode_skipping(5).truncated == 0);
    CHECK(encode_skipping(4).truncated == 1);
    CHECK(tokens_of(encode_all(";A")) == Tokens{bos_token, unknown_token, 0, eos_token});
}

TEST_CASE("bytes that the alphabet lacks become the unknown token and are counted") {
    const auto encoded = encode_all("Az*1\xFF*");
    CHECK(tokens_of(encoded) ==
          Tokens{bos_token, 0, unknown_token, unknown_token, unknown_token, unknown_token, eos_token});
    CHECK(encoded.unknown_residues == 4);
}

TEST_CASE("sequences are cut at the limit and counted only if a residue is lost") {
    CHECK(tokens_of(encode_all("A B C D", 2)) == Tokens{bos_token, 0, 1, eos_token});
    CHECK(encode_all("A B C D", 3).truncated == 1);
    CHECK(encode_all("A B C D", 4).truncated == 0);
    CHECK(encode_all("AB \n * \n", 2).truncated == 0);
    CHECK(encode_all("ABZ", 2).unknown_residues == 0);  // beyond the limit
}

TEST_CASE("an empty sequence gives BOS and EOS, and no sequences give no tokens") {
    CHECK(tokens_of(encode_all(" \n*")) == Tokens{bos_token, eos_token});
    CHECK(encode("abc", {}, {}).offsets == Numbers{0});
}

TEST_CASE("ranges outside the text are rejected") {
    CHECK_THROWS_AS(encode("abc", {0}, {4}), std::invalid_argument);
    CHECK_THROWS_AS(encode("abc", {-1}, {2}), std::invalid_argument);
    CHECK_THROWS_AS(encode("abc", {2}, {1}), std::invalid_argument);
    CHECK_THROWS_AS(encode("abc", {0, 1}, {1}), std::invalid_argument);
    CHECK_THROWS_AS(encode_all("abc", 0), std::invalid_argument);
    CHECK_THROWS_AS(virnuc::ResidueEncoder(Tokens(255), 0, 2, 3, 10), std::invalid_argument);
}

TEST_CASE("gathering copies sequences in the requested order") {
    const Tokens tokens{1, 2, 3, 4, 5, 6};
    const Numbers offsets{0, 2, 3, 6};
    Tokens out(5);
    CHECK(virnuc::gather_sequences(tokens, offsets, Numbers{2, 0}, out) == std::vector<std::int32_t>{0, 3, 5});
    CHECK(out == Tokens{4, 5, 6, 1, 2});
    CHECK(virnuc::gather_sequences(tokens, offsets, {}, out) == std::vector<std::int32_t>{0});
}

TEST_CASE("gathering rejects sequences that do not fit and then writes nothing") {
    const Tokens tokens{1, 2, 3};
    const Numbers offsets{0, 2, 3};
    Tokens out(2);
    CHECK_THROWS_AS(virnuc::gather_sequences(tokens, offsets, Numbers{0, 1}, out), std::invalid_argument);
    CHECK_THROWS_AS(virnuc::gather_sequences(tokens, offsets, Numbers{1, 2}, out), std::invalid_argument);
    CHECK_THROWS_AS(virnuc::gather_sequences(tokens, offsets, Numbers{1, -1}, out), std::invalid_argument);
    CHECK_THROWS_AS(virnuc::gather_sequences(tokens, Numbers{0, 5}, Numbers{0}, out), std::invalid_argument);
    CHECK_THROWS_AS(virnuc::gather_sequences(tokens, {}, Numbers{0}, out), std::invalid_argument);
    CHECK(out == Tokens{0, 0});
}
