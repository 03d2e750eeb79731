// SPDX-License-Identifier: MIT
#include "capture/global_timer_axis.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <iterator>

namespace virnuc {

namespace {

constexpr std::int64_t window_ns = 10'000'000'000;

std::int64_t load(std::int64_t& field) {
    return std::atomic_ref(field).load(std::memory_order_relaxed);
}

}  // namespace

GlobalTimerAxis::GlobalTimerAxis(const Recording& recording, const std::vector<std::uint8_t>& ended) {
    std::vector<StageRecord*> timestamped(ended.size(), nullptr);  // per batch, until its follower is found
    const std::size_t count = recording.stage_records.size();
    for (std::size_t i = 0; i < count; ++i) {
        StageRecord& stage = recording.stage_records[i];
        if (stage.batch >= ended.size() || ended[stage.batch] == 0) continue;
        StageRecord*& before = timestamped[stage.batch];
        if (stage.timing == Timing::timestamps) before = &stage;
        if (stage.timing != Timing::events || before == nullptr || before->follower != stage.stage) continue;
        const std::int64_t timer_ns = load(before->device_end_ns);
        const std::int64_t event_ns = load(stage.device_start_ns);
        before = nullptr;
        if (timer_ns == not_measured || event_ns == not_measured) continue;
        const auto [entry, is_new] = offsets_.try_emplace(timer_ns / window_ns, event_ns - timer_ns);
        if (!is_new) entry->second = std::min(entry->second, event_ns - timer_ns);
    }
}

std::optional<std::int64_t> GlobalTimerAxis::to_event_time(std::int64_t timer_ns) const {
    if (offsets_.empty()) return std::nullopt;
    const std::int64_t window = timer_ns / window_ns;
    auto nearest = offsets_.lower_bound(window);
    if (nearest == offsets_.end() ||
        (nearest != offsets_.begin() && window - std::prev(nearest)->first < nearest->first - window)) {
        --nearest;
    }
    return timer_ns + nearest->second;
}

}  // namespace virnuc
