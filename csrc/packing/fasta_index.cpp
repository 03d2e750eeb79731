// SPDX-License-Identifier: MIT
#include "packing/fasta_index.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "packing/residue_bytes.h"

namespace virnuc {

namespace {

using Line = std::span<const std::uint8_t>;

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

class Indexer {
  public:
    explicit Indexer(std::span<const std::uint8_t> text) : text_(text) {}

    FastaIndex run() {
        constexpr std::array<std::uint8_t, 3> byte_order_mark{0xEF, 0xBB, 0xBF};
        const bool has_byte_order_mark =
            text_.size() >= 3 && std::equal(byte_order_mark.begin(), byte_order_mark.end(), text_.begin());
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
        end_sequence(text_.size());
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
        index_.header_starts.push_back(static_cast<std::int64_t>(header_start));
        index_.id_ends.push_back(static_cast<std::int64_t>(header_start) + id_length);
        index_.sequence_starts.push_back(static_cast<std::int64_t>(next));
    }

    void end_sequence(std::size_t end) {
        if (header_line_ == 0) return;
        const std::int64_t residues = residues_ - static_cast<std::int64_t>(last_residue_ == '*');
        if (residues == 0) throw FastaFormatError("the sequence '" + current_id() + "' has no residues", header_line_);
        index_.sequence_ends.push_back(static_cast<std::int64_t>(end));
        index_.residue_counts.push_back(residues);
    }

    /// Returns the identifier for messages, shortened to what a reader needs.
    [[nodiscard]] std::string current_id() const {
        constexpr std::size_t max_length = 60;
        const auto start = static_cast<std::size_t>(index_.header_starts.back());
        const std::size_t length = static_cast<std::size_t>(index_.id_ends.back()) - start;
        const Line id = text_.subspan(start, std::min(length, max_length));
        return std::string(id.begin(), id.end()) + (length > max_length ? "..." : "");
    }

    std::span<const std::uint8_t> text_;
    FastaIndex index_;
    std::int64_t line_ = 0;         ///< number of the current line
    std::int64_t header_line_ = 0;  ///< line of the current sequence's header; 0 before the first
    std::int64_t residues_ = 0;     ///< residues of the current sequence, including a final '*'
    std::uint8_t last_residue_ = 0;
};

}  // namespace

FastaIndex index_fasta(std::span<const std::uint8_t> text) {
    return Indexer(text).run();
}

}  // namespace virnuc
