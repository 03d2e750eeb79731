// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace virnuc {

/// Bytes that the alphabet lacks, in a table of tokens.
inline constexpr std::uint8_t kNotInAlphabet = 255;

struct EncodedSequences {
    std::unique_ptr<std::uint8_t[]> tokens;  ///< sequence after sequence, each with its BOS and EOS
    std::vector<std::int64_t> offsets;       ///< where each starts in `tokens`; sequences + 1 values
    std::int64_t truncated = 0;
    std::int64_t unknown_residues = 0;
};

/// Turns residues into tokens by one table look-up each.
class ResidueEncoder {
  public:
    /// `table`: 256 tokens, kNotInAlphabet where there is none; letters are looked up as upper case.
    /// Throws std::invalid_argument.
    ResidueEncoder(std::span<const std::uint8_t> table, std::uint8_t bos, std::uint8_t eos, std::uint8_t unknown,
                   std::int64_t max_residues);

    /// The sequences at text[starts[i], ends[i]): white space is skipped, one final '*' dropped, and what
    /// lies beyond the limit cut off and counted. Throws std::invalid_argument.
    [[nodiscard]] EncodedSequences encode(std::span<const std::uint8_t> text, std::span<const std::int64_t> starts,
                                          std::span<const std::int64_t> ends) const;

  private:
    struct Entry {
        std::uint8_t token;
        std::uint8_t kept;     ///< 0 for white space
        std::uint8_t unknown;  ///< 1 where the alphabet lacks the byte
    };

    std::array<Entry, 256> entries_{};
    std::uint8_t bos_;
    std::uint8_t eos_;
    std::int64_t max_residues_;
};

}  // namespace virnuc
