// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "capture/background_thread.h"
#include "capture/clock.h"
#include "device/nvtx_range.h"

using namespace virnuc;

namespace {
constexpr std::int64_t second = 1'000'000'000;
}

TEST_CASE("a sleeping thread ends on request, long before its deadline") {
    BackgroundThread thread;
    std::atomic<bool> requested{false};
    thread.start([&requested](StopSignal& signal) { requested = signal.wait_until(monotonic_ns() + 3'600 * second); });
    thread.request_stop();
    CHECK(thread.join_until(monotonic_ns() + 60 * second));
    CHECK(requested);
    CHECK(thread.join_until(0));
}

TEST_CASE("a thread's CPU time is known while it runs and after it has ended") {
    BackgroundThread thread;
    CHECK_FALSE(thread.cpu_ns());
    thread.start([](StopSignal& signal) {
        while (!signal.stopping()) continue;
    });
    while (thread.cpu_ns().value_or(0) < 5'000'000) std::this_thread::yield();
    thread.request_stop();
    REQUIRE(thread.join_until(monotonic_ns() + 10'000'000'000));
    const auto taken = thread.cpu_ns();
    CHECK(taken >= 5'000'000);
    CHECK(thread.cpu_ns() == taken);
}

TEST_CASE("what a thread owns is destroyed before the thread is reported as ended") {
    const auto owned = std::make_shared<int>(1);
    BackgroundThread thread;
    thread.start([owned](StopSignal& signal) { signal.wait_until(monotonic_ns() + 3'600 * second); });
    thread.request_stop();
    CHECK(thread.join_until(monotonic_ns() + 60 * second));
    CHECK(owned.use_count() == 1);
}

TEST_CASE("a thread that does not end is abandoned with what it owns") {
    auto owned = std::make_shared<std::atomic<bool>>(false);
    {
        BackgroundThread thread;
        thread.start([owned](StopSignal&) {
            for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
        });
        CHECK_FALSE(thread.join_until(monotonic_ns() + 1'000'000));
        CHECK_FALSE(thread.running());
    }
    CHECK(owned.use_count() == 2);
}

TEST_CASE("ranges may end out of order and on other threads") {
    const RangeLabel label = range_label("forward");
    CHECK(range_label("forward").category == label.category);
    CHECK(range_label("pool").category != label.category);
    const RangeToken outer = begin_range(label, 1);
    const RangeToken inner = begin_range(label, 2);
    CHECK(end_range(outer));
    CHECK(end_range(inner));
    CHECK(end_range(inner));  // a stale token changes nothing
    const RangeToken again = begin_range(label, 3);
    CHECK(again.slot == outer.slot);
    CHECK(end_range(outer));
    CHECK(end_range({}));
    bool same_thread = true;
    std::thread([&] { same_thread = end_range(again); }).join();
    CHECK_FALSE(same_thread);
    const RangeToken next = begin_range(label, 4);  // this thread pops what the other one ended
    CHECK(next.slot == again.slot);
    CHECK(end_range(next));
}

TEST_CASE("at most 64 ranges can be open") {
    const RangeLabel label = range_label("deep");
    std::vector<RangeToken> tokens;
    for (int i = 0; i < 65; ++i) tokens.push_back(begin_range(label, 0));
    CHECK(tokens[63].stack != nullptr);
    CHECK(tokens[64].stack == nullptr);
    for (const RangeToken& token : tokens) CHECK(end_range(token));
    CHECK(begin_range(label, 0).slot == 0);
}
