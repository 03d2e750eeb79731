// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "packing/fasta_index.h"

namespace {

using Numbers = std::vector<std::int64_t>;

std::span<const std::uint8_t> bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

virnuc::FastaIndex index(std::string_view text) {
    return virnuc::index_fasta(bytes(text));
}

std::string id(std::string_view text, const virnuc::FastaIndex& index, std::size_t i) {
    const auto start = static_cast<std::size_t>(index.header_starts[i]);
    return std::string(text.substr(start, static_cast<std::size_t>(index.id_ends[i]) - start));
}

void check_rejected(std::string_view text, std::int64_t line, std::string_view message) {
    CAPTURE(text);
    try {
        index(text);
        FAIL("the text was accepted");
    } catch (const virnuc::FastaFormatError& error) {
        CHECK(error.line() == line);
        CHECK(std::string(error.what()).find(message) != std::string::npos);
    }
}

}  // namespace

TEST_CASE("a plain file has these offsets") {
    const std::string_view text = ">a one\nMKV\nL\n>b\nAC\n";
    const auto found = index(text);
    CHECK(found.header_starts == Numbers{1, 14});
    CHECK(found.id_ends == Numbers{2, 15});
    CHECK(found.sequence_starts == Numbers{7, 16});
    CHECK(found.sequence_ends == Numbers{13, 19});
    CHECK(found.residue_counts == Numbers{4, 2});
}

TEST_CASE("all layouts of the same two records give the same counts") {
    for (const std::string_view text :
         {">a x\nMKVL\n>b\nAC\n", ">a x\r\nMKVL\r\n>b\r\nAC\r\n", ">a x\r\nMKVL\r\n>b\r\nAC",
          "\n \n>a x\nMK\n\nV L\n\t\n>b\nA\nC", ">a\tx\nMKVL*\n>b\nAC*\r\n\r\n", "\xEF\xBB\xBF>a x\nmkvl\n>b\nac * \n",
          ">a >x>\nMKVL\n>b\nAC"}) {
        CAPTURE(text);
        const auto found = index(text);
        REQUIRE(found.residue_counts == Numbers{4, 2});
        CHECK(id(text, found, 0) == "a");
        CHECK(id(text, found, 1) == "b");
    }
}

TEST_CASE("only the last of several stops is dropped, and the others count") {
    CHECK(index(">a\nM*K**\n").residue_counts == Numbers{4});
}

TEST_CASE("lines longer than a counting block are counted") {
    const std::string text = ">a\n" + std::string(100'000, 'M') + "\n" + std::string(127, 'K') + "*";
    CHECK(index(text).residue_counts == Numbers{100'127});
}

TEST_CASE("text that is not FASTA is rejected with the line number") {
    check_rejected("", 1, "no sequence");
    check_rejected("\n\n  \n", 3, "no sequence");
    check_rejected("\nMKV\n>a\nMKV\n", 2, "before the first header");
    check_rejected(">a\nMKV\n>\nMKV\n", 3, "without an identifier");
    check_rejected("> a\nMKV\n", 1, "without an identifier");
    check_rejected(">a\nMKV\n>b\n>c\nMKV\n", 3, "'b' has no residues");
    check_rejected(">a\nMKV\n>b\n\n \n", 3, "'b' has no residues");
    check_rejected(">a\n*\n", 1, "'a' has no residues");
    check_rejected(">a\nMKV>b\nMKV\n", 2, "'>' inside a sequence");
    check_rejected(std::string_view(">a\nMK\nM\0V\n", 11), 3, "byte 0x00");
    check_rejected(">a\nMK\xC3\xA9\n", 2, "byte 0xC3");
    check_rejected(">" + std::string(500, 'x') + "\n", 1, "xxx...' has no residues");
}
