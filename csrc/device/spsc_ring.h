// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <type_traits>

namespace virnuc {

/// Passes small values from one thread to another without locks or allocation. Several threads may share a side if they
/// take turns under their own lock.
template <typename Value>
class SpscRing {
    static_assert(std::is_trivially_copyable_v<Value>);

  public:
    explicit SpscRing(std::size_t capacity)
        : mask_(std::bit_ceil(capacity) - 1), values_(std::make_unique<Value[]>(mask_ + 1)) {}

    /// Called by the producer. Returns false if the ring is full.
    bool push(const Value& value) noexcept {
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        if (tail - head_.load(std::memory_order_acquire) > mask_) return false;
        values_[tail & mask_] = value;
        tail_.store(tail + 1, std::memory_order_release);
        return true;
    }

    /// Called by the consumer. Returns false if the ring is empty.
    bool pop(Value& value) noexcept {
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (head == tail_.load(std::memory_order_acquire)) return false;
        value = values_[head & mask_];
        head_.store(head + 1, std::memory_order_release);
        return true;
    }

    /// Returns the number of values at some moment during the call. Any thread may call it.
    [[nodiscard]] std::size_t size() const noexcept {
        const std::size_t head = head_.load(std::memory_order_acquire);  // first, because it never passes the tail
        return tail_.load(std::memory_order_acquire) - head;
    }

  private:
    std::size_t mask_;
    std::unique_ptr<Value[]> values_;
    // Each side writes its own cache line.
    alignas(64) std::atomic<std::size_t> head_{0};
    alignas(64) std::atomic<std::size_t> tail_{0};
};

}  // namespace virnuc
