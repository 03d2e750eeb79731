// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace virnuc {

/// The text is not FASTA.
class FastaFormatError : public std::runtime_error {
  public:
    FastaFormatError(const std::string& message, std::int64_t line) : std::runtime_error(message), line_(line) {}
    /// Counted from 1.
    [[nodiscard]] std::int64_t line() const { return line_; }

  private:
    std::int64_t line_;
};

/// Where each sequence of a text lies, in bytes from its start. 40 bytes a sequence.
struct FastaIndex {
    std::vector<std::int64_t> header_starts;    ///< after the '>'
    std::vector<std::int64_t> id_ends;          ///< at the first white space of the header
    std::vector<std::int64_t> sequence_starts;  ///< after the header's line
    std::vector<std::int64_t> sequence_ends;    ///< at the next header's '>', or at the end of the text
    std::vector<std::int64_t> residue_counts;   ///< white space and a final '*' left out
};

/// One pass over a text. Line ends are LF or CRLF; blank lines, white space inside lines and a UTF-8 byte
/// order mark are passed over. A '>' starts a header at the start of a line only; elsewhere in a sequence it
/// is an error, since it means that a line end was lost. Throws FastaFormatError.
FastaIndex index_fasta(std::span<const std::uint8_t> text);

}  // namespace virnuc
