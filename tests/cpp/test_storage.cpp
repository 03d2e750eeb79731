// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <thread>

#include "capture/chunked_store.h"
#include "capture/records.h"
#include "device/event_pool.h"
#include "device/spsc_ring.h"
#include "driver/errors.h"

using namespace virnuc;

TEST_CASE("a ring passes every value in order from thread to thread") {
    SpscRing<int> ring(8);
    constexpr int count = 20'000;
    std::thread producer([&ring] {
        for (int i = 0; i < count; ++i) {
            while (!ring.push(i)) std::this_thread::yield();
        }
    });
    int wrong = 0;
    for (int expected = 0; expected < count; ++expected) {
        int value = -1;
        while (!ring.pop(value)) std::this_thread::yield();
        wrong += value == expected ? 0 : 1;
    }
    producer.join();
    CHECK(wrong == 0);
}

TEST_CASE("a ring holds at least its capacity and says when it is full or empty") {
    SpscRing<int> ring(5);
    int value = 0;
    CHECK_FALSE(ring.pop(value));
    for (int i = 0; i < 5; ++i) CHECK(ring.push(i));
    while (ring.push(0)) continue;
    CHECK(ring.pop(value));
    CHECK(ring.push(1));
}

TEST_CASE("records keep their addresses, memory grows by chunks, and spare chunks are used") {
    ChunkedStore<StageRecord> store;
    CHECK(store.bytes() == 0);
    StageRecord& first = store.append({.host_start_ns = 42});
    CHECK(store.bytes() == chunk_bytes);
    store.prepare_spare();
    store.prepare_spare();
    CHECK(store.bytes() == 2 * chunk_bytes);
    CHECK_FALSE(store.needs_spare());
    for (std::size_t i = 1; i <= store.records_per_chunk; ++i) {
        store.append({.host_start_ns = static_cast<std::int64_t>(i)});
    }
    CHECK(store.bytes() == 2 * chunk_bytes);
    CHECK(&first == &store[0]);
    CHECK(store[store.records_per_chunk].host_start_ns == static_cast<std::int64_t>(store.records_per_chunk));
    while (!store.needs_spare()) store.append({});
    store.prepare_spare();
    CHECK_FALSE(store.needs_spare());
}

TEST_CASE("records can be read while others are appended") {
    ChunkedStore<StageRecord> store;
    std::atomic<bool> done{false};
    std::thread writer([&] {
        for (std::int64_t i = 0; i < 50'000; ++i) store.append({.host_start_ns = i});
        done = true;
    });
    int wrong = 0;
    while (!done) {
        store.prepare_spare();
        if (const std::size_t size = store.size(); size > 0) {
            wrong += store[size - 1].host_start_ns == static_cast<std::int64_t>(size) - 1 ? 0 : 1;
        }
    }
    writer.join();
    CHECK(wrong == 0);
    CHECK(store.size() == 50'000);
}

TEST_CASE("a pool hands out each event once until it is released") {
    static int created = 0;
    static int destroyed = 0;
    CudaApi api;
    api.event_create = [](CUevent* event, unsigned) {
        *event = reinterpret_cast<CUevent>(static_cast<std::uintptr_t>(++created));
        return CUDA_SUCCESS;
    };
    api.event_destroy = [](CUevent) { return ++destroyed, CUDA_SUCCESS; };
    EventPool pool(api, 3);
    CUevent first = pool.acquire();
    CHECK(first != nullptr);
    CHECK(pool.acquire() != pool.acquire());
    CHECK(pool.acquire() == nullptr);
    pool.release(first);
    CHECK(pool.acquire() == first);
    pool.destroy();
    CHECK(destroyed == 3);
}

TEST_CASE("a pool that cannot be filled leaks no event") {
    static int alive = 0;
    CudaApi api;
    api.event_create = [](CUevent* event, unsigned) {
        if (alive == 2) return CUDA_ERROR_OUT_OF_MEMORY;
        *event = reinterpret_cast<CUevent>(static_cast<std::uintptr_t>(++alive));
        return CUDA_SUCCESS;
    };
    api.event_destroy = [](CUevent) { return --alive, CUDA_SUCCESS; };
    CHECK_THROWS_AS(EventPool(api, 3), CudaError);
    CHECK(alive == 0);
}
