// SPDX-License-Identifier: MIT
#include "packing/fasta_index.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "packing/residue_bytes.h"

namespace virnuc {

namespace {

using Line = std::span<const std::uint8_t>;

/// Longest line in bytes that may span pieces. A file of another kind may have no line ends, and must not fill memory.
constexpr std::size_t max_line = std::size_t{1} << 28U;

struct LineCount {
    std::int64_t residues = 0;
    bool clean = true;  ///< every byte is white space or may be a residue
};

/// Avoids branches and wide counters per byte, so that compilers vectorize the inner loop.
LineCount count_residues(Line line) {
    constexpr std::size_t block_size = 128;  // small enough for 8-bit counters
    LineCount count;
    while (!line.empty()) {
        const Line block = line.first(std::min(line.size(), block_size));
        std::uint8_t residues = 0;
        std::uint8_t white_space = 0;
        for (const std::uint8_t byte : block) {
            residues = static_cast<std::uint8_t>(residues + (is_printable(byte) & (byte != '>')));
            white_space = static_cast<std::uint8_t>(white_space + is_white_space(byte));
        }
        count.residues += residues;
        count.clean = count.clean && std::size_t{residues} + white_space == block.size();
        line = line.subspan(block.size());
    }
    return count;
}

std::string describe(std::uint8_t byte) {
    if (byte == '>') return "'>' inside a sequence (is the line end before it missing?)";
    constexpr std::array<char, 17> digits{"0123456789ABCDEF"};
    return std::string("byte 0x") + digits[byte >> 4U] + digits[byte & 15U] + " cannot belong to a sequence";
}

std::string shortened(Line id) {
    constexpr std::size_t max_length = 60;
    const Line shown = id.first(std::min(id.size(), max_length));
    return std::string(shown.begin(), shown.end()) + (id.size() > max_length ? "..." : "");
}

}  // namespace

class FastaIndexer::Parser {
  public:
    /// Reads whole lines; only the last line of the whole text may lack its end.
    void read_lines(std::span<const std::uint8_t> text) {
        text_ = text;
        constexpr std::array<std::uint8_t, 3> byte_order_mark{0xEF, 0xBB, 0xBF};
        const bool has_byte_order_mark = base_ == 0 && text_.size() >= 3 &&
                                         std::equal(byte_order_mark.begin(), byte_order_mark.end(), text_.begin());
        std::size_t start = has_byte_order_mark ? 3 : 0;
        while (start < text_.size()) {
            ++line_;
            const void* found = std::memchr(text_.data() + start, '\n', text_.size() - start);
            const std::size_t end =
                found ? static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - text_.data()) : text_.size();
            const std::size_t next = std::min(end + 1, text_.size());
            read_line(start, end, next);
            start = next;
        }
        base_ += static_cast<std::int64_t>(text_.size());
    }

    /// Number of the line that was read last, counted from 1; 0 before the first.
    [[nodiscard]] std::int64_t line() const { return line_; }

    FastaIndex finish() {
        text_ = {};
        end_sequence(0);
        if (index_.header_starts.empty())
            throw FastaFormatError("the text contains no sequence", std::max<std::int64_t>(line_, 1));
        return std::move(index_);
    }

  private:
    void read_line(std::size_t start, std::size_t end, std::size_t next) {
        if (start < end && text_[start] == '>') {
            end_sequence(start);
            begin_sequence(start + 1, end, next);
            return;
        }
        const Line line = text_.subspan(start, end - start);
        const LineCount count = count_residues(line);
        if (header_line_ == 0 && (count.residues > 0 || !count.clean)) {
            throw FastaFormatError("text before the first header (FASTA starts with '>')", line_);
        }
        if (!count.clean) {
            const auto invalid = std::ranges::find_if(
                line, [](std::uint8_t byte) { return byte == '>' || !(is_printable(byte) || is_white_space(byte)); });
            throw FastaFormatError(describe(*invalid), line_);
        }
        if (count.residues == 0) return;
        residues_ += count.residues;
        last_residue_ = *std::find_if_not(line.rbegin(), line.rend(), is_white_space);
    }

    void begin_sequence(std::size_t header_start, std::size_t header_end, std::size_t next) {
        const Line header = text_.subspan(header_start, header_end - header_start);
        const auto id_length = std::ranges::find_if(header, is_white_space) - header.begin();
        if (id_length == 0) throw FastaFormatError("a header without an identifier after its '>'", line_);
        header_line_ = line_;
        residues_ = 0;
        last_residue_ = 0;
        id_ = shortened(header.first(static_cast<std::size_t>(id_length)));
        index_.header_starts.push_back(offset(header_start));
        index_.id_ends.push_back(offset(header_start) + id_length);
        index_.sequence_starts.push_back(offset(next));
    }

    void end_sequence(std::size_t end) {
        if (header_line_ == 0) return;
        const std::int64_t residues = residues_ - static_cast<std::int64_t>(last_residue_ == '*');
        if (residues == 0) throw FastaFormatError("the sequence '" + id_ + "' has no residues", header_line_);
        index_.sequence_ends.push_back(offset(end));
        index_.residue_counts.push_back(residues);
    }

    /// Returns the offset in the whole text of a place in `text_`.
    [[nodiscard]] std::int64_t offset(std::size_t place) const { return base_ + static_cast<std::int64_t>(place); }

    std::span<const std::uint8_t> text_;  ///< the lines that are being read
    std::int64_t base_ = 0;               ///< offset of `text_` in the whole text
    FastaIndex index_;
    std::string id_;                ///< identifier of the current sequence, shortened to what messages need
    std::int64_t line_ = 0;         ///< number of the current line
    std::int64_t header_line_ = 0;  ///< line of the current sequence's header; 0 before the first
    std::int64_t residues_ = 0;     ///< residues of the current sequence, including a final '*'
    std::uint8_t last_residue_ = 0;
};

FastaIndexer::FastaIndexer() : parser_(std::make_unique<Parser>()) {}

FastaIndexer::~FastaIndexer() = default;

void FastaIndexer::feed(std::span<const std::uint8_t> piece) {
    if (!rest_.empty()) {
        const auto line_end = std::ranges::find(piece, '\n');
        const bool ends = line_end != piece.end();
        const auto size = static_cast<std::size_t>(line_end - piece.begin()) + static_cast<std::size_t>(ends);
        rest_.insert(rest_.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(size));
        if (rest_.size() > max_line) {
            throw FastaFormatError("a line of more than " + std::to_string(max_line >> 20U) + " MiB",
                                   parser_->line() + 1);
        }
        if (!ends) return;
        parser_->read_lines(rest_);
        rest_.clear();
        piece = piece.subspan(size);
    }
    const auto whole_lines = std::find(piece.rbegin(), piece.rend(), '\n');
    const auto size = static_cast<std::size_t>(piece.rend() - whole_lines);
    parser_->read_lines(piece.first(size));
    rest_.assign(piece.begin() + static_cast<std::ptrdiff_t>(size), piece.end());
}

FastaIndex FastaIndexer::finish() {
    parser_->read_lines(rest_);
    return parser_->finish();
}

FastaIndex index_fasta(std::span<const std::uint8_t> text) {
    FastaIndexer indexer;
    indexer.feed(text);
    return indexer.finish();
}

}  // namespace virnuc
