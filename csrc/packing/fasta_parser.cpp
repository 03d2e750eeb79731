// SPDX-License-Identifier: MIT
#include "packing/fasta_parser.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "packing/residue_bytes.h"
#include "packing/word_lengths.h"

namespace virnuc {

namespace {

using Finding = FastaFinding::Kind;
using Fault = FastaFault::Kind;

/// Shorter sequences may consist of the nucleotides' letters by chance.
constexpr std::int64_t min_nucleotides = 20;
/// The first bytes of a protein tell that it does not consist of nucleotides.
constexpr std::size_t head_size = 32;

constexpr std::array<std::uint8_t, 3> byte_order_mark{0xEF, 0xBB, 0xBF};

bool mostly_nucleotides(std::int64_t nucleotides, std::int64_t letters) {
    return letters > 0 && nucleotides * 10 >= letters * 9;
}

/// Returns the position of the first '>' at the start of a line from `from` on, which is such a start itself.
std::size_t next_header(Bytes text, std::size_t from) {
    for (std::size_t at = from; at < text.size(); ++at) {
        const void* found = std::memchr(text.data() + at, '>', text.size() - at);
        if (!found) break;
        at = static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - text.data());
        if (at == from || is_line_end(text[at - 1])) return at;
    }
    return text.size();
}

}  // namespace

void FastaRecord::add(Finding kind, std::int64_t line) {
    Tally& tally = (*this)[kind];
    if (tally.count++ == 0) tally.line = line;
    plain = false;
}

void FastaRecord::add_stop() {
    if (stop_line == 0) return;
    ++residues;
    add(Finding::stops, stop_line);
    stop_line = 0;
}

void FastaRecord::set_fault(Fault kind, std::int64_t line, std::uint8_t byte) {
    if (!fault) fault = FastaFault{line, shown_id(), kind, byte};
}

std::string FastaRecord::shown_id() const {
    const auto length = static_cast<std::size_t>(id_end - id_start);
    return std::string(id.data(), std::min(length, max_id)) + (length > max_id ? "..." : "");
}

void FastaParser::read_lines(Bytes text) {
    const bool marked = base_ == 0 && text.size() >= byte_order_mark.size() &&
                        std::equal(byte_order_mark.begin(), byte_order_mark.end(), text.begin());
    std::size_t at = marked ? byte_order_mark.size() : 0;
    while (at < text.size()) {
        if (text[at] == '>') {
            const TextLine header = line_at(text, at);
            end_record(base_ + static_cast<std::int64_t>(at));
            begin_record(header, text);
            at = header.next;
        } else {
            const std::size_t end = next_header(text, at);
            const Bytes lines = text.subspan(at, end - at);
            if (record_.header_line == 0) {
                read_preamble(lines);
            } else if (!read_plain_residues(lines)) {
                read_residues(lines);
            }
            at = end;
        }
    }
    base_ += static_cast<std::int64_t>(text.size());
}

FastaIndex FastaParser::finish() {
    end_record(base_);
    if (index_.header_starts.empty() && index_.fault_count == 0)
        throw FastaFormatError("the text contains no sequence", std::max<std::int64_t>(line_, 1));
    judge_short_nucleotides();
    return std::move(index_);
}

void FastaParser::begin_record(const TextLine& line, Bytes text) {
    const Bytes header = text.subspan(line.start + 1, line.end - line.start - 1);
    const auto length = static_cast<std::size_t>(std::ranges::find_if(header, is_white_space) - header.begin());
    record_ = FastaRecord{};
    record_.id_start = base_ + static_cast<std::int64_t>(line.start) + 1;
    record_.id_end = record_.id_start + static_cast<std::int64_t>(length);
    record_.sequence_start = base_ + static_cast<std::int64_t>(line.next);
    if (length > 0) std::memcpy(record_.id.data(), header.data(), std::min(length, FastaRecord::max_id));
    count_line(line);
    record_.header_line = line_;
    if (length == 0) record_.set_fault(Fault::no_identifier, line_);
}

void FastaParser::end_record(std::int64_t end) {
    if (record_.header_line > 0 && record_.residues == 0) record_.set_fault(Fault::no_residues, record_.header_line);
    if (record_.fault) {
        ++index_.fault_count;
        if (index_.faults.size() < max_faults_) index_.faults.push_back(std::move(*record_.fault));
    } else if (record_.header_line > 0) {
        add_sequence(end);
    }
}

/// Counts lines one by one and passes each to `read`.
template <typename Read>
void FastaParser::read_each(Bytes lines, Read read) {
    for (std::size_t at = 0; at < lines.size();) {
        const TextLine line = line_at(lines, at);
        count_line(line);
        read(lines.subspan(at, line.end - at));
        at = line.next;
    }
}

void FastaParser::read_preamble(Bytes lines) {
    read_each(lines, [this](Bytes line) {
        if (is_comment(line)) {
            note(Finding::comments);
        } else if (!std::ranges::all_of(line, is_white_space)) {
            record_.set_fault(Fault::text_before_header, line_);
        }
    });
}

/// Reads lines as a whole if they hold letters and maybe a final '*', as nearly always. Returns false if they do not.
bool FastaParser::read_plain_residues(Bytes lines) {
    const ResidueCensus census = take_census(lines);
    const auto last = std::find_if_not(lines.rbegin(), lines.rend(), is_white_space);
    const bool stop = last != lines.rend() && *last == '*';
    const std::int64_t expected =
        census.letters + census.line_feeds + census.carriage_returns + static_cast<std::int64_t>(stop);
    if (expected != static_cast<std::int64_t>(lines.size())) return false;
    if (census.carriage_returns > 0 && census.carriage_returns != count_crlf(lines)) return false;

    if (census.letters > 0 || stop) record_.add_stop();
    line_ += census.line_feeds + static_cast<std::int64_t>(lines.back() != '\n');
    if (stop) record_.stop_line = line_ - std::max<std::int64_t>(std::count(lines.rbegin(), last, '\n') - 1, 0);
    if (record_.letters == 0 && record_.may_be_nucleotides) {
        const Bytes head = lines.first(std::min(lines.size(), head_size));
        const auto size = static_cast<std::int64_t>(head.size());
        record_.may_be_nucleotides = count_nucleotides(head) * 10 >= size * 7;  // some of it may be line ends
    }
    if (record_.may_be_nucleotides) record_.nucleotides += count_nucleotides(lines);
    record_.residues += census.letters;
    record_.letters += census.letters;
    record_.unknown += census.unknown;
    return true;
}

/// Reads lines one by one, and only counts them after a fault.
void FastaParser::read_residues(Bytes lines) {
    read_each(lines, [this](Bytes line) {
        if (record_.fault) return;
        if (is_comment(line)) {
            note(Finding::comments);
        } else {
            read_line(line);
        }
    });
}

void FastaParser::read_line(Bytes line) {
    WordLengths words;
    for (const std::uint8_t byte : line) {
        const ResidueClass kind = classify(byte);
        if (kind == ResidueClass::white_space) {
            words.end_word();
            continue;
        }
        if (kind == ResidueClass::invalid) {
            record_.set_fault(byte == '>' ? Fault::header_inside : Fault::invalid_byte, line_, byte);
            return;
        }
        words.add(kind == ResidueClass::digit);
        read_residue(kind, byte);
    }
    words.end_word();
    if (words.like_a_message()) record_.add(Finding::words, line_);
}

void FastaParser::read_residue(ResidueClass kind, std::uint8_t byte) {
    record_.add_stop();
    if (kind == ResidueClass::stop) {
        record_.stop_line = line_;
        return;
    }
    ++record_.residues;
    if (kind == ResidueClass::letter) {
        ++record_.letters;
        record_.unknown += static_cast<std::int64_t>(is_unknown_letter(byte));
        record_.nucleotides += static_cast<std::int64_t>(is_nucleotide(byte));
    } else if (kind == ResidueClass::gap) {
        record_.add(Finding::gaps, line_);
    } else if (kind == ResidueClass::digit) {
        record_.add(Finding::digits, line_);
    } else {
        record_.add(Finding::symbols, line_);
    }
}

void FastaParser::add_sequence(std::int64_t end) {
    index_.header_starts.push_back(record_.id_start);
    index_.id_ends.push_back(record_.id_end);
    index_.sequence_starts.push_back(record_.sequence_start);
    index_.sequence_ends.push_back(end);
    index_.residue_counts.push_back(record_.residues);
    if (mostly_nucleotides(record_.nucleotides, record_.letters)) {
        const bool is_long = record_.letters >= min_nucleotides;
        add_to(is_long ? found(Finding::nucleotides) : short_nucleotides_, record_.letters, record_.header_line);
    }
    std::int64_t unknown = record_.unknown;
    if (!record_.plain) {
        for (std::size_t i = 0; i < FastaFinding::kinds; ++i) {
            const FastaRecord::Tally& tally = record_.tallies[i];
            if (tally.count > 0) add_to(index_.findings[i], tally.count, tally.line);
        }
        unknown += record_[Finding::digits].count + record_[Finding::stops].count + record_[Finding::symbols].count;
    }
    if (unknown * 2 > record_.residues) add_to(found(Finding::unknown), unknown, record_.header_line);
}

/// Short sequences look like nucleotides only if most sequences of the text do.
void FastaParser::judge_short_nucleotides() {
    FastaFinding& finding = found(Finding::nucleotides);
    const std::int64_t sequences = finding.sequences + short_nucleotides_.sequences;
    const std::int64_t letters = finding.count + short_nucleotides_.count;
    const auto all = static_cast<std::int64_t>(index_.header_starts.size());
    if (short_nucleotides_.count == 0 || letters < min_nucleotides || sequences * 2 <= all) return;
    if (finding.count == 0 || short_nucleotides_.line < finding.line) finding = short_nucleotides_;
    finding.sequences = sequences;
    finding.count = letters;
}

void FastaParser::add_to(FastaFinding& finding, std::int64_t count, std::int64_t line) const {
    if (finding.count == 0) {
        finding.line = line;
        finding.id = record_.shown_id();
    }
    finding.count += count;
    ++finding.sequences;
}

/// Counts the latest line, which was read over. It may belong to a faulty record.
void FastaParser::note(Finding kind) {
    add_to(found(kind), 1, line_);
    found(kind).sequences = 0;
}

void FastaParser::count_line(const TextLine& line) {
    ++line_;
    if (line.lone_cr) note(Finding::carriage_returns);
}

}  // namespace virnuc
