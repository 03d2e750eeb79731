// SPDX-License-Identifier: MIT
#include "packing/fasta_index.h"

#include <algorithm>
#include <optional>

#include "packing/fasta_parser.h"
#include "packing/text_lines.h"

namespace virnuc {

namespace {

/// Longest line in bytes that may span pieces. A file of another kind may have no line ends, and must not fill memory.
constexpr std::size_t max_line = std::size_t{1} << 28U;

/// Returns the size of the first line with its end; nothing if its end is not there, or if a CR at the end of the text
/// may be the first half of a CRLF.
std::optional<std::size_t> first_line_size(Bytes text) {
    const auto end = std::ranges::find_if(text, is_line_end);
    if (end == text.end()) return std::nullopt;
    const auto size = static_cast<std::size_t>(end - text.begin()) + 1;
    if (*end == '\n') return size;
    if (size == text.size()) return std::nullopt;
    return size + static_cast<std::size_t>(text[size] == '\n');
}

/// Returns the size of all lines whose ends are there, as for first_line_size().
std::size_t whole_lines_size(Bytes text) {
    const bool half = !text.empty() && text.back() == '\r';
    const Bytes sure = half ? text.first(text.size() - 1) : text;
    return static_cast<std::size_t>(sure.rend() - std::find_if(sure.rbegin(), sure.rend(), is_line_end));
}

}  // namespace

FastaIndexer::FastaIndexer(std::size_t max_faults) : parser_(std::make_unique<FastaParser>(max_faults)) {}

FastaIndexer::~FastaIndexer() = default;

void FastaIndexer::feed(std::span<const std::uint8_t> piece) {
    if (piece.empty()) return;
    if (!rest_.empty()) {
        const bool half = rest_.back() == '\r';  // the line has ended, whether or not an LF follows
        const std::optional<std::size_t> size = half ? std::size_t{piece[0] == '\n'} : first_line_size(piece);
        const auto end = piece.begin() + static_cast<std::ptrdiff_t>(size.value_or(piece.size()));
        rest_.insert(rest_.end(), piece.begin(), end);
        if (rest_.size() > max_line) {
            throw FastaFormatError("a line of more than " + std::to_string(max_line >> 20U) + " MiB",
                                   parser_->line() + 1);
        }
        if (!size) return;
        parser_->read_lines(rest_);
        rest_.clear();
        piece = piece.subspan(*size);
    }
    const std::size_t size = whole_lines_size(piece);
    parser_->read_lines(piece.first(size));
    rest_.assign(piece.begin() + static_cast<std::ptrdiff_t>(size), piece.end());
}

FastaIndex FastaIndexer::finish() {
    parser_->read_lines(rest_);
    return parser_->finish();
}

FastaIndex index_fasta(std::span<const std::uint8_t> text, std::size_t max_faults) {
    FastaIndexer indexer(max_faults);
    indexer.feed(text);
    return indexer.finish();
}

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

}  // namespace virnuc
