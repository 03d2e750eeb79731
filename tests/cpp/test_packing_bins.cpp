// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <stdexcept>

#include "packing/bin_packer.h"

namespace {

using virnuc::pack_sequences;
using virnuc::Packing;
using Numbers = std::vector<std::int64_t>;

Numbers pack_totals(const Numbers& lengths, const Packing& packing) {
    Numbers totals;
    for (std::size_t pack = 0; pack + 1 < packing.pack_offsets.size(); ++pack) {
        std::int64_t total = 0;
        for (auto slot = packing.pack_offsets[pack]; slot < packing.pack_offsets[pack + 1]; ++slot) {
            total += lengths[static_cast<std::size_t>(packing.order[static_cast<std::size_t>(slot)])];
        }
        totals.push_back(total);
    }
    return totals;
}

}  // namespace

TEST_CASE("each sequence goes where the least room is left over, ties to the earlier") {
    // 6 and 5 open packs; 4 fits both with room 4 and 5: into the first; then 5 goes into the second.
    const Numbers lengths{4, 6, 5, 5};
    const Packing packing = pack_sequences(lengths, 10);
    CHECK(packing.order == Numbers{1, 0, 2, 3});
    CHECK(packing.pack_offsets == Numbers{0, 2, 4});
}

TEST_CASE("a sequence of just the budget fills a pack, a longer one has a pack of its own") {
    const Numbers lengths{3, 10, 25, 7, 11};
    const Packing packing = pack_sequences(lengths, 10);
    CHECK(packing.order == Numbers{2, 4, 1, 3, 0});
    CHECK(pack_totals(lengths, packing) == Numbers{25, 11, 10, 10});
}

TEST_CASE("no sequences give no packs") {
    const Packing packing = pack_sequences({}, 10);
    CHECK(packing.order.empty());
    CHECK(packing.pack_offsets == Numbers{0});
}

TEST_CASE("every sequence is in one pack, and few packs are needed") {
    std::mt19937_64 random(7);
    for (int round = 0; round < 50; ++round) {
        const std::int64_t budget = std::uniform_int_distribution<std::int64_t>(1, 5000)(random);
        Numbers lengths(std::uniform_int_distribution<std::size_t>(1, 400)(random));
        std::uniform_int_distribution<std::int64_t> length(1, budget);
        std::int64_t sum = 0;
        for (auto& one : lengths) sum += one = length(random);

        const Packing packing = pack_sequences(lengths, budget);
        Numbers seen = packing.order;
        std::ranges::sort(seen);
        for (std::size_t i = 0; i < seen.size(); ++i) CHECK(seen[i] == static_cast<std::int64_t>(i));
        REQUIRE(seen.size() == lengths.size());

        const Numbers totals = pack_totals(lengths, packing);
        CHECK(*std::ranges::max_element(totals) <= budget);
        // At most one pack of a best-fit packing is no more than half full.
        CHECK(std::ranges::count_if(totals, [&](std::int64_t total) { return 2 * total <= budget; }) <= 1);
        CHECK(static_cast<std::int64_t>(totals.size()) <= 2 * ((sum + budget - 1) / budget));
    }
}

TEST_CASE("misuse is refused") {
    CHECK_THROWS_AS(pack_sequences(Numbers{1}, 0), std::invalid_argument);
    CHECK_THROWS_WITH_AS(pack_sequences(Numbers{1, 0}, 5), "lengths[1] is 0, must be at least 1",
                         std::invalid_argument);
}
