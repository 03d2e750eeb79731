// SPDX-License-Identifier: MIT
#include "capture/background_thread.h"

#include <exception>
#include <utility>
#include <vector>

#include "capture/clock.h"

namespace virnuc {

namespace {

/// steady_clock is CLOCK_MONOTONIC here.
std::chrono::steady_clock::time_point time_point(std::int64_t ns) {
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
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
    thread_ = std::thread([body = std::move(body), signal = signal_]() mutable {
        try {
            body(*signal);
        } catch (const std::exception&) {  // bodies tell their own failures; none may end the user's process
        }
        body = nullptr;  // what it owns goes before the thread says that it is done
        signal->report_done();
    });
}

void BackgroundThread::request_stop() {
    if (owner_.is_current()) signal_->request_stop();
}

bool BackgroundThread::join_until(std::int64_t deadline_ns) {
    if (!thread_.joinable()) return true;
    if (!owner_.is_current()) {
        park();
        return true;
    }
    if (!signal_->wait_done_until(deadline_ns)) {
        park();
        return false;
    }
    thread_.join();
    return true;
}

void BackgroundThread::park() {
    static auto* const mutex = new std::mutex;
    static auto* const parked = new std::vector<std::thread>;
    const std::lock_guard lock(*mutex);
    parked->push_back(std::move(thread_));
}

BackgroundThread::~BackgroundThread() {
    request_stop();
    join_until(monotonic_ns() + 1'000'000'000);
}

}  // namespace virnuc
