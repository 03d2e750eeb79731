// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "driver/cuda_api.h"

namespace virnuc {

/// A device that this process may use, after CUDA_VISIBLE_DEVICES.
struct CudaDevice {
    int ordinal = 0;
    std::string name;
    std::string uuid;  ///< in NVML's form: GPU-xxxxxxxx-... or MIG-...
    std::string pci_bus_id;
    std::int64_t total_memory_bytes = 0;
    std::pair<int, int> compute_capability;
};

/// Whether CUDA can be used in this process: the driver is present, cuInit succeeded, and no parent process called it.
LibraryStatus cuda_status();

/// The devices that this process may use; empty if CUDA is unavailable.
std::vector<CudaDevice> cuda_devices();

/// Returns the driver for work on a device. Throws LibraryUnavailable with the reason of cuda_status().
const CudaApi& require_cuda(int device);

/// Lists the devices of a driver. Throws CudaError.
std::vector<CudaDevice> list_devices(const CudaApi& api);

/// Formats 16 bytes as "GPU-12345678-9abc-...".
std::string format_uuid(const CUuuid& uuid, bool mig);

}  // namespace virnuc
