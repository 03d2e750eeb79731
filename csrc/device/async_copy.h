// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

namespace virnuc {

/// A copy between pinned host memory and device memory, or within either.
struct AsyncCopy {
    std::uintptr_t target = 0;  ///< address that is written
    std::uintptr_t source = 0;  ///< address that is read
    std::size_t bytes = 0;

    /// Queues the copy on a stream of the current context, without waiting for the device. Both memories must stay
    /// allocated until the stream has reached the copy.
    ///
    /// Returns false if there is no driver or it refuses. The caller then copies by other means, which report the error
    /// in their own words.
    [[nodiscard]] bool queue(std::uintptr_t stream) const noexcept;
};

}  // namespace virnuc
