// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "capture/clock.h"
#include "capture/recording.h"
#include "capture/stamp_axis.h"

using namespace virnuc;

namespace {

constexpr std::int64_t second = 1'000'000'000;

/// A recording whose device times are set by hand: stage 0 is stamped, stage 1 follows.
struct Stamped {
    Recording recording{{"forward", "d2h"}, {"forward", "d2h"}, false, &monotonic_ns};
    std::vector<std::uint8_t> ended;

    void add(std::int64_t stamp_end, std::int64_t event, bool has_ended = true) {
        const auto batch = static_cast<std::uint32_t>(ended.size());
        recording.batches.append({.index = batch});
        recording.stage_records.append({.device_start_ns = stamp_end == not_measured ? not_measured : stamp_end - 1,
                                        .device_end_ns = stamp_end,
                                        .batch = batch,
                                        .stage = 0,
                                        .timing = Timing::stamps,
                                        .follower = 1});
        recording.stage_records.append(
            {.device_start_ns = event, .device_end_ns = event, .batch = batch, .stage = 1, .timing = Timing::events});
        ended.push_back(has_ended ? 1 : 0);
    }
};

}  // namespace

TEST_CASE("of the differences between stamps and events the least is the offset") {
    Stamped stamped;
    CHECK_FALSE(StampAxis(stamped.recording, stamped.ended).to_events(second));
    stamped.add(1 * second, 1 * second - 500);
    stamped.add(2 * second, 2 * second - 700);
    stamped.add(3 * second, 3 * second + 90'000);
    stamped.add(4 * second, 4 * second - 900, false);  // may still be written to
    stamped.add(4 * second, not_measured);
    stamped.add(not_measured, 5 * second);
    CHECK(StampAxis(stamped.recording, stamped.ended).to_events(second) == second - 700);
}

TEST_CASE("the offset follows an axis that walks away") {
    Stamped stamped;
    for (const std::int64_t at : {5, 15, 25, 95}) stamped.add(at * second, at * second + 100 * at);
    const StampAxis axis(stamped.recording, stamped.ended);
    const auto offset_at = [&axis](std::int64_t at) { return *axis.to_events(at * second) - at * second; };
    CHECK(offset_at(1) == 500);
    CHECK(offset_at(19) == 1'500);
    CHECK(offset_at(45) == 2'500);  // no batch in these ten seconds: the nearest that tell
    CHECK(offset_at(75) == 9'500);
    CHECK(offset_at(500) == 9'500);
}
