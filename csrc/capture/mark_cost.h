// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>

namespace virnuc {

/// The cost of marking, measured on about one call in 31. The distances are random, so that every call of a regular
/// loop is measured, whatever the length of the loop.
///
/// A timed call that was held up says nothing about the calls that were not timed, so its time is left out.
///
/// Any thread may read the counters. Threads that count take turns.
class MarkCost {
  public:
    /// A call works for a few µs. One that takes longer than this waited: for a core, or for room in the driver's
    /// queue, where the loop's next launch would have waited in its place.
    static constexpr std::int64_t held_up_ns = 100'000;

    [[nodiscard]] bool next_is_timed() const noexcept { return calls() >= next_timed_.load(std::memory_order_relaxed); }
    void count() noexcept { add(calls_, 1); }
    void count_timed(std::int64_t elapsed_ns) noexcept {
        add(calls_, 1);
        if (elapsed_ns <= held_up_ns) {
            add(timed_calls_, 1);
            add(timed_ns_, elapsed_ns);
        }
        random_ = random_ * 6364136223846793005U + 1442695040888963407U;  // Knuth's generator for MMIX
        next_timed_.store(calls() + 15 + static_cast<std::int64_t>(random_ >> 59U), std::memory_order_relaxed);
    }

    [[nodiscard]] std::int64_t calls() const noexcept { return calls_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::int64_t timed_calls() const noexcept { return timed_calls_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::int64_t timed_ns() const noexcept { return timed_ns_.load(std::memory_order_relaxed); }

  private:
    /// Threads that count take turns, so no locked instruction is needed.
    static void add(std::atomic<std::int64_t>& counter, std::int64_t amount) noexcept {
        counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
    }

    std::atomic<std::int64_t> calls_{0};
    std::atomic<std::int64_t> next_timed_{30};
    std::uint64_t random_ = 1;
    std::atomic<std::int64_t> timed_calls_{0};
    std::atomic<std::int64_t> timed_ns_{0};
};

}  // namespace virnuc
