// SPDX-License-Identifier: MIT
#include "packing/file_ranges.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <stdexcept>
#include <string>
#include <system_error>

namespace virnuc {

namespace {

/// Unwanted bytes between two ranges that are read along, because another system call would cost more.
constexpr std::int64_t max_gap = 4096;

struct Block {
    std::int64_t start;  ///< offset in the file
    std::int64_t end;
};

void check_ranges(std::span<const std::int64_t> starts, std::span<const std::int64_t> ends) {
    if (starts.size() != ends.size()) {
        throw std::invalid_argument("starts and ends differ in size: " + std::to_string(starts.size()) + " and " +
                                    std::to_string(ends.size()));
    }
    for (std::size_t i = 0; i < starts.size(); ++i) {
        if (starts[i] < 0 || ends[i] < starts[i]) {
            throw std::invalid_argument("range " + std::to_string(i) + " goes from " + std::to_string(starts[i]) +
                                        " to " + std::to_string(ends[i]));
        }
    }
}

std::vector<std::size_t> ascending_order(std::span<const std::int64_t> starts) {
    std::vector<std::size_t> order(starts.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (!std::ranges::is_sorted(starts)) {
        std::ranges::sort(order, [starts](std::size_t a, std::size_t b) { return starts[a] < starts[b]; });
    }
    return order;
}

void read_block(int descriptor, Block block, std::uint8_t* out) {
    while (block.start < block.end) {
        const auto wanted = static_cast<std::size_t>(block.end - block.start);
        const ssize_t count = ::pread(descriptor, out, wanted, block.start);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) throw std::system_error(errno, std::generic_category(), "pread");
        if (count == 0) {
            throw std::out_of_range("the file ends at byte " + std::to_string(block.start) + ", before byte " +
                                    std::to_string(block.end));
        }
        block.start += count;  // Linux reads at most 2 GiB at once
        out += count;
    }
}

}  // namespace

FileRanges read_file_ranges(int descriptor, std::span<const std::int64_t> starts, std::span<const std::int64_t> ends) {
    check_ranges(starts, ends);
    FileRanges found;
    found.starts.resize(starts.size());
    std::vector<Block> blocks;
    for (const std::size_t i : ascending_order(starts)) {
        if (blocks.empty() || starts[i] - blocks.back().end > max_gap) {
            if (!blocks.empty()) found.size += blocks.back().end - blocks.back().start;
            blocks.push_back({starts[i], ends[i]});
        }
        blocks.back().end = std::max(blocks.back().end, ends[i]);
        found.starts[i] = found.size + starts[i] - blocks.back().start;
    }
    if (!blocks.empty()) found.size += blocks.back().end - blocks.back().start;

    found.bytes = std::make_unique_for_overwrite<std::uint8_t[]>(static_cast<std::size_t>(found.size));
    std::uint8_t* out = found.bytes.get();
    for (const Block& block : blocks) {
        read_block(descriptor, block, out);
        out += block.end - block.start;
    }
    return found;
}

}  // namespace virnuc
