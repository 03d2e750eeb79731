// SPDX-License-Identifier: MIT
#include "device/cuda_device.h"

#include <array>
#include <cstring>

#include "driver/errors.h"
#include "driver/fork_guard.h"

namespace virnuc {

namespace {

/// Detects a MIG slice by a UUID that differs from its card's, or by its name on drivers that return only one UUID.
bool is_mig(const CudaApi& api, CUdevice device, const CUuuid& uuid, const std::string& name) {
    CUuuid card{};
    if (api.device_uuid_of_card != nullptr && api.device_uuid_of_card(&card, device) == CUDA_SUCCESS &&
        std::memcmp(&card, &uuid, sizeof uuid) != 0) {
        return true;
    }
    return name.find(" MIG ") != std::string::npos;
}

CudaDevice describe_device(const CudaApi& api, int ordinal) {
    CUdevice device = 0;
    api.check(api.device_get(&device, ordinal), "cuDeviceGet");
    CudaDevice description;
    description.ordinal = ordinal;
    std::array<char, 256> text{};
    api.check(api.device_name(text.data(), static_cast<int>(text.size()), device), "cuDeviceGetName");
    description.name = text.data();
    CUuuid uuid{};
    api.check(api.device_uuid(&uuid, device), "cuDeviceGetUuid_v2");
    description.uuid = format_uuid(uuid, is_mig(api, device, uuid, description.name));
    api.check(api.device_pci_bus_id(text.data(), static_cast<int>(text.size()), device), "cuDeviceGetPCIBusId");
    description.pci_bus_id = text.data();
    std::size_t bytes = 0;
    api.check(api.device_total_memory(&bytes, device), "cuDeviceTotalMem_v2");
    description.total_memory_bytes = static_cast<std::int64_t>(bytes);
    auto& [major, minor] = description.compute_capability;
    api.check(api.device_attribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device),
              "cuDeviceGetAttribute");
    api.check(api.device_attribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device),
              "cuDeviceGetAttribute");
    return description;
}

}  // namespace

std::string format_uuid(const CUuuid& uuid, bool mig) {
    constexpr const char* digits = "0123456789abcdef";
    std::string text = mig ? "MIG" : "GPU";
    for (std::size_t i = 0; i < sizeof uuid.bytes; ++i) {
        if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        const auto byte = static_cast<unsigned char>(uuid.bytes[i]);
        text += digits[byte >> 4U];
        text += digits[byte & 0xFU];
    }
    return text;
}

LibraryStatus cuda_status() {
    static LibraryOwner owner;
    LibraryStatus status = cuda_library().status;
    if (!status.available()) return status;
    if (owner.is_parent()) {  // cuInit does not always report this
        status.reason = "CUDA was initialized before this process was forked; start workers with spawn or forkserver";
    } else if (const CUresult result = cuda_library().api.init(0); result != CUDA_SUCCESS) {
        status.reason = cuda_library().api.describe(result, "cuInit");
        status.code = result;
    } else {
        owner.claim();
    }
    return status;
}

const CudaApi& require_cuda(int device) {
    const LibraryStatus status = cuda_status();
    if (status.available()) return cuda_library().api;
    throw LibraryUnavailable("CUDA device " + std::to_string(device) + " cannot be used: " + status.reason);
}

std::vector<CudaDevice> list_devices(const CudaApi& api) {
    int count = 0;
    api.check(api.device_count(&count), "cuDeviceGetCount");
    std::vector<CudaDevice> devices;
    devices.reserve(static_cast<std::size_t>(count));
    for (int ordinal = 0; ordinal < count; ++ordinal) devices.push_back(describe_device(api, ordinal));
    return devices;
}

std::vector<CudaDevice> cuda_devices() {
    if (!cuda_status().available()) return {};
    return list_devices(cuda_library().api);
}

}  // namespace virnuc
