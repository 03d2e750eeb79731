// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "packing/fasta_index.h"
#include "packing/residue_census.h"
#include "packing/text_lines.h"

namespace virnuc {

/// What one record holds, until it is known to be valid.
struct FastaRecord {
    struct Tally {
        std::int64_t count = 0;
        std::int64_t line = 0;  ///< line of the first
    };
    static constexpr std::size_t max_id = 60;  ///< bytes of an identifier that a message needs

    std::int64_t header_line = 0;  ///< 0 before the first header
    std::int64_t id_start = 0;     ///< offset in the whole text
    std::int64_t id_end = 0;
    std::int64_t sequence_start = 0;
    std::array<char, max_id> id{};  ///< start of the identifier
    std::int64_t residues = 0;      ///< without a final '*'
    std::int64_t letters = 0;
    std::int64_t unknown = 0;      ///< X and J
    std::int64_t nucleotides = 0;  ///< counted only while it may consist of them
    bool may_be_nucleotides = true;
    bool plain = true;           ///< nothing is in `tallies`
    std::int64_t stop_line = 0;  ///< line of a '*' that is the last residue so far; else 0
    std::optional<FastaFault> fault;
    std::array<Tally, FastaFinding::kinds> tallies{};

    Tally& operator[](FastaFinding::Kind kind) { return tallies[static_cast<std::size_t>(kind)]; }
    void add(FastaFinding::Kind kind, std::int64_t line);
    /// Counts a '*' that is not the last residue, as has turned out.
    void add_stop();
    /// Keeps the first fault of the record.
    void set_fault(FastaFault::Kind kind, std::int64_t line, std::uint8_t byte = 0);
    /// Returns the identifier, shortened.
    [[nodiscard]] std::string shown_id() const;
};

/// Indexes the lines of a text.
class FastaParser {
  public:
    explicit FastaParser(std::size_t max_faults) : max_faults_(max_faults) {}

    /// Reads whole lines; only the last line of the whole text may lack its end.
    void read_lines(Bytes text);

    /// Number of the line that was read last, counted from 1; 0 before the first.
    [[nodiscard]] std::int64_t line() const { return line_; }

    FastaIndex finish();

  private:
    void begin_record(const TextLine& line, Bytes text);
    void end_record(std::int64_t end);
    template <typename Read>
    void read_each(Bytes lines, Read read);
    void read_preamble(Bytes lines);
    void read_residues(Bytes lines);
    bool read_plain_residues(Bytes lines);
    void read_line(Bytes line);
    void read_residue(ResidueClass kind, std::uint8_t byte);
    void add_sequence(std::int64_t end);
    void judge_short_nucleotides();
    void add_to(FastaFinding& finding, std::int64_t count, std::int64_t line) const;
    void note(FastaFinding::Kind kind);
    void count_line(const TextLine& line);
    FastaFinding& found(FastaFinding::Kind kind) { return index_.findings[static_cast<std::size_t>(kind)]; }

    std::size_t max_faults_;
    FastaIndex index_;
    FastaRecord record_;              ///< the current record
    FastaFinding short_nucleotides_;  ///< sequences that are too short to be judged alone
    std::int64_t base_ = 0;           ///< offset in the whole text of the lines that are being read
    std::int64_t line_ = 0;           ///< number of the latest line
};

}  // namespace virnuc
