// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <utility>

#include "capture/clock.h"
#include "capture/device_timer.h"

namespace virnuc {

/// Synchronizes the clocks on its own stream without interrupting the work. It records an event, spins until the event
/// has completed, and keeps the attempt with the narrowest bracket of host times.
///
/// The event of the last sync is the reference for elapsed times until the next one, because float32 milliseconds
/// resolve 0.1 µs over 2 s, but not over minutes. Each sync adds the time since the previous one in 64-bit nanoseconds.
///
/// All calls, including destroy(), need the timer's context current on the calling thread. The destructor does nothing.
class ClockSync {
  public:
    /// Creates the stream and its events. Throws CudaError.
    ClockSync(DeviceTimer& timer, Clock clock);

    /// The longest time that sync() may take.
    static constexpr std::int64_t max_wait_ns = 200'000'000;

    /// Takes about 10 µs, and up to 200 ms on a shared device, but never more than `limit_ns`. Returns false if the
    /// device did not answer in time or failed; a failure turns the timer off.
    bool sync(std::int64_t limit_ns = max_wait_ns);
    /// Whether the clocks have been synchronized at least once.
    [[nodiscard]] bool synced() const noexcept { return synced_; }
    /// Computes the time of a completed event on the device clock. Returns the driver's error if that fails.
    CUresult device_time(CUevent event, std::int64_t& device_ns) const;

    void destroy() noexcept;

  private:
    struct Bracket {
        std::int64_t before_ns = 0;
        std::int64_t after_ns = 0;
        [[nodiscard]] std::int64_t width() const noexcept { return after_ns - before_ns; }
    };
    bool bracket(CUevent event, std::int64_t deadline_ns, Bracket& result);

    DeviceTimer* timer_;
    Clock clock_;
    std::int64_t wait_ns_;
    CUstream stream_ = nullptr;
    CUevent reference_ = nullptr;  ///< recorded by the last sync
    CUevent best_ = nullptr;
    CUevent trial_ = nullptr;
    std::int64_t reference_device_ns_ = 0;
    bool synced_ = false;
};

}  // namespace virnuc
