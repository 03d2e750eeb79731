// SPDX-License-Identifier: MIT
#include "capture/stamp_axis.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <iterator>

namespace virnuc {

namespace {

constexpr std::int64_t stretch_ns = 10'000'000'000;

std::int64_t time_of(std::int64_t& field) {
    return std::atomic_ref(field).load(std::memory_order_relaxed);
}

}  // namespace

StampAxis::StampAxis(const Recording& recording, const std::vector<std::uint8_t>& ended) {
    std::vector<StageRecord*> stamped(ended.size(), nullptr);  // of each batch, while its follower is still to come
    const std::size_t count = recording.stage_records.size();
    for (std::size_t i = 0; i < count; ++i) {
        StageRecord& stage = recording.stage_records[i];
        if (stage.batch >= ended.size() || ended[stage.batch] == 0) continue;
        StageRecord*& before = stamped[stage.batch];
        if (stage.timing == Timing::stamps) before = &stage;
        if (stage.timing != Timing::events || before == nullptr || before->follower != stage.stage) continue;
        const std::int64_t stamp = time_of(before->device_end_ns);
        const std::int64_t event = time_of(stage.device_start_ns);
        before = nullptr;
        if (stamp == not_measured || event == not_measured) continue;
        const auto [place, is_new] = offsets_.try_emplace(stamp / stretch_ns, event - stamp);
        if (!is_new) place->second = std::min(place->second, event - stamp);
    }
}

std::optional<std::int64_t> StampAxis::to_events(std::int64_t stamp_ns) const {
    if (offsets_.empty()) return std::nullopt;
    const std::int64_t stretch = stamp_ns / stretch_ns;
    auto nearest = offsets_.lower_bound(stretch);
    if (nearest == offsets_.end() ||
        (nearest != offsets_.begin() && stretch - std::prev(nearest)->first < nearest->first - stretch)) {
        --nearest;
    }
    return stamp_ns + nearest->second;
}

}  // namespace virnuc
