// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "capture/recording.h"

namespace virnuc {

/// What is added to kernels' stamps so that they lie on the axis of the events; nothing if no batch tells.
///
/// Both come from one clock of the device, so the offset is one number. The event of the stage that follows comes
/// after the stamped kernels have ended: in no batch before, and in the quickest one right after. So the least
/// difference is taken, and stamped stages lie late by what that event takes (some 2 µs on an H200), all alike.
///
/// `ended` tells of each batch whether it has ended: the others may still be written to.
std::optional<std::int64_t> stamp_offset(const Recording& recording, const std::vector<std::uint8_t>& ended);

}  // namespace virnuc
