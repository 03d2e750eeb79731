// SPDX-License-Identifier: MIT
#pragma once

#include <nvtx3/nvToolsExt.h>

#include <cstdint>
#include <string>

namespace virnuc {

/// A stage's name and category in the NVTX domain `virnuc_profiler`.
struct RangeLabel {
    nvtxStringHandle_t message = nullptr;
    std::uint32_t category = 0;
};

/// The label of a stage; registered once per process, so that tools see one domain and one category a name.
RangeLabel range_label(const std::string& stage);

class RangeStack;

/// An open range. Ranges of one thread close in order: NVTX knows push and pop only.
struct RangeToken {
    RangeStack* stack = nullptr;  ///< nullptr: no range
    std::uint32_t slot = 0;
    std::uint64_t serial = 0;
};

/// Pushes a range on this thread, its payload the batch index. No range if too many are open (64).
RangeToken begin_range(const RangeLabel& label, std::uint64_t payload) noexcept;

/// Ends a range. It is popped at once if it is the innermost one of its thread, else as soon as it becomes
/// that. On another thread than it began on, its own thread pops it with its next range; returns false then.
bool end_range(const RangeToken& token) noexcept;

}  // namespace virnuc
