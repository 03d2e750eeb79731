// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "capture/clock.h"
#include "capture/global_timer_axis.h"
#include "capture/recording.h"

using namespace virnuc;

namespace {

constexpr std::int64_t second = 1'000'000'000;

/// A recording with device times set by hand: stage 0 is timestamped, and stage 1 follows it.
struct TimestampedRecording {
    Recording recording{{"forward", "d2h"}, {"forward", "d2h"}, false, &monotonic_ns};
    std::vector<std::uint8_t> ended;

    void add(std::int64_t timer_end, std::int64_t event, bool has_ended = true) {
        const auto batch = static_cast<std::uint32_t>(ended.size());
        recording.batches.append({.index = batch});
        recording.stage_records.append({.device_start_ns = timer_end == not_measured ? not_measured : timer_end - 1,
                                        .device_end_ns = timer_end,
                                        .batch = batch,
                                        .stage = 0,
                                        .timing = Timing::timestamps,
                                        .follower = 1});
        recording.stage_records.append(
            {.device_start_ns = event, .device_end_ns = event, .batch = batch, .stage = 1, .timing = Timing::events});
        ended.push_back(has_ended ? 1 : 0);
    }
};

}  // namespace

TEST_CASE("the smallest difference between timestamps and events is the offset") {
    TimestampedRecording timestamped;
    CHECK_FALSE(GlobalTimerAxis(timestamped.recording, timestamped.ended).to_event_time(second));
    timestamped.add(1 * second, 1 * second - 500);
    timestamped.add(2 * second, 2 * second - 700);
    timestamped.add(3 * second, 3 * second + 90'000);
    timestamped.add(4 * second, 4 * second - 900, false);  // may still be written to
    timestamped.add(4 * second, not_measured);
    timestamped.add(not_measured, 5 * second);
    CHECK(GlobalTimerAxis(timestamped.recording, timestamped.ended).to_event_time(second) == second - 700);
}

TEST_CASE("the offset follows the drift of event times") {
    TimestampedRecording timestamped;
    for (const std::int64_t at : {5, 15, 25, 95}) timestamped.add(at * second, at * second + 100 * at);
    const GlobalTimerAxis axis(timestamped.recording, timestamped.ended);
    const auto offset_at = [&axis](std::int64_t at) { return *axis.to_event_time(at * second) - at * second; };
    CHECK(offset_at(1) == 500);
    CHECK(offset_at(19) == 1'500);
    CHECK(offset_at(45) == 2'500);  // no batch in this window: the nearest window counts
    CHECK(offset_at(75) == 9'500);
    CHECK(offset_at(500) == 9'500);
}
