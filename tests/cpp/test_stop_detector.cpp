// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "capture/descendants.h"
#include "capture/stop_detector.h"
#include "device/not_measured.h"

using namespace virnuc;

namespace {

constexpr std::int64_t ms = 1'000'000;
constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t interval = 100 * ms;

/// A pulse `at` after the first one, which has all values 0.
Pulse pulse(std::int64_t at, std::int64_t queued, std::int64_t process_cpu) {
    Pulse found;
    found.at_ns = at;
    found.queued_ns = queued;
    found.process_cpu_ns = process_cpu;
    return found;
}

std::int64_t stopped(const Pulse& after, std::int64_t cores = 2) {
    return stopped_between(Pulse{}, after, interval, cores);
}

void write(const std::filesystem::path& path, const std::string& text) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("a late thread that waited for no core was stopped") {
    CHECK(stopped(pulse(interval + 15 * second, 0, 0)) == 15 * second);
    CHECK(stopped(pulse(interval + 15 * second, 3 * second, 0)) == 12 * second);
    CHECK(stopped(pulse(interval + 900 * ms, 0, 0)) == 0);  // too short to tell from a slow disk
}

TEST_CASE("a busy machine is no stop") {
    CHECK(stopped(pulse(interval + 15 * second, 15 * second, 0)) == 0);
    CHECK(stopped(pulse(interval + 15 * second, 15 * second - 10 * ms, 20 * second)) == 0);
}

TEST_CASE("a thread that cannot run while others compute was not stopped") {
    CHECK(stopped(pulse(interval + 15 * second, 0, 15 * second)) == 0);
    CHECK(stopped(pulse(interval + 15 * second, 0, 12 * second), 128) == 15 * second);  // used before the stop
}

TEST_CASE("without the kernel's count, only a very long delay is a stop") {
    Pulse before;
    before.queued_ns = not_measured;
    CHECK(stopped_between(before, pulse(interval + 9 * second, not_measured, 0), interval, 2) == 0);
    CHECK(stopped_between(before, pulse(interval + 15 * second, not_measured, 0), interval, 2) == 15 * second);
}

TEST_CASE("stopped descendants are found at any depth") {
    const auto root = std::filesystem::temp_directory_path() / ("virnuc_proc_" + std::to_string(getpid()));
    write(root / "self/task/1/children", "10 11 ");
    write(root / "self/task/2/children", "");
    write(root / "10/stat", "10 (a) b) (T) T 1 10");
    write(root / "11/stat", "11 (forkserver) S 1 11");
    write(root / "11/task/11/children", "12 13 14 ");
    write(root / "12/stat", "12 (worker) t 11 11");
    write(root / "13/stat", "13 (worker T) R 11 11");
    auto found = stopped_descendants(root.string());  // process 14 has ended
    std::ranges::sort(found);
    CHECK(found == std::vector<std::int64_t>{10, 12});
    std::filesystem::remove_all(root);
    CHECK(stopped_descendants(root.string()).empty());
}

TEST_CASE("a child that is stopped and continues is recorded") {
    StopDetector detector;
    detector.start();
    CHECK_THROWS(detector.start());
    const pid_t child = fork();
    if (child == 0) {
        for (;;) pause();
    }
    kill(child, SIGSTOP);
    while (detector.stopped_ns() < 1'200 * ms) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    kill(child, SIGCONT);
    while (detector.stops().empty()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    detector.stop();
    detector.stop();
    REQUIRE(detector.stops().size() == 1);
    CHECK(detector.stops()[0].pid == child);
    CHECK(detector.stops()[0].what == static_cast<std::int64_t>(Stopped::descendant));
    CHECK(detector.stopped_ns() >= 1'200 * ms);
    CHECK(detector.cpu_ns().value_or(0) > 0);
}
