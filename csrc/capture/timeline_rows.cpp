// SPDX-License-Identifier: MIT
#include "capture/timeline_rows.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <optional>

#include "capture/global_timer_axis.h"

namespace virnuc {

namespace {

bool has_ended(const Recording& recording, std::size_t row) {
    return std::atomic_ref(recording.batches[row].state).load(std::memory_order_acquire) == BatchState::ended;
}

/// The stages of ended batches, counted and grouped by batch.
struct Grouping {
    std::vector<std::uint8_t> ended;         ///< for each batch record, 1 if the batch has ended
    std::vector<std::int64_t> stage_begins;  ///< first stage row of each batch record, and the total
    std::size_t stage_count = 0;             ///< number of stage records that were read

    // The batches are read first: by then, all stage records of an ended batch exist.
    explicit Grouping(const Recording& recording) {
        ended.resize(recording.batches.size());
        for (std::size_t row = 0; row < ended.size(); ++row) ended[row] = has_ended(recording, row) ? 1 : 0;
        stage_begins.assign(ended.size() + 1, 0);
        stage_count = recording.stage_records.size();
        for (std::size_t i = 0; i < stage_count; ++i) {
            if (const std::size_t row = recording.stage_records[i].batch; includes(row)) ++stage_begins[row + 1];
        }
        for (std::size_t row = 0; row < ended.size(); ++row) stage_begins[row + 1] += stage_begins[row];
    }
    [[nodiscard]] bool includes(std::size_t row) const { return row < ended.size() && ended[row] != 0; }
};

/// Converts the device times of stages to the host clock.
class HostAxis {
  public:
    HostAxis(const Timeline& timeline, const std::vector<std::uint8_t>& ended)
        : global_timer_(timeline.recording(), ended) {
        const std::vector<Anchor> anchors = timeline.anchors();
        if (!anchors.empty()) clock_map_.emplace(anchors);
    }

    [[nodiscard]] StageRow to_row(StageRecord& record) const {
        const std::int64_t start = std::atomic_ref(record.device_start_ns).load(std::memory_order_relaxed);
        const std::int64_t end = std::atomic_ref(record.device_end_ns).load(std::memory_order_relaxed);
        StageRow row{record.stage, record.host_start_ns, record.host_end_ns, not_measured, not_measured, 0};
        if (!clock_map_ || start == not_measured || end == not_measured) return row;
        const std::optional<std::int64_t> end_event =
            record.timing == Timing::timestamps ? global_timer_.to_event_time(end) : end;
        if (!end_event) return row;
        row.device_start_ns = clock_map_->to_host(*end_event - (end - start));
        row.device_end_ns = clock_map_->to_host(*end_event);
        row.timestamped = record.timing == Timing::timestamps && record.gapless ? 1 : 0;
        return row;
    }

  private:
    GlobalTimerAxis global_timer_;
    std::optional<ClockMap> clock_map_;
};

/// Sorts stably, and in linear time if only a few rows are out of order, as where intervals were added.
void sort_by_start(std::vector<StageRow>::iterator begin, std::vector<StageRow>::iterator end) {
    for (auto row = begin; row != end; ++row) {
        const auto position =
            std::upper_bound(begin, row, row->host_start_ns,
                             [](std::int64_t start, const StageRow& other) { return start < other.host_start_ns; });
        std::rotate(position, row, row + 1);
    }
}

}  // namespace

std::vector<BatchRow> batch_rows(const Timeline& timeline) {
    const Recording& recording = timeline.recording();
    const Grouping grouping(recording);
    std::vector<BatchRow> rows;
    for (std::size_t row = 0; row < grouping.ended.size(); ++row) {
        if (!grouping.includes(row)) continue;
        BatchRecord& record = recording.batches[row];
        BatchRow& exported = rows.emplace_back();
#define X(column, initial) exported.column = record.column;
        VIRNUC_BATCH_COLUMNS(X)
#undef X
        exported.stage_begin = grouping.stage_begins[row];
        exported.stage_end = grouping.stage_begins[row + 1];
        exported.flags = std::atomic_ref(record.flags).load(std::memory_order_relaxed);
    }
    return rows;
}

std::vector<StageRow> stage_rows(const Timeline& timeline) {
    const Recording& recording = timeline.recording();
    const Grouping grouping(recording);
    const HostAxis host_axis(timeline, grouping.ended);
    std::vector<StageRow> rows(static_cast<std::size_t>(grouping.stage_begins.back()));
    std::vector<std::int64_t> next(grouping.stage_begins.begin(), grouping.stage_begins.end() - 1);
    for (std::size_t i = 0; i < grouping.stage_count; ++i) {
        StageRecord& record = recording.stage_records[i];
        if (!grouping.includes(record.batch)) continue;
        rows[static_cast<std::size_t>(next[record.batch]++)] = host_axis.to_row(record);
    }
    for (std::size_t row = 0; row + 1 < grouping.stage_begins.size(); ++row) {
        sort_by_start(rows.begin() + grouping.stage_begins[row], rows.begin() + grouping.stage_begins[row + 1]);
    }
    return rows;
}

std::optional<ClockAlignment> clock_alignment(const Timeline& timeline) {
    const std::vector<Anchor> anchors = timeline.anchors();
    if (anchors.empty()) return std::nullopt;
    const ClockMap map(anchors);
    return ClockAlignment{map.uncertainty_ns(), map.residual_ns(), map.drift_ppm()};
}

std::int64_t count_dropped_batches(const Timeline& timeline) {
    const Recording& recording = timeline.recording();
    std::int64_t dropped = 0;
    for (std::size_t row = 0; row < recording.batches.size(); ++row) {
        const std::uint32_t flags = std::atomic_ref(recording.batches[row].flags).load(std::memory_order_relaxed);
        if (has_ended(recording, row) && (flags & device_times_dropped) != 0) ++dropped;
    }
    return dropped;
}

}  // namespace virnuc
