// SPDX-License-Identifier: MIT
#include "capture/stamp_offset.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <vector>

namespace virnuc {

std::optional<std::int64_t> stamp_offset(const Recording& recording, const std::vector<std::uint8_t>& ended) {
    std::optional<std::int64_t> least;
    std::vector<std::int64_t> stamped_ends(ended.size(), not_measured);  // no event has followed yet
    const std::size_t count = recording.stage_records.size();
    for (std::size_t i = 0; i < count; ++i) {
        StageRecord& stage = recording.stage_records[i];
        if (stage.batch >= ended.size() || ended[stage.batch] == 0 || stage.timing == Timing::none) continue;
        std::int64_t& stamped_end = stamped_ends[stage.batch];
        if (stage.timing == Timing::stamps) {
            stamped_end = std::atomic_ref(stage.device_end_ns).load(std::memory_order_relaxed);
            continue;
        }
        const std::int64_t event = std::atomic_ref(stage.device_start_ns).load(std::memory_order_relaxed);
        if (stamped_end != not_measured && event != not_measured) {
            const std::int64_t offset = event - stamped_end;
            least = least ? std::min(*least, offset) : offset;
        }
        stamped_end = not_measured;
    }
    return least;
}

}  // namespace virnuc
