// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "driver/fork_guard.h"

namespace virnuc {

/// Tells a background thread to stop and reports that it has ended. Times are monotonic nanoseconds.
class StopSignal {
  public:
    /// Sleeps until an absolute time or a stop request. Returns true on a stop request.
    bool wait_until(std::int64_t deadline_ns);
    [[nodiscard]] bool stopping() const;
    void request_stop();
    void report_done();
    /// Waits for report_done(). Returns false on timeout.
    bool wait_done_until(std::int64_t deadline_ns);

  private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;
    bool done_ = false;
};

/// A thread that ends within milliseconds of a stop request. If a driver call blocks it, it is abandoned: its handle is
/// kept for the rest of the process, so the body must own everything it uses.
class BackgroundThread {
  public:
    BackgroundThread() = default;
    BackgroundThread(const BackgroundThread&) = delete;
    BackgroundThread& operator=(const BackgroundThread&) = delete;
    ~BackgroundThread();

    /// Starts `body`, which must not throw. Throws std::system_error.
    void start(std::function<void(StopSignal&)> body);
    /// Asks the thread to stop, without waiting.
    void request_stop();
    /// Waits until the thread has ended. Returns false if it was abandoned, and true at once in a forked child, which
    /// has no thread to wait for.
    bool join_until(std::int64_t deadline_ns);
    [[nodiscard]] bool running() const noexcept { return thread_.joinable(); }
    /// CPU time that the thread has used so far, or had used when it ended. None if it was never started or was
    /// abandoned, or if the system cannot tell.
    [[nodiscard]] std::optional<std::int64_t> cpu_ns();

  private:
    void abandon();

    std::shared_ptr<StopSignal> signal_ = std::make_shared<StopSignal>();
    std::shared_ptr<std::atomic<std::int64_t>> final_cpu_ns_ = std::make_shared<std::atomic<std::int64_t>>(-1);
    OwnerProcess owner_;
    std::thread thread_;
};

}  // namespace virnuc
