// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace virnuc {

/// The text is not valid FASTA.
class FastaFormatError : public std::runtime_error {
  public:
    FastaFormatError(const std::string& message, std::int64_t line) : std::runtime_error(message), line_(line) {}
    /// Line number, counted from 1.
    [[nodiscard]] std::int64_t line() const { return line_; }

  private:
    std::int64_t line_;
};

/// The position of each sequence in a text, in bytes from its start. Takes 40 bytes per sequence.
struct FastaIndex {
    std::vector<std::int64_t> header_starts;    ///< first byte after the '>'
    std::vector<std::int64_t> id_ends;          ///< first white space of the header
    std::vector<std::int64_t> sequence_starts;  ///< first byte after the header line
    std::vector<std::int64_t> sequence_ends;    ///< the next header's '>', or the end of the text
    std::vector<std::int64_t> residue_counts;   ///< number of residues, without white space and a final '*'
};

/// Indexes a text in one pass. Lines end with LF or CRLF; blank lines, white space inside lines, and a UTF-8 byte order
/// mark are skipped.
///
/// A '>' starts a header only at the start of a line. Inside a sequence it is an error, because it means that a line
/// end was lost.
///
/// Throws FastaFormatError.
FastaIndex index_fasta(std::span<const std::uint8_t> text);

/// Indexes a text that arrives in pieces of any size, as index_fasta() does, so that a file need not be mapped: reading
/// a mapped file that another process truncates is a bus error.
class FastaIndexer {
  public:
    FastaIndexer();
    ~FastaIndexer();
    FastaIndexer(const FastaIndexer&) = delete;
    FastaIndexer& operator=(const FastaIndexer&) = delete;
    FastaIndexer(FastaIndexer&&) = delete;
    FastaIndexer& operator=(FastaIndexer&&) = delete;

    /// Reads the next piece. Only a line that the piece does not end is copied, to be read together with its rest.
    ///
    /// Throws FastaFormatError.
    void feed(std::span<const std::uint8_t> piece);

    /// Ends the text and returns its index. The indexer cannot be used again.
    ///
    /// Throws FastaFormatError.
    [[nodiscard]] FastaIndex finish();

  private:
    class Parser;
    std::unique_ptr<Parser> parser_;
    std::vector<std::uint8_t> rest_;  ///< the start of a line whose end has not arrived
};

}  // namespace virnuc
