// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace virnuc {

using Bytes = std::span<const std::uint8_t>;

constexpr bool is_line_end(std::uint8_t byte) {
    return byte == '\n' || byte == '\r';
}

/// A line of a text, as positions in it.
struct TextLine {
    std::size_t start;
    std::size_t end;       ///< position of its LF, CRLF, or CR, or the end of the text
    std::size_t next;      ///< start of the next line
    bool lone_cr = false;  ///< it ends with a CR that no LF follows
};

/// Returns the line that starts at `start`. Lines end with LF, CRLF, or a lone CR.
inline TextLine line_at(Bytes text, std::size_t start) {
    // The window grows, because in a text without LF, a search for LF would read all the text for each line.
    std::size_t from = start;
    for (std::size_t window = 128; from < text.size(); window *= 2) {
        const std::size_t size = std::min(window, text.size() - from);
        const auto* const begin = text.data() + from;
        const auto* const line_feed = static_cast<const std::uint8_t*>(std::memchr(begin, '\n', size));
        const std::size_t before = line_feed ? static_cast<std::size_t>(line_feed - begin) : size;
        if (const void* found = std::memchr(begin, '\r', before)) {
            const auto end = from + static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - begin);
            const bool pair = end + 1 < text.size() && text[end + 1] == '\n';
            return {start, end, end + (pair ? 2 : 1), !pair};
        }
        if (line_feed) return {start, from + before, from + before + 1};
        from += size;
    }
    return {start, text.size(), text.size()};
}

/// Whether a line of a sequence is a comment, or the end mark of another format: neither holds residues.
inline bool is_comment(Bytes line) {
    if (line.empty()) return false;
    return line[0] == ';' || line[0] == '#' || (line.size() > 1 && line[0] == '/' && line[1] == '/');
}

}  // namespace virnuc
