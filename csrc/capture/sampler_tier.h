// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "capture/background_thread.h"
#include "capture/chunked_store.h"
#include "capture/clock.h"
#include "device/gpu_meter.h"
#include "driver/fork_guard.h"

namespace virnuc {

/// The state of a sampling tier.
struct TierReport {
    std::string name;
    double interval_ms = 0.0;
    std::int64_t readings = 0;
    std::int64_t missed_deadlines = 0;
    std::int64_t errors = 0;
    bool stalled = false;
    std::string unsupported;             ///< why the tier takes no readings; empty if it takes some
    std::optional<std::int64_t> cpu_ns;  ///< CPU time of the tier's thread
};

/// The counters that all tiers have, apart from their readings. Any thread may read them.
class TierState {
  public:
    TierState(std::string name, std::int64_t interval) : interval_ns(interval), name_(std::move(name)) {}

    const std::int64_t interval_ns;  ///< 0: turned off

    void count_missed(std::int64_t deadlines) noexcept { missed_.fetch_add(deadlines, std::memory_order_relaxed); }
    void count_error() noexcept { errors_.fetch_add(1, std::memory_order_relaxed); }
    /// Sets the reason why the tier takes no readings. An empty reason withdraws it.
    void set_unsupported(std::string reason);
    /// Sets the time at which the running query started; 0: no query is running.
    void query_started(std::int64_t at_ns) noexcept { query_since_ns_.store(at_ns, std::memory_order_relaxed); }
    /// Marks that the tier's thread was abandoned inside a query, whose result will be dropped.
    void abandon() noexcept { abandoned_.store(true); }
    [[nodiscard]] bool abandoned() const noexcept { return abandoned_.load(); }
    [[nodiscard]] TierReport report(std::int64_t readings) const;

  private:
    std::string name_;
    std::atomic<std::int64_t> missed_{0};
    std::atomic<std::int64_t> errors_{0};
    std::atomic<std::int64_t> query_since_ns_{0};
    std::atomic<bool> abandoned_{false};
    OwnerProcess owner_;
    mutable std::mutex mutex_;
    std::string unsupported_;
};

/// One tier: its readings and its state. The tier's thread and the readers share it.
template <typename Reading>
struct SamplerTier {
    TierState state;
    ChunkedStore<Reading> readings;

    /// `phase_ns` shifts the deadlines after the first reading against those of other tiers.
    SamplerTier(std::string name, std::int64_t interval_ns, std::int64_t phase_ns = 0)
        : state(std::move(name), interval_ns), phase_ns_(phase_ns) {}

    /// Samples at absolute deadlines until told to stop. Deadlines that a slow query overran are counted and skipped.
    ///
    /// `query(reading)` fills a reading and returns a QueryState.
    template <typename Query>
    void run(StopSignal& signal, bool final_reading, Query query) {
        try {
            sample(signal, final_reading, query);
        } catch (const std::exception& error) {  // out of memory, or too many readings for one run
            state.count_error();
            state.set_unsupported(error.what());
        }
    }

  private:
    std::int64_t phase_ns_;

    template <typename Query>
    void sample(StopSignal& signal, bool final_reading, Query& query) {
        std::int64_t deadline_ns = monotonic_ns() + phase_ns_;
        for (;;) {
            if (!read_once(query)) return;
            const std::int64_t late_ns = monotonic_ns() - (deadline_ns + state.interval_ns);
            const std::int64_t overrun = late_ns < 0 ? 0 : late_ns / state.interval_ns + 1;
            state.count_missed(overrun);
            deadline_ns += (1 + overrun) * state.interval_ns;
            if (!signal.wait_until(deadline_ns)) continue;
            if (final_reading && !state.abandoned()) read_once(query);
            return;
        }
    }

    /// Takes one reading. Returns false if the tier has ended.
    template <typename Query>
    bool read_once(Query& query) {
        Reading reading{};
        state.query_started(monotonic_ns());
        const QueryState outcome = query(reading);
        state.query_started(0);
        if (state.abandoned()) return false;
        if (outcome == QueryState::unsupported) {
            state.set_unsupported("NVML does not support this query on this device, or not for this user");
            return false;
        }
        if (outcome == QueryState::failed || outcome == QueryState::partial) state.count_error();
        if (outcome == QueryState::measured || outcome == QueryState::partial) readings.append(reading);
        return true;
    }
};

}  // namespace virnuc
