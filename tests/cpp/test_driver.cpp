// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "device/cuda_device.h"
#include "driver/cuda_api.h"
#include "driver/dynamic_library.h"
#include "driver/errors.h"
#include "standin.h"

using namespace virnuc;

TEST_CASE("a missing library says why") {
    const auto library = DynamicLibrary::find("NOT_SET_ANYWHERE", "libdoes-not-exist.so.7");
    CHECK_FALSE(library.status().available());
    CHECK(library.status().reason.find("libdoes-not-exist.so.7") != std::string::npos);
    CHECK(library.symbol("anything") == nullptr);
}

TEST_CASE("an override that cannot be loaded is not replaced by the real library") {
    setenv("LIBRARY_OVERRIDE", "/nowhere/libm.so", 1);
    const auto library = DynamicLibrary::find("LIBRARY_OVERRIDE", "libm.so.6");
    CHECK_FALSE(library.status().available());
    CHECK(library.status().reason.find("LIBRARY_OVERRIDE") != std::string::npos);
}

TEST_CASE("without an override the soname is looked up") {
    CHECK(DynamicLibrary::find("NOT_SET_ANYWHERE", "libm.so.6").symbol("cos") != nullptr);
}

TEST_CASE("a library without the driver's symbols names the first missing one") {
    const auto loaded = load_cuda(DynamicLibrary::find("NOT_SET_ANYWHERE", "libm.so.6"));
    CHECK_FALSE(loaded.status.available());
    CHECK(loaded.status.reason.find("cuInit") != std::string::npos);
}

TEST_CASE("a failed call carries its code and name") {
    const CudaApi& api = standin::cuda().api;
    try {
        api.check(CUDA_ERROR_ILLEGAL_ADDRESS, "cuEventQuery");
        FAIL("did not throw");
    } catch (const CudaError& error) {
        CHECK(error.code() == 700);
        CHECK(error.call() == "cuEventQuery");
        CHECK(std::string(error.what()).find("CUDA_ERROR_ILLEGAL_ADDRESS (700)") != std::string::npos);
    }
}

namespace {

/// A driver with two devices; the second is a MIG slice.
CudaApi two_devices() {
    CudaApi api;
    api.device_count = [](int* count) { return *count = 2, CUDA_SUCCESS; };
    api.device_get = [](CUdevice* device, int ordinal) { return *device = ordinal, CUDA_SUCCESS; };
    api.device_name = [](char* name, int, CUdevice device) {
        std::strcpy(name, device == 0 ? "A" : "B");
        return CUDA_SUCCESS;
    };
    api.device_uuid_of_card = [](CUuuid* uuid, CUdevice) {
        std::memset(uuid, 0x11, sizeof *uuid);
        return CUDA_SUCCESS;
    };
    api.device_uuid = [](CUuuid* uuid, CUdevice device) {
        std::memset(uuid, device == 0 ? 0x11 : 0xfe, sizeof *uuid);
        return CUDA_SUCCESS;
    };
    api.device_pci_bus_id = [](char* text, int, CUdevice) {
        std::strcpy(text, "0000:01:00.0");
        return CUDA_SUCCESS;
    };
    api.device_total_memory = [](std::size_t* bytes, CUdevice) { return *bytes = 1024, CUDA_SUCCESS; };
    api.device_attribute = [](int* value, CUdevice_attribute attribute, CUdevice) {
        *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? 9 : 0;
        return CUDA_SUCCESS;
    };
    return api;
}

}  // namespace

TEST_CASE("devices are described, and slices have their own UUID") {
    const auto devices = list_devices(two_devices());
    REQUIRE(devices.size() == 2);
    CHECK(devices[0].uuid == "GPU-11111111-1111-1111-1111-111111111111");
    CHECK(devices[1].uuid == "MIG-fefefefe-fefe-fefe-fefe-fefefefefefe");
    CHECK(devices[1].ordinal == 1);
    CHECK(devices[0].total_memory_bytes == 1024);
    CHECK(devices[0].compute_capability == std::pair(9, 0));
}

TEST_CASE("on an older driver that returns one UUID, slices are recognized by name") {
    CudaApi api = two_devices();
    api.device_uuid_of_card = nullptr;
    api.device_name = [](char* name, int, CUdevice device) {
        std::strcpy(name, device == 0 ? "NVIDIA A100" : "NVIDIA A100 MIG 1g.5gb");
        return CUDA_SUCCESS;
    };
    const auto devices = list_devices(api);
    CHECK(devices[0].uuid.substr(0, 3) == "GPU");
    CHECK(devices[1].uuid.substr(0, 3) == "MIG");
}
