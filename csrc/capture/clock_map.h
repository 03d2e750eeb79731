// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace virnuc {

/// One clock synchronization: the device completed an event within a bracket of host times.
struct Anchor {
    std::int64_t host_ns = 0;         ///< midpoint of the bracket
    std::int64_t device_ns = 0;       ///< on the device clock, 0 at the first anchor
    std::int64_t uncertainty_ns = 0;  ///< half the width of the bracket
};

/// Converts device times to host times: linearly between neighboring anchors, and beyond them at the rate of the
/// nearest ones. Between anchors, no error exceeds that of the two neighbors, whatever the drift of the clocks.
class ClockMap {
  public:
    /// `anchors` holds at least one anchor, in order of time. Anchors much wider than the narrowest (about three times)
    /// are ignored: the device answered them late.
    explicit ClockMap(const std::vector<Anchor>& anchors);

    [[nodiscard]] std::int64_t to_host(std::int64_t device_ns) const noexcept;
    /// The largest uncertainty of the anchors in use.
    [[nodiscard]] std::int64_t uncertainty_ns() const noexcept;
    /// The largest distance of an anchor from the line through its two neighbors, which would be the interpolation
    /// error without that anchor. None with fewer than three anchors in use.
    [[nodiscard]] std::optional<std::int64_t> residual_ns() const noexcept;
    /// How much faster the device clock ran than the host clock, in parts per million: a least-squares fit over all
    /// anchors in use. None if they span less than a second.
    [[nodiscard]] std::optional<double> drift_ppm() const noexcept;

  private:
    std::vector<Anchor> anchors_;
    double first_rate_ = 1.0;  ///< host ns per device ns before the first anchor
    double last_rate_ = 1.0;   ///< host ns per device ns after the last anchor
};

}  // namespace virnuc
