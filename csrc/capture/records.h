// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <type_traits>

#include "device/not_measured.h"

namespace virnuc {

// Bits of BatchRecord::flags.
inline constexpr std::uint32_t has_packing = 1;
inline constexpr std::uint32_t oversize = 2;
inline constexpr std::uint32_t device_times_dropped = 4;

enum class BatchState : std::uint8_t { open, ended, discarded };

/// The source of a stage's device times.
enum class Timing : std::uint8_t {
    none,
    events,      ///< recorded before and after the stage
    timestamps,  ///< of the global timer, written by the stage's own kernels; see GlobalTimerAxis
};

// The 64-bit columns of a batch, which are exported as they are stored. X(column, initial value)
#define VIRNUC_BATCH_COLUMNS(X)          \
    X(index, 0)                          \
    X(host_start_ns, 0)                  \
    X(host_end_ns, not_measured)         \
    X(sequences, not_measured)           \
    X(tokens, not_measured)              \
    X(min_length, not_measured)          \
    X(max_length, not_measured)          \
    X(sum_squared_lengths, not_measured) \
    X(token_budget, 0) /* 0: none */

/// One batch as it is stored. The marking thread writes it; the collector writes `flags` too.
struct BatchRecord {
#define X(column, initial) std::int64_t column = initial;
    VIRNUC_BATCH_COLUMNS(X)
#undef X
    std::uint32_t flags = 0;
    BatchState state = BatchState::open;  ///< once it is not open, only `flags` changes
};

/// One stage of one batch as it is stored. Device times are on the device clock; the collector writes them, or the
/// thread that reads the timestamps.
struct StageRecord {
    std::int64_t host_start_ns = 0;
    std::int64_t host_end_ns = not_measured;
    std::int64_t device_start_ns = not_measured;
    std::int64_t device_end_ns = not_measured;
    std::uint32_t batch = 0;  ///< row of the batch
    std::int16_t stage = 0;
    Timing timing = Timing::none;
    std::uint8_t follower = 0;  ///< of a timestamped stage: the stage whose start event comes after it
    bool gapless = false;       ///< of a timestamped stage: one launch queued all its kernels
};

static_assert(std::is_trivially_copyable_v<BatchRecord> && std::is_trivially_copyable_v<StageRecord>);

}  // namespace virnuc
