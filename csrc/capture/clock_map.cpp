// SPDX-License-Identifier: MIT
#include "capture/clock_map.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>

namespace virnuc {

namespace {

/// Shorter spans do not reveal the rate of the clocks: a bracket of 5 µs over 1 s is an error of 5 ppm.
constexpr std::int64_t min_baseline_ns = 1'000'000'000;
/// Number of anchors that a rate spans: enough to average the brackets, few enough to follow the temperature.
constexpr std::size_t baseline_anchors = 8;

double rate_between(const Anchor& from, const Anchor& to) {
    const std::int64_t device_ns = to.device_ns - from.device_ns;
    if (device_ns < min_baseline_ns) return 1.0;
    return static_cast<double>(to.host_ns - from.host_ns) / static_cast<double>(device_ns);
}

}  // namespace

ClockMap::ClockMap(const std::vector<Anchor>& anchors) {
    std::int64_t best = anchors.front().uncertainty_ns;
    for (const Anchor& anchor : anchors) best = std::min(best, anchor.uncertainty_ns);
    const std::int64_t acceptable = 3 * best + 5'000;
    for (const Anchor& anchor : anchors) {
        const bool later = anchors_.empty() || anchor.device_ns > anchors_.back().device_ns;
        if (later && anchor.uncertainty_ns <= acceptable) anchors_.push_back(anchor);
    }
    const std::size_t span = std::min(baseline_anchors, anchors_.size()) - 1;
    first_rate_ = rate_between(anchors_.front(), anchors_[span]);
    last_rate_ = rate_between(anchors_[anchors_.size() - 1 - span], anchors_.back());
}

std::int64_t ClockMap::uncertainty_ns() const noexcept {
    std::int64_t largest = 0;
    for (const Anchor& anchor : anchors_) largest = std::max(largest, anchor.uncertainty_ns);
    return largest;
}

std::optional<std::int64_t> ClockMap::residual_ns() const noexcept {
    if (anchors_.size() < 3) return std::nullopt;
    std::int64_t largest = 0;
    for (std::size_t i = 1; i + 1 < anchors_.size(); ++i) {
        const Anchor& before = anchors_[i - 1];
        const Anchor& after = anchors_[i + 1];
        const double share = static_cast<double>(anchors_[i].device_ns - before.device_ns) /
                             static_cast<double>(after.device_ns - before.device_ns);
        const std::int64_t predicted =
            before.host_ns + std::llround(share * static_cast<double>(after.host_ns - before.host_ns));
        largest = std::max(largest, std::abs(anchors_[i].host_ns - predicted));
    }
    return largest;
}

std::optional<double> ClockMap::drift_ppm() const noexcept {
    const Anchor& first = anchors_.front();
    if (anchors_.back().device_ns - first.device_ns < min_baseline_ns) return std::nullopt;
    // Fit the small difference between the clocks instead of the times, which are too large to keep all digits.
    const auto count = static_cast<double>(anchors_.size());
    double mean_host = 0.0;
    double mean_lead = 0.0;
    const auto host = [&first](const Anchor& anchor) { return static_cast<double>(anchor.host_ns - first.host_ns); };
    const auto lead = [&first](const Anchor& anchor) {
        return static_cast<double>((anchor.device_ns - first.device_ns) - (anchor.host_ns - first.host_ns));
    };
    for (const Anchor& anchor : anchors_) {
        mean_host += host(anchor) / count;
        mean_lead += lead(anchor) / count;
    }
    double covariance = 0.0;
    double variance = 0.0;
    for (const Anchor& anchor : anchors_) {
        covariance += (host(anchor) - mean_host) * (lead(anchor) - mean_lead);
        variance += (host(anchor) - mean_host) * (host(anchor) - mean_host);
    }
    return 1e6 * covariance / variance;
}

std::int64_t ClockMap::to_host(std::int64_t device_ns) const noexcept {
    const auto after =
        std::upper_bound(anchors_.begin(), anchors_.end(), device_ns,
                         [](std::int64_t time, const Anchor& anchor) { return time < anchor.device_ns; });
    const auto along = [device_ns](const Anchor& from, double rate) {
        return from.host_ns + std::llround(static_cast<double>(device_ns - from.device_ns) * rate);
    };
    if (after == anchors_.begin()) return along(anchors_.front(), first_rate_);
    const Anchor& from = *(after - 1);
    if (after == anchors_.end()) return along(from, last_rate_);
    return along(from, static_cast<double>(after->host_ns - from.host_ns) /
                           static_cast<double>(after->device_ns - from.device_ns));
}

}  // namespace virnuc
