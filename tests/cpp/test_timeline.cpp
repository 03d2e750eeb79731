// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <thread>
#include <vector>

#include "capture/timeline.h"
#include "capture/timeline_rows.h"
#include "device/not_measured.h"
#include "driver/errors.h"
#include "standin.h"

using namespace virnuc;

namespace {

constexpr Stream stream = 0x77;
constexpr std::int64_t second = 1'000'000'000;

TimelineOptions options_of(standin::Cuda& cuda) {
    TimelineOptions options;
    options.stages = {"fetch", "h2d", "forward", "pool"};
    options.device_stages = {"h2d", "forward", "pool"};
    options.device = 0;
    options.stream = stream;
    options.cuda = &cuda.api;
    options.event_pool_size = 256;
    options.collect_interval_ns = 200'000;
    return options;
}

void run_batch(Timeline& timeline, standin::Cuda& cuda, std::int64_t index) {
    const auto batch = timeline.begin_batch(index);
    batch->mark("fetch", {});
    batch->mark("h2d", {});
    batch->mark("forward", {});
    cuda.launch(stream, 50'000);
    batch->mark("pool", {});
    batch->end();
}

std::int64_t count_timed(const Timeline& timeline) {
    std::int64_t timed = 0;
    for (const StageRow& row : stage_rows(timeline)) timed += row.device_end_ns != not_measured ? 1 : 0;
    return timed;
}

}  // namespace

TEST_CASE("device times arrive without polling, and everything is released at the end") {
    auto& cuda = standin::cuda();
    const std::int64_t events = cuda.live_events();
    const std::int64_t contexts = cuda.retained_contexts();
    {
        Timeline timeline(options_of(cuda));
        for (int i = 0; i < 20; ++i) run_batch(timeline, cuda, i);
        timeline.stop(30 * second);
        CHECK(count_dropped_batches(timeline) == 0);
        CHECK(count_timed(timeline) == 60);
        CHECK(timeline.anchors().size() >= 2);
        CHECK(cuda.live_events() == events);
        CHECK(cuda.retained_contexts() == contexts);
    }
    CHECK(cuda.retained_contexts() == contexts);
}

TEST_CASE("two threads mark their own batches while a third reads") {
    auto& cuda = standin::cuda();
    Timeline timeline(options_of(cuda));
    std::atomic<bool> done{false};
    constexpr int batches = 300;
    const auto mark = [&](Stream own_stream) {
        for (int i = 0; i < batches; ++i) {
            const auto batch = timeline.begin_batch(i);
            batch->mark("fetch", {});
            batch->mark("forward", own_stream);
            const auto scope = batch->stage("pool", own_stream);
            scope->enter();
            scope->leave();
            batch->end();
        }
    };
    std::thread first(mark, 0x100);
    std::thread second_thread(mark, 0x200);
    std::thread reader([&] {
        while (!done) {
            CHECK(batch_rows(timeline).size() <= 2 * batches);
            stage_rows(timeline);
            count_dropped_batches(timeline);
        }
    });
    first.join();
    second_thread.join();
    timeline.stop(30 * second);
    done = true;
    reader.join();
    const auto rows = batch_rows(timeline);
    CHECK(rows.size() == 2 * batches);
    const auto stages = stage_rows(timeline);
    CHECK(stages.size() == 3 * rows.size());
    for (const BatchRow& row : rows) {
        REQUIRE(row.stage_end - row.stage_begin == 3);
        if ((row.flags & device_times_dropped) != 0) continue;
        const auto is_timed = [](const StageRow& stage) { return stage.device_end_ns != not_measured; };
        REQUIRE(std::count_if(stages.begin() + row.stage_begin, stages.begin() + row.stage_end, is_timed) == 2);
    }
}

TEST_CASE("batches outlive their timeline") {
    auto& cuda = standin::cuda();
    std::shared_ptr<Batch> batch;
    std::unique_ptr<StageScope> scope;
    {
        Timeline timeline(options_of(cuda));
        batch = timeline.begin_batch(1);
        batch->mark("forward", {});
        scope = batch->stage("pool", {});
        scope->enter();
    }
    const std::int64_t calls = cuda.calls("cuEventRecord");
    batch->mark("pool", {});
    scope->leave();
    batch->end();
    CHECK(cuda.calls("cuEventRecord") == calls);
    CHECK_THROWS_AS(batch->mark("pool", {}), std::invalid_argument);
}

TEST_CASE("a driver call that never returns does not delay stop()") {
    auto& cuda = standin::cuda();
    auto options = options_of(cuda);
    options.clock_sync_interval_ns = 3'600 * second;
    {
        Timeline timeline(options);
        cuda.hang("cuEventQuery", standin::forever);
        run_batch(timeline, cuda, 0);
        timeline.stop(10'000'000);
        CHECK_FALSE(timeline.device_enabled());
        REQUIRE(timeline.device_error());
        CHECK(timeline.device_error()->find("abandoned") != std::string::npos);
        CHECK(count_dropped_batches(timeline) == 1);
        CHECK(batch_rows(timeline).size() == 1);
    }
    cuda.hang("cuEventQuery", 0);
}

TEST_CASE("a device that cannot be opened leaks nothing") {
    auto& cuda = standin::cuda();
    const std::int64_t events = cuda.live_events();
    const std::int64_t contexts = cuda.retained_contexts();
    for (const char* call : {"cuDevicePrimaryCtxRetain", "cuEventCreate", "cuCtxPushCurrent_v2", "cuEventRecord"}) {
        CAPTURE(call);
        cuda.fail(call, 46, 0);
        CHECK_THROWS_AS(Timeline(options_of(cuda)), CudaError);
        cuda.fail(call, 0, 0);
        CHECK(cuda.live_events() == events);
        CHECK(cuda.retained_contexts() == contexts);
    }
}

TEST_CASE("a long queue is searched with few driver calls") {
    auto& cuda = standin::cuda();
    cuda.use_virtual_time(second, 100);
    auto options = options_of(cuda);
    options.background = false;
    options.event_pool_size = 2'000;
    options.clock = []() noexcept { return standin::cuda_host_now(); };
    Timeline timeline(options);
    const CurrentContext current(timeline.recording().timer->context());
    const auto batch = timeline.begin_batch(0);
    for (int i = 0; i < 1'000; ++i) {
        batch->mark("forward", {});
        cuda.launch(stream, 1'000'000);
    }
    batch->end();
    cuda.advance(400'500'000);
    const std::int64_t before = cuda.calls("cuEventQuery");
    timeline.collector()->poll();
    CHECK(cuda.calls("cuEventQuery") - before <= 24);  // 2 log2(1000) and a few more
    CHECK(count_timed(timeline) == 400);
    CHECK_FALSE(timeline.collector()->idle());
    cuda.advance(second);
    timeline.collector()->poll();
    CHECK(timeline.collector()->idle());
    CHECK(count_timed(timeline) == 1'000);
}

TEST_CASE("marks inside a graph capture do not disturb it and have no device times; all others keep theirs") {
    auto& cuda = standin::cuda();
    auto options = options_of(cuda);
    options.background = false;
    Timeline timeline(options);
    const CurrentContext current(timeline.recording().timer->context());
    run_batch(timeline, cuda, 0);
    const auto recorded = cuda.calls("cuEventRecord");
    cuda.capture(stream, 1);
    run_batch(timeline, cuda, 1);
    CHECK(cuda.calls("cuEventRecord") == recorded);
    timeline.collector()->poll();
    cuda.capture(stream, 0);
    run_batch(timeline, cuda, 2);
    do timeline.collector()->poll();
    while (!timeline.collector()->idle());
    CHECK(timeline.device_enabled());
    CHECK(count_dropped_batches(timeline) == 1);
    CHECK(count_timed(timeline) == 6);
    CHECK((batch_rows(timeline)[1].flags & device_times_dropped) != 0);
}

TEST_CASE("a capture that was not noticed costs one batch its device times") {
    auto& cuda = standin::cuda();
    auto options = options_of(cuda);
    options.background = false;
    Timeline timeline(options);
    const CurrentContext current(timeline.recording().timer->context());
    run_batch(timeline, cuda, 0);
    {
        const auto batch = timeline.begin_batch(1);
        batch->mark("h2d", {});
        cuda.capture(stream, 1);
        batch->mark("forward", {});
        batch->end();
    }
    for (const int capturing : {1, 0}) {
        cuda.capture(stream, capturing);
        for (int i = 0; i < 2; ++i) timeline.collector()->poll();
    }
    run_batch(timeline, cuda, 2);
    do timeline.collector()->poll();
    while (!timeline.collector()->idle());
    CHECK(timeline.device_enabled());
    CHECK(count_dropped_batches(timeline) == 1);
    CHECK(count_timed(timeline) == 6);
}

TEST_CASE("a stream is checked for a capture once per batch") {
    auto& cuda = standin::cuda();
    auto options = options_of(cuda);
    options.background = false;
    Timeline timeline(options);
    const auto before = cuda.calls("cuStreamIsCapturing");
    for (int i = 0; i < 3; ++i) run_batch(timeline, cuda, i);
    CHECK(cuda.calls("cuStreamIsCapturing") - before == 3);
    const auto batch = timeline.begin_batch(3);
    batch->mark("h2d", stream + 1);
    batch->mark("forward", stream);
    batch->mark("pool", stream);
    CHECK(cuda.calls("cuStreamIsCapturing") - before == 5);
    cuda.capture(stream + 2, 1);
    for (int i = 0; i < 2; ++i) batch->mark("forward", stream + 2);
    CHECK(cuda.calls("cuStreamIsCapturing") - before == 7);
    cuda.capture(stream + 2, 0);
    batch->end();
    CHECK(count_dropped_batches(timeline) == 1);
}

TEST_CASE("a pool that runs low is collected early") {
    auto& cuda = standin::cuda();
    auto options = options_of(cuda);
    options.event_pool_size = 16;
    options.collect_interval_ns = 3'600 * second;
    Timeline timeline(options);
    for (int i = 0; i < 50; ++i) {
        run_batch(timeline, cuda, i);
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    timeline.stop(30 * second);
    CHECK(count_dropped_batches(timeline) < 25);
}

TEST_CASE("calls are counted, and about one in 31 is timed") {
    auto& cuda = standin::cuda();
    Timeline timeline(options_of(cuda));
    for (int i = 0; i < 50; ++i) run_batch(timeline, cuda, i);
    timeline.stop(30 * second);
    const MarkCost& cost = timeline.recording().cost;
    CHECK(cost.calls() == 50 * 6);
    CHECK(cost.timed_calls() >= 50 * 6 / 47);
    CHECK(cost.timed_calls() <= 50 * 6 / 16);
    CHECK(cost.timed_ns() > 0);
    CHECK(timeline.collector_cpu_ns() > 0);
}

TEST_CASE("the calls of a regular loop are timed equally often, whatever its length") {
    constexpr std::int64_t calls_in_loop = 31;
    constexpr int loops = 31'000;
    MarkCost cost;
    std::vector<int> timed(calls_in_loop);
    for (int i = 0; i < loops * calls_in_loop; ++i) {
        if (cost.next_is_timed()) {
            ++timed[static_cast<std::size_t>(i % calls_in_loop)];
            cost.count_timed(1);
        } else {
            cost.count();
        }
    }
    const auto [min, max] = std::minmax_element(timed.begin(), timed.end());
    const std::int64_t even = cost.timed_calls() / calls_in_loop;
    CHECK(10 * *min > 8 * even);
    CHECK(10 * *max < 12 * even);
}

TEST_CASE("with 50 ppm between the clocks, no time is off by more than 5 µs in ten hours") {
    auto& cuda = standin::cuda();
    constexpr std::int64_t offset = -77 * second;
    constexpr double drift = 50e-6;
    cuda.set_clock(offset, drift * 1e6);
    cuda.use_virtual_time(1'000 * second, 1'000);
    auto options = options_of(cuda);
    options.background = false;
    options.clock = []() noexcept { return standin::cuda_host_now(); };
    Timeline timeline(options);
    const CurrentContext current(timeline.recording().timer->context());
    EventCollector& collector = *timeline.collector();
    std::vector<std::int64_t> truth;
    const auto to_host = [](std::int64_t device_ns) {
        return static_cast<long double>(device_ns - offset) / (1.0L + static_cast<long double>(drift));
    };
    constexpr std::int64_t timer_offset = 123'456 * second;  // of the global timer from event times
    constexpr int seconds = 36'000;
    for (int i = 0; i < seconds; ++i) {
        const auto batch = timeline.begin_batch(i);
        REQUIRE(batch->mark_device_timestamped("forward", {}, "pool", true));
        cuda.launch(stream, 200'000'000);
        const std::int64_t ended = cuda.busy_until(stream);
        const std::int64_t begun = ended - 200'000'000;
        batch->mark("pool", {});
        cuda.launch(stream, 100'000'000);
        batch->set_device_timestamps(begun + timer_offset, ended + timer_offset);
        batch->end();
        for (const std::int64_t device_ns : {begun, ended, ended, cuda.busy_until(stream)}) {
            truth.push_back(std::llround(to_host(device_ns)));
        }
        cuda.advance(500'000'000);
        collector.poll();
        if (i % 2 == 0) collector.sync_clocks();
        cuda.advance(500'000'000);
    }
    collector.sync_clocks();
    const auto stages = stage_rows(timeline);
    REQUIRE(stages.size() == 2 * seconds);
    std::int64_t worst = 0;
    for (std::size_t i = 0; i < stages.size(); ++i) {
        worst = std::max(worst, std::abs(stages[i].device_start_ns - truth[2 * i]));
        worst = std::max(worst, std::abs(stages[i].device_end_ns - truth[2 * i + 1]));
    }
    MESSAGE("worst error: " << worst << " ns");
    CHECK(worst <= 5'000);
    const auto alignment = clock_alignment(timeline);
    REQUIRE(alignment);
    CHECK(*alignment->drift_ppm == doctest::Approx(50.0).epsilon(1e-3));
    CHECK(*alignment->residual_ns <= 2 * alignment->uncertainty_ns);
    CHECK(count_dropped_batches(timeline) == 0);
    CHECK(timeline.memory_bytes() <= seconds * (sizeof(BatchRecord) + 2 * sizeof(StageRecord)) + 4 * chunk_bytes);
}

TEST_CASE("one thread sets timestamps while another reads") {
    auto& cuda = standin::cuda();
    auto options = options_of(cuda);
    options.event_pool_size = 4'096;
    Timeline timeline(options);
    constexpr std::int64_t batches = 300;
    std::atomic<bool> done{false};
    std::thread reader([&] {
        while (!done) {
            stage_rows(timeline);
            count_dropped_batches(timeline);
        }
    });
    for (std::int64_t i = 0; i < batches; ++i) {
        const auto batch = timeline.begin_batch(i);
        batch->mark("h2d", {});
        CHECK(batch->mark_device_timestamped("forward", {}, "pool", true));
        batch->mark("pool", {});
        batch->set_device_timestamps(1'000 + 100 * i, 1'050 + 100 * i);
        batch->end();
    }
    timeline.stop(30 * second);
    done = true;
    reader.join();
    CHECK(count_dropped_batches(timeline) == 0);
    const auto rows = stage_rows(timeline);
    REQUIRE(rows.size() == 3 * batches);
    CHECK(std::count_if(rows.begin(), rows.end(), [](const StageRow& row) {
              return row.stage == 2 && std::abs(row.device_end_ns - row.device_start_ns - 50) <= 1;  // rounded twice
          }) == batches);
}
