// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "capture/recording.h"

namespace virnuc {

/// Where the times that kernels write down lie on the axis of the events.
///
/// Both come from one clock of the device, so that only an offset is wanted. The event of the stage that follows comes
/// after the stamped kernels have ended: in no batch before, and in the quickest right after. So the least difference
/// is taken, and stamped stages lie late by what that event takes (some 2 µs on an H200), all alike.
///
/// The axis of the events is put together from float32 differences, and within hours walks away from the clock by
/// microseconds: hence an offset for every ten seconds, which is that of the nearest others where no batch tells.
class StampAxis {
  public:
    /// `ended` tells of each batch whether it has ended: the others may still be written to.
    StampAxis(const Recording& recording, const std::vector<std::uint8_t>& ended);

    /// A stamp's time on the axis of the events; nothing if no batch tells.
    [[nodiscard]] std::optional<std::int64_t> to_events(std::int64_t stamp_ns) const;

  private:
    std::map<std::int64_t, std::int64_t> offsets_;  ///< by the number of the ten seconds
};

}  // namespace virnuc
