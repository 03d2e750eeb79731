// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace virnuc {

/// Returns the process ids of this process's descendants that a signal or a debugger has stopped, in no order; none
/// where the kernel does not list children.
///
/// DataLoader workers are grandchildren, because a server forks them.
std::vector<std::int64_t> stopped_descendants(const std::string& proc = "/proc");

}  // namespace virnuc
