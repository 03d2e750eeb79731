// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace virnuc {

/// The text is not FASTA at all.
class FastaFormatError : public std::runtime_error {
  public:
    FastaFormatError(const std::string& message, std::int64_t line) : std::runtime_error(message), line_(line) {}
    /// Line number, counted from 1.
    [[nodiscard]] std::int64_t line() const { return line_; }

  private:
    std::int64_t line_;
};

/// A record that is not valid FASTA and therefore left out.
struct FastaFault {
    enum class Kind : std::uint8_t { text_before_header, no_identifier, no_residues, header_inside, invalid_byte };

    std::int64_t line;  ///< line number, counted from 1
    std::string id;     ///< identifier of the record, shortened; empty if it has none
    Kind kind;
    std::uint8_t byte = 0;  ///< the invalid byte

    /// Returns what is wrong, as a clause.
    [[nodiscard]] std::string reason() const;
};

/// Something that is odd in valid records, or that was read over.
struct FastaFinding {
    enum class Kind : std::uint8_t {
        nucleotides,       ///< sequences of at least 20 letters, 90% of which are A, C, G, T, U, or N
        unknown,           ///< sequences that consist of X, J, digits, and symbols by more than half
        gaps,              ///< `-` and `.`
        digits,            ///< as residue numbers are
        stops,             ///< `*` before the end of a sequence
        symbols,           ///< printable characters that are none of these
        words,             ///< lines of three or more words of irregular lengths, as in a message
        comments,          ///< lines that were skipped
        carriage_returns,  ///< lines that end with a CR alone
    };
    static constexpr std::size_t kinds = 9;

    std::int64_t sequences = 0;  ///< records that it occurs in; 0 for comments and carriage returns
    std::int64_t count = 0;      ///< characters, lines, or residues
    std::int64_t line = 0;       ///< line of the first
    std::string id;              ///< identifier of the record with the first, shortened; empty before any header

    static const char* name(Kind kind);
};

/// The position of each valid sequence in a text, in bytes from its start. Takes 40 bytes per sequence.
struct FastaIndex {
    std::vector<std::int64_t> header_starts;    ///< first byte after the '>'
    std::vector<std::int64_t> id_ends;          ///< first white space of the header
    std::vector<std::int64_t> sequence_starts;  ///< first byte after the header line
    std::vector<std::int64_t> sequence_ends;    ///< the next header's '>', or the end of the text
    std::vector<std::int64_t> residue_counts;   ///< residues, without white space, comment lines, and a final '*'
    std::vector<FastaFault> faults;             ///< the first faulty records, in their order
    std::int64_t fault_count = 0;               ///< number of all faulty records
    std::array<FastaFinding, FastaFinding::kinds> findings{};  ///< by kind; with a count of 0 where there is none
};

/// Indexes a text in one pass. Lines end with LF, CRLF, or CR; blank lines, white space inside lines, and a UTF-8 byte
/// order mark are skipped. Lines that start with ';', '#', or "//" are comments, and not part of a sequence.
///
/// A '>' starts a header only at the start of a line. Inside a sequence it is a fault, because it means that a line
/// end was lost. A record with a fault is left out as a whole.
///
/// `max_faults` is the number of faults to describe; all are counted.
///
/// Throws FastaFormatError if the text has neither a record nor a fault.
FastaIndex index_fasta(std::span<const std::uint8_t> text,
                       std::size_t max_faults = std::numeric_limits<std::size_t>::max());

/// Indexes a text that arrives in pieces of any size, as index_fasta() does, so that a file need not be mapped: reading
/// a mapped file that another process truncates is a bus error.
class FastaIndexer {
  public:
    explicit FastaIndexer(std::size_t max_faults = std::numeric_limits<std::size_t>::max());
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
    std::unique_ptr<class FastaParser> parser_;
    std::vector<std::uint8_t> rest_;  ///< the start of a line whose end has not arrived
};

}  // namespace virnuc
