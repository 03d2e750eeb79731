// SPDX-License-Identifier: MIT
#include "capture/background_thread.h"

#include <pthread.h>
#include <time.h>  // NOLINT(modernize-deprecated-headers): clock_gettime

#include <exception>
#include <utility>
#include <vector>

#include "capture/clock.h"

namespace virnuc {

namespace {

/// On Linux, steady_clock is CLOCK_MONOTONIC.
std::chrono::steady_clock::time_point time_point(std::int64_t ns) {
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
}

struct AbandonedThreads {
    std::mutex mutex;
    std::vector<std::thread> threads;
};

std::optional<std::int64_t> read_clock(clockid_t clock) {
    timespec now{};
    if (clock_gettime(clock, &now) != 0) return std::nullopt;
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

bool StopSignal::wait_until(std::int64_t deadline_ns) {
    std::unique_lock lock(mutex_);
    return changed_.wait_until(lock, time_point(deadline_ns), [this] { return stopping_; });
}

bool StopSignal::stopping() const {
    const std::lock_guard lock(mutex_);
    return stopping_;
}

void StopSignal::request_stop() {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
}

void StopSignal::report_done() {
    const std::lock_guard lock(mutex_);
    done_ = true;
    changed_.notify_all();
}

bool StopSignal::wait_done_until(std::int64_t deadline_ns) {
    std::unique_lock lock(mutex_);
    return changed_.wait_until(lock, time_point(deadline_ns), [this] { return done_; });
}

void BackgroundThread::start(std::function<void(StopSignal&)> body) {
    thread_ = std::thread([body = std::move(body), signal = signal_, cpu_ns = final_cpu_ns_]() mutable {
        try {
            body(*signal);
        } catch (const std::exception&) {  // bodies report their own failures; none may end the user's process
        }
        body = nullptr;  // destroy what the body owns before reporting that the thread has ended
        cpu_ns->store(read_clock(CLOCK_THREAD_CPUTIME_ID).value_or(-1));
        signal->report_done();
    });
}

void BackgroundThread::request_stop() {
    if (owner_.is_current()) signal_->request_stop();
}

bool BackgroundThread::join_until(std::int64_t deadline_ns) {
    if (!thread_.joinable()) return true;
    if (!owner_.is_current()) {
        abandon();
        return true;
    }
    if (!signal_->wait_done_until(deadline_ns)) {
        abandon();
        return false;
    }
    thread_.join();
    return true;
}

std::optional<std::int64_t> BackgroundThread::cpu_ns() {
    if (const std::int64_t ended = final_cpu_ns_->load(); ended >= 0) return ended;
    clockid_t clock{};
    if (!thread_.joinable() || !owner_.is_current() || pthread_getcpuclockid(thread_.native_handle(), &clock) != 0) {
        return std::nullopt;
    }
    const auto now = read_clock(clock);
    // The thread may have ended since the first check, and an ended thread has no CPU clock.
    const std::int64_t ended = final_cpu_ns_->load();
    return ended >= 0 ? ended : now;
}

void BackgroundThread::abandon() {
    static PerProcess<AbandonedThreads> abandoned;
    AbandonedThreads& here = abandoned.get();
    const std::lock_guard lock(here.mutex);
    here.threads.push_back(std::move(thread_));
}

BackgroundThread::~BackgroundThread() {
    request_stop();
    join_until(monotonic_ns() + 1'000'000'000);
}

}  // namespace virnuc
