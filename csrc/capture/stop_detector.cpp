// SPDX-License-Identifier: MIT
#include "capture/stop_detector.h"

#include <fcntl.h>
#include <time.h>  // NOLINT(modernize-deprecated-headers): clock_gettime
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

#include "capture/descendants.h"
#include "device/not_measured.h"
#include "driver/fork_guard.h"

namespace virnuc {

namespace {

constexpr std::int64_t pulse_interval_ns = 100'000'000;
/// Looking for stopped descendants costs a few files for each thread of the process.
constexpr std::int64_t scan_interval_ns = 500'000'000;
/// A shorter sleep of the machine is a rounding error of the clocks.
constexpr std::int64_t min_sleep_ns = 100'000'000;
/// Without the kernel's count of queued time, only a delay of this length cannot be a busy machine.
constexpr std::int64_t min_unexplained_ns = 10'000'000'000;
/// Longest wait of a reader for a thread that is late.
constexpr std::chrono::seconds max_catch_up{1};

std::int64_t read_clock(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// The kernel's scheduling statistics of the thread that opens them: CPU time, queued time, time slices.
class SchedulingStatistics {
  public:
    SchedulingStatistics() : file_(open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC)) {}
    SchedulingStatistics(const SchedulingStatistics&) = delete;
    SchedulingStatistics& operator=(const SchedulingStatistics&) = delete;
    ~SchedulingStatistics() {
        if (file_ >= 0) close(file_);
    }

    [[nodiscard]] std::int64_t queued_ns() const {
        std::array<char, 96> text{};
        if (file_ < 0 || pread(file_, text.data(), text.size() - 1, 0) <= 0) return not_measured;
        char* rest = nullptr;
        if (std::strtoll(text.data(), &rest, 10) == 0) return not_measured;  // a kernel that does not count
        return std::strtoll(rest, nullptr, 10);
    }

  private:
    int file_;
};

Pulse read_pulse(const SchedulingStatistics& statistics) {
    Pulse pulse;
    const std::int64_t monotonic = monotonic_ns();
    pulse.asleep_ns = read_clock(CLOCK_BOOTTIME) - monotonic;
    pulse.at_ns = monotonic;
    pulse.queued_ns = statistics.queued_ns();
    pulse.thread_cpu_ns = read_clock(CLOCK_THREAD_CPUTIME_ID);
    pulse.process_cpu_ns = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    return pulse;
}

std::int64_t union_length(std::vector<Stop> stops) {
    std::ranges::sort(stops, {}, &Stop::start_ns);
    std::int64_t total = 0;
    std::int64_t covered = 0;
    for (const Stop& stop : stops) {
        total += std::max<std::int64_t>(0, stop.end_ns - std::max(stop.start_ns, covered));
        covered = std::max(covered, stop.end_ns);
    }
    return total;
}

}  // namespace

std::int64_t stopped_between(const Pulse& before, const Pulse& after, std::int64_t interval_ns, std::int64_t cores) {
    const bool counted = before.queued_ns != not_measured && after.queued_ns != not_measured;
    const std::int64_t queued = counted ? after.queued_ns - before.queued_ns : 0;
    const std::int64_t running = after.thread_cpu_ns - before.thread_cpu_ns;
    const std::int64_t awake = interval_ns + queued + running;
    const std::int64_t late = after.at_ns - before.at_ns - awake;
    if (late < (counted ? min_stop_ns : min_unexplained_ns)) return 0;
    const std::int64_t used = after.process_cpu_ns - before.process_cpu_ns;
    return used <= cores * awake + late / 10 ? late : 0;
}

struct StopDetector::State {
    mutable std::mutex mutex;
    mutable std::condition_variable pulsed;
    std::int64_t last_pulse_ns = 0;
    bool ended = false;
    std::vector<Stop> stops;
    std::vector<Stop> open;  ///< stopped descendants, which may continue later
    OwnerProcess owner;

    void run(StopSignal& signal, const Pulse& first);
    void note(const Pulse& before, const Pulse& after, std::int64_t cores);
    void scan(std::int64_t now_ns);
    void finish(std::int64_t now_ns);
};

void StopDetector::State::run(StopSignal& signal, const Pulse& first) {
    const SchedulingStatistics statistics;
    const auto cores = static_cast<std::int64_t>(std::max(1U, std::thread::hardware_concurrency()));
    Pulse before = first;
    std::int64_t next_scan_ns = before.at_ns;
    bool stopping = false;
    while (!stopping) {
        stopping = signal.wait_until(before.at_ns + pulse_interval_ns);
        const Pulse after = read_pulse(statistics);
        note(before, after, cores);
        before = after;
        if (after.at_ns >= next_scan_ns || stopping) {
            scan(after.at_ns);
            next_scan_ns = after.at_ns + scan_interval_ns;
        }
    }
    finish(before.at_ns);
}

void StopDetector::State::note(const Pulse& before, const Pulse& after, std::int64_t cores) {
    const std::lock_guard lock(mutex);
    if (const std::int64_t stopped = stopped_between(before, after, pulse_interval_ns, cores); stopped > 0) {
        stops.push_back({after.at_ns - stopped, after.at_ns, 0, getpid(), static_cast<std::int64_t>(Stopped::process)});
    }
    if (const std::int64_t asleep = after.asleep_ns - before.asleep_ns; asleep >= min_sleep_ns) {
        stops.push_back({after.at_ns, after.at_ns, asleep, 0, static_cast<std::int64_t>(Stopped::machine)});
    }
    last_pulse_ns = after.at_ns;
    pulsed.notify_all();
}

/// Opens and closes stops of descendants. A stop counts from the first scan that sees it to the first that does not.
void StopDetector::State::scan(std::int64_t now_ns) {
    const std::vector<std::int64_t> stopped = stopped_descendants();
    const std::lock_guard lock(mutex);
    std::erase_if(open, [&](Stop& known) {
        known.end_ns = now_ns;
        if (std::ranges::find(stopped, known.pid) != stopped.end()) return false;
        if (known.end_ns - known.start_ns >= min_stop_ns) stops.push_back(known);
        return true;
    });
    for (const std::int64_t pid : stopped) {
        if (std::ranges::find(open, pid, &Stop::pid) != open.end()) continue;
        open.push_back({now_ns, now_ns, 0, pid, static_cast<std::int64_t>(Stopped::descendant)});
    }
}

void StopDetector::State::finish(std::int64_t now_ns) {
    const std::lock_guard lock(mutex);
    for (Stop& known : open) {
        known.end_ns = now_ns;
        if (known.end_ns - known.start_ns >= min_stop_ns) stops.push_back(known);
    }
    open.clear();
    ended = true;
    pulsed.notify_all();
}

StopDetector::StopDetector() : state_(std::make_shared<State>()) {}

StopDetector::~StopDetector() {
    stop();
}

void StopDetector::start() {
    if (thread_.running() || state_->ended) throw std::invalid_argument("this StopDetector was started before");
    Pulse first;  // a thread begins with counters of 0, perhaps only after the process was stopped
    first.at_ns = monotonic_ns();
    first.asleep_ns = read_clock(CLOCK_BOOTTIME) - first.at_ns;
    first.process_cpu_ns = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    state_->last_pulse_ns = first.at_ns;
    thread_.start([state = state_, first](StopSignal& signal) { state->run(signal, first); });
}

void StopDetector::stop() {
    thread_.request_stop();
    thread_.join_until(monotonic_ns() + 1'000'000'000);
}

std::vector<Stop> StopDetector::stops() const {
    const auto lock = lock_unless_orphaned(state_->mutex, state_->owner);
    return lock.owns_lock() ? state_->stops : std::vector<Stop>{};
}

std::int64_t StopDetector::stopped_ns() const {
    if (!state_->owner.is_current()) return 0;
    std::unique_lock lock(state_->mutex);
    const std::int64_t now = monotonic_ns();
    if (now - state_->last_pulse_ns > 2 * pulse_interval_ns && state_->last_pulse_ns != 0) {
        state_->pulsed.wait_for(lock, max_catch_up, [&] { return state_->last_pulse_ns >= now || state_->ended; });
    }
    std::vector<Stop> all = state_->stops;
    all.insert(all.end(), state_->open.begin(), state_->open.end());
    return union_length(std::move(all));
}

}  // namespace virnuc
