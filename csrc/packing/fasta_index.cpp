// SPDX-License-Identifier: MIT
#include "packing/fasta_index.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "packing/residue_bytes.h"
#include "packing/residue_census.h"
#include "packing/text_lines.h"
#include "packing/word_lengths.h"

namespace virnuc {

namespace {

using Finding = FastaFinding::Kind;
using Fault = FastaFault::Kind;

/// Shorter sequences may consist of the nucleotides' letters by chance.
constexpr std::int64_t min_nucleotides = 20;

bool mostly_nucleotides(std::int64_t nucleotides, std::int64_t letters) {
    return letters > 0 && nucleotides * 10 >= letters * 9;
}

/// What one record holds, until it is known to be valid.
struct Record {
    struct Tally {
        std::int64_t count = 0;
        std::int64_t line = 0;  ///< line of the first
    };

    std::int64_t header_line = 0;
    std::size_t id_start = 0;
    std::size_t id_end = 0;
    std::int64_t residues = 0;  ///< without a final '*'
    std::int64_t letters = 0;
    std::int64_t unknown = 0;      ///< X and J
    std::int64_t nucleotides = 0;  ///< 0 if the first bytes are of a protein
    bool plain = true;             ///< it consists of letters, line ends, and maybe a final '*'
    std::optional<FastaFault> fault;
    std::array<Tally, FastaFinding::kinds> tallies{};

    void add(Finding kind, std::int64_t line) {
        Tally& tally = tallies[static_cast<std::size_t>(kind)];
        if (tally.count++ == 0) tally.line = line;
    }
    Tally& operator[](Finding kind) { return tallies[static_cast<std::size_t>(kind)]; }

    /// Keeps the first fault of a record.
    void set_fault(Fault kind, std::int64_t line, std::uint8_t byte = 0) {
        if (!fault) fault = {line, static_cast<std::int64_t>(id_start), static_cast<std::int64_t>(id_end), kind, byte};
    }
};

class Indexer {
  public:
    Indexer(Bytes text, std::size_t max_faults) : text_(text), max_faults_(max_faults) {}

    FastaIndex run() {
        std::size_t at = read_preamble();
        while (at < text_.size()) at = read_record(at);
        if (index_.header_starts.empty() && index_.fault_count == 0)
            throw FastaFormatError("the text contains no sequence", std::max<std::int64_t>(line_, 1));
        judge_short_nucleotides();
        return std::move(index_);
    }

  private:
    /// Reads up to the first header and returns its position.
    std::size_t read_preamble() {
        constexpr std::array<std::uint8_t, 3> byte_order_mark{0xEF, 0xBB, 0xBF};
        const bool marked = text_.size() >= byte_order_mark.size() &&
                            std::equal(byte_order_mark.begin(), byte_order_mark.end(), text_.begin());
        Record none;
        std::size_t at = marked ? byte_order_mark.size() : 0;
        while (at < text_.size() && text_[at] != '>') {
            const TextLine line = line_at(text_, at);
            count_line(line);
            const Bytes bytes = text_.subspan(at, line.end - at);
            if (is_comment(bytes)) {
                note(Finding::comments, none);
            } else if (!std::ranges::all_of(bytes, is_white_space)) {
                none.set_fault(Fault::text_before_header, line_);
            }
            at = line.next;
        }
        if (none.fault) add_fault(*none.fault);
        return at;
    }

    /// Reads the record whose '>' is at `at`, and returns the position of the next one.
    std::size_t read_record(std::size_t at) {
        const TextLine header = line_at(text_, at);
        const Bytes inside = text_.subspan(at + 1, header.end - at - 1);
        Record record;
        record.id_start = at + 1;
        record.id_end =
            at + 1 + static_cast<std::size_t>(std::ranges::find_if(inside, is_white_space) - inside.begin());
        count_line(header, &record);
        record.header_line = line_;
        if (record.id_end == record.id_start) record.set_fault(Fault::no_identifier, line_);
        const std::size_t end = next_header(header.next);
        read_body(record, header.next, end);
        if (record.residues == 0) record.set_fault(Fault::no_residues, record.header_line);
        if (record.fault) {
            add_fault(*record.fault);
        } else {
            add_sequence(record, header.next, end);
        }
        return end;
    }

    /// Returns the position of the first '>' at the start of a line from `from` on, which is such a start itself.
    [[nodiscard]] std::size_t next_header(std::size_t from) const {
        for (std::size_t at = from; at < text_.size(); ++at) {
            const void* found = std::memchr(text_.data() + at, '>', text_.size() - at);
            if (!found) break;
            at = static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - text_.data());
            if (at == from || is_line_end(text_[at - 1])) return at;
        }
        return text_.size();
    }

    /// Reads the lines of a sequence: as a whole if there is nothing odd in them, as nearly always, else one by one.
    void read_body(Record& record, std::size_t start, std::size_t end) {
        const Bytes body = text_.subspan(start, end - start);
        const ResidueCensus census = take_census(body);
        const auto last = std::find_if_not(body.rbegin(), body.rend(), is_white_space);
        const std::int64_t stop = last != body.rend() && *last == '*' ? 1 : 0;
        const std::int64_t expected = census.letters + census.line_feeds + census.carriage_returns + stop;
        record.plain = expected == static_cast<std::int64_t>(body.size()) &&
                       (census.carriage_returns == 0 || census.carriage_returns == count_crlf(body));
        if (!record.plain) {
            read_lines(record, start, end);
            return;
        }
        line_ += census.line_feeds;
        if (!body.empty() && body.back() != '\n') ++line_;
        record.residues = record.letters = census.letters;
        record.unknown = census.unknown;
        // The first bytes of a protein are enough to tell; at most three of them are line ends.
        const Bytes head = body.first(std::min<std::size_t>(body.size(), 32));
        if (count_nucleotides(head) * 10 >= static_cast<std::int64_t>(head.size()) * 7)
            record.nucleotides = count_nucleotides(body);
    }

    /// Reads the lines of a sequence one by one, and only counts them after a fault.
    void read_lines(Record& record, std::size_t start, std::size_t end) {
        std::uint8_t last = 0;
        const Bytes text = text_.first(end);  // ends at a line's start, so that no line reaches beyond it
        for (std::size_t at = start; at < end;) {
            const TextLine line = line_at(text, at);
            const Bytes bytes = text.subspan(at, line.end - at);
            at = line.next;
            count_line(line, &record);
            if (record.fault) continue;
            if (is_comment(bytes)) {
                note(Finding::comments, record);
            } else {
                read_line(record, bytes, last);
            }
        }
        if (last == '*') {  // the final stop is no residue
            --record.residues;
            --record[Finding::stops].count;
        }
    }

    /// Reads a line of a sequence up to its first fault.
    void read_line(Record& record, Bytes line, std::uint8_t& last) {
        WordLengths words;
        for (const std::uint8_t byte : line) {
            const ResidueClass kind = classify(byte);
            if (kind == ResidueClass::white_space) {
                words.end_word();
                continue;
            }
            if (kind == ResidueClass::invalid) {
                record.set_fault(byte == '>' ? Fault::header_inside : Fault::invalid_byte, line_, byte);
                return;
            }
            words.add(kind == ResidueClass::digit);
            count_residue(record, kind, byte);
            last = byte;
        }
        words.end_word();
        if (words.like_a_message()) record.add(Finding::words, line_);
    }

    void count_residue(Record& record, ResidueClass kind, std::uint8_t byte) const {
        ++record.residues;
        if (kind == ResidueClass::letter) {
            ++record.letters;
            record.unknown += static_cast<std::int64_t>(is_unknown_letter(byte));
            record.nucleotides += static_cast<std::int64_t>(is_nucleotide(byte));
        } else if (kind == ResidueClass::gap) {
            record.add(Finding::gaps, line_);
        } else if (kind == ResidueClass::digit) {
            record.add(Finding::digits, line_);
        } else if (kind == ResidueClass::stop) {
            record.add(Finding::stops, line_);
        } else {
            record.add(Finding::symbols, line_);
        }
    }

    void add_sequence(Record& record, std::size_t start, std::size_t end) {
        index_.header_starts.push_back(static_cast<std::int64_t>(record.id_start));
        index_.id_ends.push_back(static_cast<std::int64_t>(record.id_end));
        index_.sequence_starts.push_back(static_cast<std::int64_t>(start));
        index_.sequence_ends.push_back(static_cast<std::int64_t>(end));
        index_.residue_counts.push_back(record.residues);
        if (mostly_nucleotides(record.nucleotides, record.letters)) {
            FastaFinding& finding =
                record.letters >= min_nucleotides ? found(Finding::nucleotides) : short_nucleotides_;
            add_to(finding, record, record.letters, record.header_line);
        }
        std::int64_t unknown = record.unknown;
        if (!record.plain) {
            for (const Finding kind :
                 {Finding::gaps, Finding::digits, Finding::stops, Finding::symbols, Finding::words}) {
                const Record::Tally tally = record[kind];
                if (tally.count > 0) add_to(found(kind), record, tally.count, tally.line);
            }
            unknown += record[Finding::digits].count + record[Finding::stops].count + record[Finding::symbols].count;
        }
        if (unknown * 2 > record.residues) add_to(found(Finding::unknown), record, unknown, record.header_line);
    }

    /// Short sequences look like nucleotides only if most sequences of the text do.
    void judge_short_nucleotides() {
        FastaFinding& finding = found(Finding::nucleotides);
        const std::int64_t sequences = finding.sequences + short_nucleotides_.sequences;
        const auto all = static_cast<std::int64_t>(index_.header_starts.size());
        if (short_nucleotides_.count + finding.count < min_nucleotides || sequences * 2 <= all) return;
        const bool is_first = finding.count == 0 || short_nucleotides_.line < finding.line;
        if (short_nucleotides_.count == 0) return;
        FastaFinding both = is_first ? short_nucleotides_ : finding;
        both.sequences = sequences;
        both.count = short_nucleotides_.count + finding.count;
        finding = both;
    }

    FastaFinding& found(Finding kind) { return index_.findings[static_cast<std::size_t>(kind)]; }

    static void add_to(FastaFinding& finding, const Record& record, std::int64_t count, std::int64_t line) {
        if (finding.count == 0) {
            finding.line = line;
            finding.id_start = static_cast<std::int64_t>(record.id_start);
            finding.id_end = static_cast<std::int64_t>(record.id_end);
        }
        finding.count += count;
        ++finding.sequences;
    }

    /// Counts a line that was read over. It may belong to a faulty record.
    void note(Finding kind, const Record& record) {
        add_to(found(kind), record, 1, line_);
        found(kind).sequences = 0;
    }

    void count_line(const TextLine& line, const Record* record = nullptr) {
        ++line_;
        if (line.lone_cr) note(Finding::carriage_returns, record ? *record : Record{});
    }

    void add_fault(const FastaFault& fault) {
        ++index_.fault_count;
        if (index_.faults.size() < max_faults_) index_.faults.push_back(fault);
    }

    Bytes text_;
    std::size_t max_faults_;
    FastaIndex index_;
    FastaFinding short_nucleotides_;
    std::int64_t line_ = 0;  ///< number of the latest line
};

}  // namespace

std::string FastaFault::reason() const {
    switch (kind) {
        case Kind::text_before_header:
            return "text before the first header (FASTA starts with '>')";
        case Kind::no_identifier:
            return "a header without an identifier after its '>'";
        case Kind::no_residues:
            return "the sequence has no residues";
        case Kind::header_inside:
            return "'>' inside a sequence (is the line end before it missing?)";
        case Kind::invalid_byte:
            break;
    }
    constexpr std::array<char, 17> digits{"0123456789ABCDEF"};
    return std::string("byte 0x") + digits[byte >> 4U] + digits[byte & 15U] + " cannot belong to a sequence";
}

const char* FastaFinding::name(Kind kind) {
    constexpr std::array<const char*, kinds> names{"nucleotides", "unknown", "gaps",     "digits",          "stops",
                                                   "symbols",     "words",   "comments", "carriage_returns"};
    return names[static_cast<std::size_t>(kind)];
}

FastaIndex index_fasta(std::span<const std::uint8_t> text, std::size_t max_faults) {
    return Indexer(text, max_faults).run();
}

}  // namespace virnuc
