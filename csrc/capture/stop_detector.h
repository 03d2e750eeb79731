// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "capture/background_thread.h"
#include "capture/clock.h"

namespace virnuc {

/// What stood still during a Stop.
enum class Stopped : std::int64_t { process = 0, descendant = 1, machine = 2 };

/// A time during which no work was possible, in monotonic nanoseconds. The monotonic clock stands still while the
/// machine sleeps, so a machine's stop starts where it ends, and `suspended_ns` has its length.
struct Stop {
    std::int64_t start_ns = 0;
    std::int64_t end_ns = 0;
    std::int64_t suspended_ns = 0;
    std::int64_t pid = 0;
    std::int64_t what = 0;
};

/// What the detector's thread reads each time it wakes.
struct Pulse {
    std::int64_t at_ns = 0;
    std::int64_t asleep_ns = 0;       ///< CLOCK_BOOTTIME less CLOCK_MONOTONIC: time that the machine has slept
    std::int64_t queued_ns = 0;       ///< time that this thread was runnable without a core; or not_measured
    std::int64_t thread_cpu_ns = 0;   ///< CPU time of this thread
    std::int64_t process_cpu_ns = 0;  ///< CPU time of the whole process
};

/// Shorter delays are not counted, because disks and hypervisors cause them too.
inline constexpr std::int64_t min_stop_ns = 1'000'000'000;

/// Returns for how long the process was stopped between two pulses that were to be `interval_ns` apart, or 0.
///
/// A thread that wakes late was either runnable without a core, which the kernel counts, or could not run at all. A
/// stopped process uses no CPU time either, so a thread that waits for a page from disk while others compute is no
/// stop.
std::int64_t stopped_between(const Pulse& before, const Pulse& after, std::int64_t interval_ns, std::int64_t cores);

/// Records when this process, one of its descendants or the machine was stopped: by SIGSTOP, a debugger, a frozen
/// control group, or sleep. A busy machine is no stop. The thread uses about 0.1 % of a core and never needs
/// the GIL.
class StopDetector {
  public:
    StopDetector();
    StopDetector(const StopDetector&) = delete;
    StopDetector& operator=(const StopDetector&) = delete;
    ~StopDetector();

    /// Starts the thread. Throws std::invalid_argument if it was started before, and std::system_error.
    void start();
    /// Ends the thread, after it has noticed a stop that has just ended.
    void stop();
    /// The stops so far, in the order in which they ended.
    [[nodiscard]] std::vector<Stop> stops() const;
    /// The part of the monotonic time so far in which the process or a descendant was stopped. Waits for a thread that
    /// has not noticed yet that the process continues.
    [[nodiscard]] std::int64_t stopped_ns() const;
    /// CPU time of the thread; None before it has started.
    [[nodiscard]] std::optional<std::int64_t> cpu_ns() { return thread_.cpu_ns(); }

  private:
    struct State;
    std::shared_ptr<State> state_;
    BackgroundThread thread_;
};

}  // namespace virnuc
