// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace virnuc {

struct FileRanges {
    std::unique_ptr<std::uint8_t[]> bytes;
    std::int64_t size = 0;             ///< number of bytes
    std::vector<std::int64_t> starts;  ///< start of each range in `bytes`
};

/// Reads ranges of an open file, neighboring ones with one system call. They may be in any order; two ranges must be
/// the same or not overlap.
///
/// Reading costs about as much as touching mapped pages, and a file that was truncated is an error instead of a signal.
///
/// Throws std::invalid_argument; std::system_error if the file cannot be read; std::out_of_range if it ends before a
/// range does.
FileRanges read_file_ranges(int descriptor, std::span<const std::int64_t> starts, std::span<const std::int64_t> ends);

}  // namespace virnuc
