// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "capture/background_thread.h"
#include "capture/harvester.h"
#include "capture/recording.h"

namespace virnuc {

/// What a timeline's background thread does: it harvests device times, compares the clocks and keeps storage
/// ready, and gives the device back at the end. Owns all that it uses, since it may be left behind in a
/// driver call.
struct HarvestLoop {
    std::shared_ptr<Recording> recording;  ///< one with a device
    std::shared_ptr<Harvester> harvester;
    std::shared_ptr<std::atomic<std::int64_t>> give_up_at_ns;  ///< on outstanding events, once told to stop
    std::int64_t harvest_interval_ns = 0;
    std::int64_t anchor_interval_ns = 0;

    /// Runs until told to stop and nothing is outstanding, or it is time to give up.
    void run(StopSignal& signal) const;

  private:
    void work(StopSignal& signal) const;
    void finish() const;
    void end_early(StopSignal& signal, const CudaError& error) const;
    void allow_graph_capture() const;
};

}  // namespace virnuc
