// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace virnuc {

/// Entry of a token table for a byte that the alphabet lacks.
inline constexpr std::uint8_t not_in_alphabet = 255;

struct EncodedSequences {
    std::unique_ptr<std::uint8_t[]> tokens;  ///< sequence by sequence, each with its BOS and EOS
    std::vector<std::int64_t> offsets;       ///< start of each sequence in `tokens`; sequences + 1 values
    std::int64_t truncated = 0;
    std::int64_t unknown_residues = 0;
};

/// Encodes residues as tokens, with one table lookup each.
class ResidueEncoder {
  public:
    /// `table` holds the token of each of the 256 bytes, or not_in_alphabet. Letters are looked up as upper case.
    ///
    /// Throws std::invalid_argument.
    ResidueEncoder(std::span<const std::uint8_t> table, std::uint8_t bos, std::uint8_t eos, std::uint8_t unknown,
                   std::int64_t max_residues);

    /// Encodes the sequences at text[starts[i], ends[i]). White space is skipped and one final '*' is dropped; residues
    /// beyond the limit are cut off, and such sequences are counted. With `skip_comments`, comment lines as in a FASTA
    /// file are skipped too.
    ///
    /// Throws std::invalid_argument.
    [[nodiscard]] EncodedSequences encode(std::span<const std::uint8_t> text, std::span<const std::int64_t> starts,
                                          std::span<const std::int64_t> ends, bool skip_comments = false) const;

  private:
    struct Entry {
        std::uint8_t token;
        std::uint8_t kept;     ///< 0 for white space, else 1
        std::uint8_t unknown;  ///< 1 if the alphabet lacks the byte
    };

    /// Encodes up to one of the ends. Inlined into its caller, the loop would run out of registers and take 30% longer.
    [[gnu::noinline]] void encode_residues(const std::uint8_t*& in, const std::uint8_t* in_end, std::uint8_t*& out,
                                           const std::uint8_t* out_end, std::int64_t& unknown) const;

    std::array<Entry, 256> entries_{};
    std::uint8_t bos_;
    std::uint8_t eos_;
    std::int64_t max_residues_;
};

}  // namespace virnuc
