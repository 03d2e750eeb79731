// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <stdexcept>

namespace virnuc {

/// Bytes of one chunk in any store: storage grows in steps of this size.
inline constexpr std::size_t chunk_bytes = 262'144;

/// A growing list of records whose addresses never change.
///
/// One thread at a time appends. Meanwhile, any thread may read the rows below size() and prepare the next chunk.
template <typename Record>
class ChunkedStore {
  public:
    static constexpr std::size_t records_per_chunk = chunk_bytes / sizeof(Record);

    ChunkedStore() = default;
    ChunkedStore(const ChunkedStore&) = delete;
    ChunkedStore& operator=(const ChunkedStore&) = delete;
    ~ChunkedStore() {
        delete[] spare_.load(std::memory_order_acquire);
        for (std::size_t i = 0; i < chunks_; ++i) delete[] directory_[i];
    }

    /// Adds a record. Allocates only if no spare chunk is ready.
    Record& append(const Record& record) {
        const std::size_t row = size_.load(std::memory_order_relaxed);
        if (row == chunks_ * records_per_chunk) grow();
        Record& slot = directory_[row / records_per_chunk][row % records_per_chunk];
        slot = record;
        size_.store(row + 1, std::memory_order_release);
        return slot;
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_.load(std::memory_order_acquire); }
    [[nodiscard]] Record& operator[](std::size_t row) const noexcept {
        return directory_[row / records_per_chunk][row % records_per_chunk];
    }

    /// Allocates the next chunk and touches its pages. Call it from a thread that is not time-critical.
    void prepare_spare() {
        if (spare_.load(std::memory_order_relaxed) != nullptr) return;
        auto* chunk = new Record[records_per_chunk]();
        Record* none = nullptr;
        if (spare_.compare_exchange_strong(none, chunk, std::memory_order_acq_rel)) {
            bytes_.fetch_add(chunk_bytes, std::memory_order_relaxed);
        } else {
            delete[] chunk;
        }
    }

    /// Whether append() would have to allocate within the next half chunk.
    [[nodiscard]] bool needs_spare() const noexcept {
        return chunks_ * records_per_chunk - size_.load(std::memory_order_relaxed) < records_per_chunk / 2 &&
               spare_.load(std::memory_order_relaxed) == nullptr;
    }

    /// Bytes of all chunks, the spare one included.
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }

  private:
    static constexpr std::size_t max_chunks = 16'384;  // 53 million batches, 107 million stages

    void grow() {
        if (chunks_ == max_chunks) throw std::length_error("a recording holds too many records; start a new one");
        Record* chunk = spare_.exchange(nullptr, std::memory_order_acq_rel);
        if (chunk == nullptr) {
            chunk = new Record[records_per_chunk]();
            bytes_.fetch_add(chunk_bytes, std::memory_order_relaxed);
        }
        directory_[chunks_++] = chunk;
    }

    std::unique_ptr<Record*[]> directory_ = std::make_unique<Record*[]>(max_chunks);
    std::size_t chunks_ = 0;
    std::atomic<std::size_t> size_{0};
    std::atomic<std::size_t> bytes_{0};
    std::atomic<Record*> spare_{nullptr};
};

}  // namespace virnuc
