// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "packing/fasta_index.h"

namespace {

using Numbers = std::vector<std::int64_t>;
using Kind = virnuc::FastaFinding::Kind;

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

const virnuc::FastaFinding& finding(const virnuc::FastaIndex& index, Kind kind) {
    return index.findings[static_cast<std::size_t>(kind)];
}

/// Checks the only finding of a text.
void check_found(std::string_view text, Kind kind, std::int64_t sequences, std::int64_t count, std::int64_t line,
                 std::string_view first_id) {
    CAPTURE(text);
    const auto found = index(text);
    for (std::size_t i = 0; i < virnuc::FastaFinding::kinds; ++i) {
        CAPTURE(virnuc::FastaFinding::name(static_cast<Kind>(i)));
        CHECK((found.findings[i].count > 0) == (i == static_cast<std::size_t>(kind)));
    }
    CHECK(finding(found, kind).sequences == sequences);
    CHECK(finding(found, kind).count == count);
    CHECK(finding(found, kind).line == line);
    CHECK(finding(found, kind).id == first_id);
}

void check_fault(std::string_view text, std::int64_t line, std::string_view id, std::string_view reason) {
    CAPTURE(text);
    const auto found = index(text);
    REQUIRE(found.fault_count == 1);
    REQUIRE(found.faults.size() == 1);
    CHECK(found.faults[0].line == line);
    CHECK(found.faults[0].id == id);
    CHECK(found.faults[0].reason().find(reason) != std::string::npos);
}

void check_no_fasta(std::string_view text, std::int64_t line) {
    CAPTURE(text);
    try {
        index(text);
        FAIL("the text was accepted");
    } catch (const virnuc::FastaFormatError& error) {
        CHECK(error.line() == line);
        CHECK(std::string(error.what()) == "the text contains no sequence");
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
          ">a >x>\nMKVL\n>b\nAC", ">a x\rMKVL\r>b\rAC\r", ">a x\rMK\nVL\r\n>b\rAC", ">a\nMK\r\r\nVL\n>b\nAC",
          "; file\n>a\n;one\nMKVL*\n# two >x\n>b\n//\nA\n;\r;\rC\n//"}) {
        CAPTURE(text);
        const auto found = index(text);
        CHECK(found.fault_count == 0);
        REQUIRE(found.residue_counts == Numbers{4, 2});
        CHECK(id(text, found, 0) == "a");
        CHECK(id(text, found, 1) == "b");
    }
}

TEST_CASE("a text in pieces of any size gives the same index") {
    const std::string_view text =
        "\xEF\xBB\xBF; c\r\n>a x\rMK\r\nV*\n>b\r\n\r\n>c\nM-K\n\r\n; note\nL*\n>d\nACGTACGTACGTACGTACGTACGT\r";
    const auto whole = index(text);
    for (std::size_t size = 1; size <= text.size(); ++size) {
        CAPTURE(size);
        virnuc::FastaIndexer indexer;
        for (std::size_t at = 0; at < text.size(); at += size) indexer.feed(bytes(text.substr(at, size)));
        const auto found = indexer.finish();
        CHECK(found.header_starts == whole.header_starts);
        CHECK(found.id_ends == whole.id_ends);
        CHECK(found.sequence_starts == whole.sequence_starts);
        CHECK(found.sequence_ends == whole.sequence_ends);
        CHECK(found.residue_counts == whole.residue_counts);
        REQUIRE(found.faults.size() == 1);
        CHECK(found.faults[0].line == whole.faults[0].line);
        for (std::size_t i = 0; i < virnuc::FastaFinding::kinds; ++i) {
            CHECK(found.findings[i].count == whole.findings[i].count);
            CHECK(found.findings[i].line == whole.findings[i].line);
            CHECK(found.findings[i].id == whole.findings[i].id);
        }
    }
}

TEST_CASE("only the last of several stops is dropped, and the others count") {
    CHECK(index(">a\nM*K**\n").residue_counts == Numbers{4});
    CHECK(index(">a\nM*\nK*\n\n*\n").residue_counts == Numbers{4});
    check_found(">a\nMK*\n>b\nMK*\n\nV*\n", Kind::stops, 1, 1, 4, "b");
}

TEST_CASE("lines longer than a counting block are counted") {
    const std::string text = ">a\n" + std::string(100'000, 'M') + "\n" + std::string(127, 'K') + "*";
    CHECK(index(text).residue_counts == Numbers{100'127});
}

TEST_CASE("faulty records are left out and described, with line and identifier") {
    check_fault("\nMKV\nX\n>a\nMKV\n", 2, "", "before the first header");
    check_fault("MKV\n", 1, "", "before the first header");
    check_fault(">a\nMKV\n>\nMKV\n", 3, "", "without an identifier");
    check_fault("> a\nMKV\n", 1, "", "without an identifier");
    check_fault(">a\nMKV\n>b\n>c\nMKV\n", 3, "b", "no residues");
    check_fault(">a\nMKV\n>b\n\n \n", 3, "b", "no residues");
    check_fault(">b\n;MKV\n", 1, "b", "no residues");
    check_fault(">a\n*\n", 1, "a", "no residues");
    check_fault(">a\nMKV>b\nMKV\n", 2, "a", "'>' inside a sequence");
    check_fault(std::string_view(">a\nMK\nM\0V\nM\1\n", 14), 3, "a", "byte 0x00");
    check_fault(">a\nMK\xC3\xA9\n", 2, "a", "byte 0xC3");
    check_fault(">" + std::string(500, 'x') + "\n", 1, std::string(60, 'x') + "...", "no residues");

    const auto found = virnuc::index_fasta(bytes(">a\n>b\nMK\n>c\n>d\nV-V\n>e\nM-1>\n"), 2);
    CHECK(found.residue_counts == Numbers{2, 3});
    CHECK(found.fault_count == 3);
    REQUIRE(found.faults.size() == 2);
    CHECK(found.faults[1].line == 4);
    CHECK(finding(found, Kind::gaps).count == 1);  // not those of a record that is left out
    CHECK(finding(found, Kind::digits).count == 0);
}

TEST_CASE("a text without any record is no FASTA") {
    check_no_fasta("", 1);
    check_no_fasta("\n\n  \n", 3);
    check_no_fasta("; a\n# b\n", 2);
}

TEST_CASE("what was read over is counted, with the first place") {
    check_found(">a\nMK\n;x\nV\n>b\n# >y\nMK\n//\n", Kind::comments, 0, 3, 3, "a");
    check_found("#\n>a\nMK\n", Kind::comments, 0, 1, 1, "");
    check_found(">a x\rMKV\r>b\rMKL\nACD\n", Kind::carriage_returns, 0, 3, 1, "a");
    check_found(">a\nMK\r\r\nV\n", Kind::carriage_returns, 0, 1, 2, "a");
}

TEST_CASE("sequences of nucleotides are noticed") {
    const std::string dna = "ACGTNacgtuACGTNacgtu";
    check_found(">a\nMKVLAW\n>b\n" + dna + "\n" + dna + "\n", Kind::nucleotides, 1, 40, 3, "b");
    check_found(">b\n" + dna.substr(0, 18) + "RY\n", Kind::nucleotides, 1, 20, 1, "b");
    check_found(">b\n" + dna.substr(0, 12) + "\n>a\nMKV\n>c\nACGTACGTACGT\n", Kind::nucleotides, 2, 24, 1, "b");
    for (const std::string_view text : {">a\nACG\n", ">a\nACGTACGTACGTACGTACGTMKVL\n",
                                        ">a\nACGTACGTACGTACGTACG\n>b\nMKV\n>c\nMKL\n", ">a\nMKVLACGTACGTACGTACGT\n"}) {
        CAPTURE(text);
        CHECK(finding(index(text), Kind::nucleotides).count == 0);
    }
}

TEST_CASE("residues that are none are noticed") {
    check_found(">a\nMK\n>b\nMK--V.\n>c\n-----\n", Kind::gaps, 2, 8, 4, "b");
    check_found(">a\nMKVLA 10\nMKV\n", Kind::digits, 1, 2, 2, "a");
    check_found(">a\nMKVLA\nMK:V?\n", Kind::symbols, 1, 2, 3, "a");
    check_found(">a\nMXXX\n>b\nMKXJ\n", Kind::unknown, 1, 3, 1, "a");
    check_found(">a\nMKVL\n\nFailed to retrieve sequence\n", Kind::words, 1, 1, 4, "a");
    for (const std::string_view text :
         {">a\nMKVLAAAAAA MKVLAAAAAA MKVLAAAAAA MKV\n", ">a\nM K V L\n", ">a\nMKV LA\n"}) {
        CAPTURE(text);
        CHECK(finding(index(text), Kind::words).count == 0);
    }
}
