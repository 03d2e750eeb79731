// SPDX-License-Identifier: MIT
// Forks while other threads hold locks that no thread unlocks in the child.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "capture/background_thread.h"
#include "capture/clock.h"
#include "capture/sampler_tier.h"
#include "capture/timeline.h"
#include "device/nvtx_range.h"
#include "standin.h"

using namespace virnuc;

namespace {

/// Forks repeatedly while a thread runs `busy` in a loop. Returns the number of children in which `work` hung or
/// failed.
template <typename Busy, typename Work>
int count_stuck_children(Busy busy, Work work) {
    std::atomic<bool> done{false};
    std::atomic<bool> begun{false};
    std::thread thread([&] {
        do {
            busy();
            begun = true;
        } while (!done);
    });
    while (!begun) std::this_thread::yield();
    int stuck = 0;
    for (int i = 0; i < 100 && stuck == 0; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(10);
            _exit(work() ? 0 : 1);
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (status != 0) ++stuck;
    }
    done = true;
    thread.join();
    return stuck;
}

}  // namespace

TEST_CASE("a child reads a timeline whose collector was at work") {
    auto& cuda = standin::cuda();
    TimelineOptions options;
    options.stages = options.device_stages = {"forward"};
    options.device = 0;
    options.cuda = &cuda.api;
    options.background = false;
    Timeline timeline(options);
    DeviceTimer& timer = *timeline.recording().timer;
    const CudaError failure("lost", 46, "cuEventQuery");
    const auto collect = [&] { timer.turn_off(failure); };
    CHECK(count_stuck_children(collect, [&] { return timeline.anchors().size() <= 1; }) == 0);
    CHECK(count_stuck_children(collect, [&] { return timeline.device_error().value_or("lost") == "lost"; }) == 0);
    CHECK(timeline.anchors().size() == 1);
    CHECK(timeline.device_error() == "lost");
}

TEST_CASE("a child reads the state of a sampling tier") {
    TierState tier("processes", 1'000'000);
    const auto sample = [&] { tier.set_unsupported("why"); };
    CHECK(count_stuck_children(sample, [&] { return tier.report(3).readings == 3; }) == 0);
    CHECK(tier.report(0).unsupported == "why");
}

TEST_CASE("a child has its own ranges") {
    const auto label = [] { range_label("forward"); };
    CHECK(count_stuck_children(label, [] { return end_range(begin_range(range_label("emit"), 1)); }) == 0);
}

TEST_CASE("a child does not wait for its parent's thread") {
    BackgroundThread thread;
    thread.start([](StopSignal& signal) { signal.wait_until(monotonic_ns() + 3'600'000'000'000); });
    CHECK(count_stuck_children([] {}, [&] { return thread.join_until(monotonic_ns() + 3'600'000'000'000); }) == 0);
    thread.request_stop();
    CHECK(thread.join_until(monotonic_ns() + 60'000'000'000));
}
