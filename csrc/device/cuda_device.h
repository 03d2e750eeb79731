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
    std::string uuid;  ///< as NVML writes it: GPU-xxxxxxxx-... or MIG-...
    std::string pci_bus_id;
    std::int64_t total_memory_bytes = 0;
    std::pair<int, int> compute_capability;
};

/// Whether CUDA can be used in this process: the driver is there, cuInit succeeded, and not in a parent of
/// it.
LibraryStatus cuda_status();

/// The devices that this process may use; empty where CUDA is not available.
std::vector<CudaDevice> cuda_devices();

/// The driver, for work on this device. Throws LibraryUnavailable with the reason of cuda_status().
const CudaApi& usable_driver(int device);

/// What one driver says of its devices. Throws CudaError.
std::vector<CudaDevice> list_devices(const CudaApi& api);

/// "GPU-12345678-9abc-..." from the 16 bytes.
std::string format_uuid(const CUuuid& uuid, bool mig);

}  // namespace virnuc
