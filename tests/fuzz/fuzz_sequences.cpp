// SPDX-License-Identifier: MIT
// libFuzzer target for the FASTA index and the residue encoder. The encoder must accept every text that the index
// accepts, and both must agree with a byte-by-byte reading of the text.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

#include "packing/fasta_index.h"
#include "packing/residue_bytes.h"
#include "packing/residue_encoder.h"

namespace {

constexpr std::uint8_t bos_token = 0;
constexpr std::uint8_t eos_token = 2;
constexpr std::uint8_t unknown_token = 3;

void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "violated: %s\n", what);
    std::abort();
}

/// The letters A to M are known and encoded as themselves. All other bytes are unknown.
std::array<std::uint8_t, 256> tokens() {
    std::array<std::uint8_t, 256> table{};
    table.fill(virnuc::not_in_alphabet);
    for (std::uint8_t letter = 'A'; letter <= 'M'; ++letter) table[letter] = letter;
    return table;
}

void check_index(std::span<const std::uint8_t> text, const virnuc::FastaIndex& index) {
    std::int64_t before = 0;
    require(index.fault_count > 0 || !index.header_starts.empty(), "an accepted text has a sequence or a fault");
    require(static_cast<std::int64_t>(index.faults.size()) == index.fault_count, "all faults are described");
    for (std::size_t i = 0; i < index.header_starts.size(); ++i) {
        const auto header = index.header_starts[i];
        require(header > before - (i == 0 ? 0 : 1) && header > 0 && text[static_cast<std::size_t>(header - 1)] == '>',
                "header");
        require(index.id_ends[i] > header && index.sequence_starts[i] >= index.id_ends[i], "identifier");
        require(index.sequence_ends[i] >= index.sequence_starts[i], "sequence");
        std::int64_t residues = 0;
        std::uint8_t last = 0;
        bool comment = false;
        for (auto at = index.sequence_starts[i]; at < index.sequence_ends[i]; ++at) {
            const auto place = static_cast<std::size_t>(at);
            const std::uint8_t byte = text[place];
            const bool starts_line =
                at == index.sequence_starts[i] || text[place - 1] == '\n' || text[place - 1] == '\r';
            if (starts_line) {
                const bool slashes = byte == '/' && at + 1 < index.sequence_ends[i] && text[place + 1] == '/';
                comment = byte == ';' || byte == '#' || slashes;
            }
            if (comment || virnuc::is_white_space(byte)) continue;
            ++residues;
            last = byte;
        }
        require(index.residue_counts[i] == residues - (last == '*' ? 1 : 0), "residue count");
        before = index.sequence_ends[i] + 1;
    }
    require(index.fault_count > 0 || index.sequence_ends.back() == static_cast<std::int64_t>(text.size()),
            "the last sequence ends with the text");
    for (const virnuc::FastaFault& fault : index.faults) require(fault.line >= 1, "the line of a fault");
    for (const virnuc::FastaFinding& finding : index.findings) {
        require((finding.count > 0) == (finding.line > 0), "a finding has a line");
    }
}

void check_encoding(std::span<const std::uint8_t> text, const virnuc::FastaIndex& index, std::int64_t limit) {
    const auto table = tokens();
    const virnuc::ResidueEncoder encoder(table, bos_token, eos_token, unknown_token, limit);
    const auto encoded = encoder.encode(text, index.sequence_starts, index.sequence_ends, true);
    require(encoded.offsets.size() == index.residue_counts.size() + 1, "offsets");
    std::int64_t truncated = 0;
    for (std::size_t i = 0; i < index.residue_counts.size(); ++i) {
        const auto residues = index.residue_counts[i];
        truncated += residues > limit ? 1 : 0;
        require(encoded.offsets[i + 1] - encoded.offsets[i] == std::min(residues, limit) + 2, "tokens of a sequence");
        require(encoded.tokens[static_cast<std::size_t>(encoded.offsets[i])] == bos_token, "BOS");
        require(encoded.tokens[static_cast<std::size_t>(encoded.offsets[i + 1] - 1)] == eos_token, "EOS");
    }
    require(encoded.truncated == truncated, "truncated");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::int64_t limit = data[0] + 1;
    const std::span<const std::uint8_t> text(data + 1, size - 1);
    try {
        const auto index = virnuc::index_fasta(text);
        check_index(text, index);
        virnuc::FastaIndexer pieces;
        for (std::size_t at = 0; at < text.size(); at += std::size_t{data[0]} + 1) {
            pieces.feed(text.subspan(at, std::min(text.size() - at, std::size_t{data[0]} + 1)));
        }
        require(pieces.finish().residue_counts == index.residue_counts, "pieces give the same index");
        check_encoding(text, index, limit);
    } catch (const virnuc::FastaFormatError& error) {
        const auto lines =
            std::ranges::count_if(text, [](std::uint8_t byte) { return byte == '\n' || byte == '\r'; }) + 1;
        require(error.line() >= 1 && error.line() <= lines, "the line of an error exists");
    }
    return 0;
}
