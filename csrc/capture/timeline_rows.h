// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "capture/timeline.h"

namespace virnuc {

/// A batch as it is exported. `stage_begin` to `stage_end` are its rows among the stages.
struct BatchRow {
#define X(column, initial) std::int64_t column;
    VIRNUC_BATCH_COLUMNS(X)
#undef X
    std::int64_t stage_begin;
    std::int64_t stage_end;
    std::uint32_t flags;
};

/// A stage as it is exported. Device times are on the host clock; either both are measured or neither is.
struct StageRow {
    std::int32_t stage;
    std::int64_t host_start_ns;
    std::int64_t host_end_ns;
    std::int64_t device_start_ns;
    std::int64_t device_end_ns;
    std::int32_t timestamped;  ///< 1 if the stage's own kernels timed it, and one launch queued them all
};

/// Returns the ended batches in the order in which they began. Takes no mutex of the marking threads;
/// O(batches + stages).
std::vector<BatchRow> batch_rows(const Timeline& timeline);

/// Returns the stages of the ended batches, grouped by batch and ordered by start within a batch.
std::vector<StageRow> stage_rows(const Timeline& timeline);

/// How accurately device times are aligned with the host clock; see ClockMap.
struct ClockAlignment {
    std::int64_t uncertainty_ns = 0;
    std::optional<std::int64_t> residual_ns;
    std::optional<double> drift_ppm;
};

/// Returns the alignment, or none before the clocks were synchronized.
std::optional<ClockAlignment> clock_alignment(const Timeline& timeline);

/// Counts the ended batches that lack device times.
std::int64_t count_dropped_batches(const Timeline& timeline);

}  // namespace virnuc
