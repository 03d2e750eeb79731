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

/// Returns the label of a stage. It is registered once per process, so that tools see one category per name.
RangeLabel range_label(const std::string& stage);

class RangeStack;

/// An open range. Ranges of one thread close in order, because NVTX has only push and pop.
struct RangeToken {
    RangeStack* stack = nullptr;  ///< nullptr: no range
    std::uint32_t slot = 0;
    std::uint64_t serial = 0;
};

/// Pushes a range with the batch index as payload on this thread. Returns a token without a range if 64 are open.
RangeToken begin_range(const RangeLabel& label, std::uint64_t payload) noexcept;

/// Ends a range. It is popped at once if it is the innermost one of its thread, and otherwise once it becomes that.
///
/// Returns false on another thread than the one that began the range: that thread pops it with its next range.
bool end_range(const RangeToken& token) noexcept;

}  // namespace virnuc
