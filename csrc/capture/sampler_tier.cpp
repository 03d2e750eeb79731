// SPDX-License-Identifier: MIT
#include "capture/sampler_tier.h"

#include <algorithm>

namespace virnuc {

namespace {
/// A query counts as stalled if it takes longer than this and than two intervals.
constexpr std::int64_t min_stall_ns = 1'000'000'000;
}  // namespace

void TierState::set_unsupported(std::string reason) {
    const std::lock_guard lock(mutex_);
    unsupported_ = std::move(reason);
}

TierReport TierState::report(std::int64_t readings) const {
    const std::int64_t since_ns = query_since_ns_.load(std::memory_order_relaxed);
    const std::int64_t limit_ns = std::max(2 * interval_ns, min_stall_ns);
    const bool stalled = abandoned() || (since_ns != 0 && monotonic_ns() - since_ns > limit_ns);
    const auto lock = lock_unless_orphaned(mutex_, owner_);
    return {name_,
            static_cast<double>(interval_ns) / 1e6,
            readings,
            missed_.load(std::memory_order_relaxed),
            errors_.load(std::memory_order_relaxed),
            stalled,
            lock ? unsupported_ : std::string(),
            std::nullopt};
}

}  // namespace virnuc
