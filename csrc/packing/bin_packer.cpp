// SPDX-License-Identifier: MIT
#include "packing/bin_packer.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

namespace virnuc {

namespace {

/// Packs that can still take a sequence, ordered by free space and then by age.
class OpenPacks {
  public:
    explicit OpenPacks(std::int64_t min_length) : min_length_(min_length) {}

    /// Adds a sequence to the fullest pack that can hold it and returns that pack; -1 if there is none.
    std::int64_t place(std::int64_t length) {
        const auto best = by_free_space_.lower_bound({length, 0});
        if (best == by_free_space_.end()) return -1;
        const std::int64_t pack = best->second;
        auto node = by_free_space_.extract(best);  // reused, so that no sequence needs an allocation
        node.value().first -= length;
        if (node.value().first >= min_length_) by_free_space_.insert(std::move(node));
        return pack;
    }

    void open(std::int64_t pack, std::int64_t free_space) {
        if (free_space >= min_length_) by_free_space_.emplace(free_space, pack);
    }

  private:
    std::int64_t min_length_;
    std::set<std::pair<std::int64_t, std::int64_t>> by_free_space_;
};

void check(std::span<const std::int64_t> lengths, std::int64_t token_budget) {
    if (token_budget < 1) {
        throw std::invalid_argument("token_budget is " + std::to_string(token_budget) + ", must be at least 1");
    }
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        if (lengths[i] < 1) {
            throw std::invalid_argument("lengths[" + std::to_string(i) + "] is " + std::to_string(lengths[i]) +
                                        ", must be at least 1");
        }
    }
}

}  // namespace

Packing pack_sequences(std::span<const std::int64_t> lengths, std::int64_t token_budget) {
    check(lengths, token_budget);
    Packing packing;
    packing.pack_offsets.push_back(0);
    if (lengths.empty()) return packing;

    std::vector<std::int64_t> longest_first(lengths.size());
    std::iota(longest_first.begin(), longest_first.end(), std::int64_t{0});
    const auto length_of = [&](std::int64_t sequence) { return lengths[static_cast<std::size_t>(sequence)]; };
    std::ranges::sort(longest_first, [&](std::int64_t a, std::int64_t b) {
        return length_of(a) != length_of(b) ? length_of(a) > length_of(b) : a < b;
    });

    OpenPacks open_packs(length_of(longest_first.back()));
    std::vector<std::int64_t> pack_of(lengths.size());  // in the order of longest_first
    std::vector<std::int64_t> pack_sizes;
    for (std::size_t i = 0; i < longest_first.size(); ++i) {
        const std::int64_t length = length_of(longest_first[i]);
        std::int64_t pack = open_packs.place(length);
        if (pack < 0) {
            pack = static_cast<std::int64_t>(pack_sizes.size());
            pack_sizes.push_back(0);
            open_packs.open(pack, token_budget - length);  // an oversize pack has no free space and never opens
        }
        ++pack_sizes[static_cast<std::size_t>(pack)];
        pack_of[i] = pack;
    }

    packing.pack_offsets.resize(pack_sizes.size() + 1);
    std::partial_sum(pack_sizes.begin(), pack_sizes.end(), packing.pack_offsets.begin() + 1);
    packing.order.resize(lengths.size());
    std::vector<std::int64_t> next(packing.pack_offsets.begin(), packing.pack_offsets.end() - 1);
    for (std::size_t i = 0; i < longest_first.size(); ++i) {
        const auto slot = static_cast<std::size_t>(next[static_cast<std::size_t>(pack_of[i])]++);
        packing.order[slot] = longest_first[i];
    }
    return packing;
}

}  // namespace virnuc
