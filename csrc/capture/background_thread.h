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

/// How a background thread is told to end, and tells that it has. Times are monotonic ns.
class StopSignal {
  public:
    /// Sleeps until an absolute time, or until the thread is told to stop; returns whether it was.
    bool wait_until(std::int64_t deadline_ns);
    [[nodiscard]] bool stopping() const;
    void request_stop();
    void report_done();
    /// Waits for report_done(); false if it has not come by then.
    bool wait_done_until(std::int64_t deadline_ns);

  private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;
    bool done_ = false;
};

/// A thread that ends within milliseconds when told to, or, if a driver call holds it, is left behind: its
/// handle is parked for the rest of the process. What its body uses must therefore be owned by the body.
class BackgroundThread {
  public:
    BackgroundThread() = default;
    BackgroundThread(const BackgroundThread&) = delete;
    BackgroundThread& operator=(const BackgroundThread&) = delete;
    ~BackgroundThread();

    /// Starts `body`, which must not throw. Throws std::system_error.
    void start(std::function<void(StopSignal&)> body);
    /// Tells the thread to end, without waiting.
    void request_stop();
    /// Waits until the thread has ended; false if it was left behind. In a forked child there is no thread to
    /// wait for: returns at once.
    bool join_until(std::int64_t deadline_ns);
    [[nodiscard]] bool running() const noexcept { return thread_.joinable(); }
    /// CPU time that the thread has taken so far, or took until it ended; none if the system does not say, as of a
    /// thread that was left behind, or never was.
    [[nodiscard]] std::optional<std::int64_t> cpu_ns();

  private:
    void park();

    std::shared_ptr<StopSignal> signal_ = std::make_shared<StopSignal>();
    std::shared_ptr<std::atomic<std::int64_t>> final_cpu_ns_ = std::make_shared<std::atomic<std::int64_t>>(-1);
    OwnerProcess owner_;
    std::thread thread_;
};

}  // namespace virnuc
