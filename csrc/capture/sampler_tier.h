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

/// How a tier of sampling is doing.
struct TierReport {
    std::string name;
    double interval_ms = 0.0;
    std::int64_t readings = 0;
    std::int64_t missed_deadlines = 0;
    std::int64_t errors = 0;
    bool stalled = false;
    std::string unsupported;             ///< why it takes no readings; empty if it does
    std::optional<std::int64_t> cpu_ns;  ///< CPU time of its thread
};

/// What all tiers count, apart from their readings. Any thread may ask.
class TierState {
  public:
    TierState(std::string name, std::int64_t interval) : interval_ns(interval), name_(std::move(name)) {}

    const std::int64_t interval_ns;  ///< 0: turned off

    void missed(std::int64_t deadlines) noexcept { missed_.fetch_add(deadlines, std::memory_order_relaxed); }
    void failed() noexcept { errors_.fetch_add(1, std::memory_order_relaxed); }
    /// Empty: it is supported after all.
    void not_supported(std::string reason);
    /// 0: no query is running.
    void query_started(std::int64_t at_ns) noexcept { query_since_ns_.store(at_ns, std::memory_order_relaxed); }
    /// Its thread was left inside a query: what that still brings is dropped.
    void leave_behind() noexcept { left_behind_.store(true); }
    [[nodiscard]] bool left_behind() const noexcept { return left_behind_.load(); }
    [[nodiscard]] TierReport report(std::int64_t readings) const;

  private:
    std::string name_;
    std::atomic<std::int64_t> missed_{0};
    std::atomic<std::int64_t> errors_{0};
    std::atomic<std::int64_t> query_since_ns_{0};
    std::atomic<bool> left_behind_{false};
    OwnerProcess owner_;
    mutable std::mutex mutex_;
    std::string unsupported_;
};

/// One tier: its readings and how it is doing. Shared by its thread and the readers.
template <typename Reading>
struct SamplerTier {
    TierState state;
    ChunkedStore<Reading> readings;

    /// `phase_ns`: by how much the deadlines after the first reading are shifted against those of other tiers.
    SamplerTier(std::string name, std::int64_t interval_ns, std::int64_t phase_ns = 0)
        : state(std::move(name), interval_ns), phase_ns_(phase_ns) {}

    /// Samples at absolute deadlines until told to stop: deadlines that a slow query overran are counted, not
    /// made up for. `query(reading)` fills a reading and returns a QueryState.
    template <typename Query>
    void run(StopSignal& signal, bool once_more_at_the_end, Query query) {
        try {
            sample(signal, once_more_at_the_end, query);
        } catch (const std::exception& error) {  // no memory, or more readings than a run may have
            state.failed();
            state.not_supported(error.what());
        }
    }

  private:
    std::int64_t phase_ns_;

    template <typename Query>
    void sample(StopSignal& signal, bool once_more_at_the_end, Query& query) {
        std::int64_t deadline_ns = monotonic_ns() + phase_ns_;
        for (;;) {
            if (!take(query)) return;
            const std::int64_t late_ns = monotonic_ns() - (deadline_ns + state.interval_ns);
            const std::int64_t overrun = late_ns < 0 ? 0 : late_ns / state.interval_ns + 1;
            state.missed(overrun);
            deadline_ns += (1 + overrun) * state.interval_ns;
            if (!signal.wait_until(deadline_ns)) continue;
            if (once_more_at_the_end && !state.left_behind()) take(query);
            return;
        }
    }

    /// False: this tier has ended.
    template <typename Query>
    bool take(Query& query) {
        Reading reading{};
        state.query_started(monotonic_ns());
        const QueryState outcome = query(reading);
        state.query_started(0);
        if (state.left_behind()) return false;
        if (outcome == QueryState::unsupported) {
            state.not_supported("NVML does not offer it on this device, or not to this user");
            return false;
        }
        if (outcome == QueryState::failed || outcome == QueryState::partly) state.failed();
        if (outcome == QueryState::measured || outcome == QueryState::partly) readings.append(reading);
        return true;
    }
};

}  // namespace virnuc
