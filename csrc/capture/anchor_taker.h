// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <utility>

#include "capture/clock.h"
#include "capture/device_timer.h"

namespace virnuc {

/// Compares the clocks on a stream of its own, without stopping the work: records an event, spins until it
/// has completed, and keeps the try with the smallest bracket of host times.
///
/// The event of the last anchor is the reference for elapsed times until the next one: float32 milliseconds
/// hold 0.1 µs over 2 s, but not over minutes. Each anchor adds the time since the one before in 64-bit ns.
///
/// Everything needs the timer's context current on the calling thread, destroy() too; the destructor does nothing.
class AnchorTaker {
  public:
    /// Makes the stream and its events. Throws CudaError.
    AnchorTaker(DeviceTimer& timer, Clock clock);

    /// The longest that a take() may last.
    static constexpr std::int64_t most_patience_ns = 200'000'000;

    /// Spins for some 10 µs, where the device is shared up to 200 ms, but not longer than the caller has. False: the
    /// device did not answer in time, or failed (timer off).
    bool take(std::int64_t at_most_ns = most_patience_ns);
    /// Whether there is a reference yet.
    [[nodiscard]] bool anchored() const noexcept { return anchored_; }
    /// Time of a completed event on the device's axis; what the driver said if there is none.
    CUresult device_time(CUevent event, std::int64_t& device_ns) const;

    void destroy() noexcept;

  private:
    struct Bracket {
        std::int64_t before_ns = 0;
        std::int64_t after_ns = 0;
        [[nodiscard]] std::int64_t width() const noexcept { return after_ns - before_ns; }
    };
    bool bracket(CUevent event, std::int64_t give_up_at_ns, Bracket& result);

    DeviceTimer* timer_;
    Clock clock_;
    std::int64_t patience_ns_;
    CUstream stream_ = nullptr;
    CUevent reference_ = nullptr;  ///< of the last anchor
    CUevent best_ = nullptr;
    CUevent trial_ = nullptr;
    std::int64_t reference_device_ns_ = 0;
    bool anchored_ = false;
};

}  // namespace virnuc
