// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "capture/recording.h"

namespace virnuc {

/// Aligns the global timer (`%globaltimer`), which kernels read, with the device times of events.
///
/// Both count one clock of the device, so they differ by an offset: the smallest difference between a timestamp and the
/// follower's event, which completes after the timestamped kernels have ended. Timestamped stages therefore all lie
/// late by the time that this event takes (about 2 µs on an H200).
///
/// Event times are sums of float32 differences, which drift from the clock by microseconds within hours. Every window
/// of ten seconds therefore has its own offset; a window without one uses the nearest.
class GlobalTimerAxis {
  public:
    /// `ended` tells which batches have ended. The others may still be written to and are ignored.
    GlobalTimerAxis(const Recording& recording, const std::vector<std::uint8_t>& ended);

    /// Converts a time of the global timer to the time axis of events. None if no batch provides an offset.
    [[nodiscard]] std::optional<std::int64_t> to_event_time(std::int64_t timer_ns) const;

  private:
    std::map<std::int64_t, std::int64_t> offsets_;  ///< by number of the window
};

}  // namespace virnuc
