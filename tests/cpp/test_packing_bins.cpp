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

TEST_CASE("each sequence goes into the fullest pack that can hold it, and ties go to the earlier sequence") {
    // 6 and 5 open a pack each. The other 5 fits only the second pack, and then 4 fills the first.
    const Numbers lengths{4, 6, 5, 5};
    const Packing packing = pack_sequences(lengths, 10);
    CHECK(packing.order == Numbers{1, 0, 2, 3});
    CHECK(packing.pack_offsets == Numbers{0, 2, 4});
}

TEST_CASE("a sequence as long as the budget fills a pack, and a longer one gets its own pack") {
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

TEST_CASE("every sequence is in exactly one pack, and few packs are needed") {
    std::mt19937_64 random(7);
    for (int round = 0; round < 50; ++round) {
        const std::int64_t budget = std::uniform_int_distribution<std::int64_t>(1, 5000)(random);
        Numbers lengths(std::uniform_int_distribution<std::size_t>(1, 400)(random));
        std::uniform_int_distribution<std::int64_t> length(1, budget);
        std::int64_t sum = 0;
        for (auto& one : lengths) sum += one = length(random);

        const Packing packing = pack_sequences(lengths, budget);
        Numbers sorted = packing.order;
        std::ranges::sort(sorted);
        for (std::size_t i = 0; i < sorted.size(); ++i) CHECK(sorted[i] == static_cast<std::int64_t>(i));
        REQUIRE(sorted.size() == lengths.size());

        const Numbers totals = pack_totals(lengths, packing);
        CHECK(*std::ranges::max_element(totals) <= budget);
        // In a best-fit packing, at most one pack is not more than half full.
        CHECK(std::ranges::count_if(totals, [&](std::int64_t total) { return 2 * total <= budget; }) <= 1);
        CHECK(static_cast<std::int64_t>(totals.size()) <= 2 * ((sum + budget - 1) / budget));
    }
}

TEST_CASE("invalid arguments are rejected") {
    CHECK_THROWS_AS(pack_sequences(Numbers{1}, 0), std::invalid_argument);
    CHECK_THROWS_WITH_AS(pack_sequences(Numbers{1, 0}, 5), "lengths[1] is 0, must be at least 1",
                         std::invalid_argument);
}
