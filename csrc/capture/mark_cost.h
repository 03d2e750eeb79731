// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>

namespace virnuc {

/// What marking cost, from timing one call in 31: a prime, so that no stage of a regular loop is passed over. Any
/// thread may ask; those that count take turns.
class MarkCost {
  public:
    static constexpr std::int64_t timed_every = 31;

    [[nodiscard]] bool next_is_timed() const noexcept { return calls() % timed_every == timed_every - 1; }
    void count() noexcept { add(calls_, 1); }
    void count_timed(std::int64_t elapsed_ns) noexcept {
        add(calls_, 1);
        add(timed_calls_, 1);
        add(timed_ns_, elapsed_ns);
    }

    [[nodiscard]] std::int64_t calls() const noexcept { return calls_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::int64_t timed_calls() const noexcept { return timed_calls_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::int64_t timed_ns() const noexcept { return timed_ns_.load(std::memory_order_relaxed); }

  private:
    /// Those that count take turns, so no locked instruction is needed.
    static void add(std::atomic<std::int64_t>& counter, std::int64_t amount) noexcept {
        counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
    }

    std::atomic<std::int64_t> calls_{0};
    std::atomic<std::int64_t> timed_calls_{0};
    std::atomic<std::int64_t> timed_ns_{0};
};

}  // namespace virnuc
