// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace virnuc {

/// One comparison of the clocks: the device's event fell into a bracket of host times.
struct Anchor {
    std::int64_t host_ns = 0;         ///< middle of the bracket
    std::int64_t device_ns = 0;       ///< on the device's own axis, 0 at the first anchor
    std::int64_t uncertainty_ns = 0;  ///< half the bracket
};

/// Converts device times to the host's axis: linear between neighbouring anchors, beyond them at the rate
/// that the nearest ones show. So no error exceeds that of the anchors beside it, whatever the clocks' drift.
class ClockMap {
  public:
    /// `anchors` by time, at least one. Those that the device answered late (many times the best bracket) are
    /// left out where there are better ones.
    explicit ClockMap(const std::vector<Anchor>& anchors);

    [[nodiscard]] std::int64_t to_host(std::int64_t device_ns) const noexcept;
    /// The largest uncertainty among the anchors in use.
    [[nodiscard]] std::int64_t uncertainty_ns() const noexcept;
    /// The furthest that an anchor lies from the line through its two neighbours: what interpolation would have been
    /// wrong by, had that anchor not been taken. None with fewer than three anchors in use.
    [[nodiscard]] std::optional<std::int64_t> residual_ns() const noexcept;
    /// How much faster the device's clock ran than the host's, parts per million: least squares over all anchors in
    /// use. None if they span too little time to say.
    [[nodiscard]] std::optional<double> drift_ppm() const noexcept;

  private:
    std::vector<Anchor> anchors_;
    double first_rate_ = 1.0;  ///< host ns per device ns before the first anchor
    double last_rate_ = 1.0;   ///< and after the last
};

}  // namespace virnuc
