// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "driver/cuda_api.h"
#include "driver/nvml_api.h"

namespace standin {

/// The stand-in driver: its function table and its control functions, which tests/support/standin_cuda_control.cpp
/// describes.
struct Cuda {
    const virnuc::CudaApi& api;
    void (*fail)(const char*, int, std::int64_t);
    void (*hang)(const char*, std::int64_t);
    void (*vanish)(int);
    void (*set_clock)(std::int64_t, double);
    void (*launch)(std::uintptr_t, std::int64_t);
    void (*hold)(std::uintptr_t, int);
    void (*capture)(std::uintptr_t, int);
    std::int64_t (*calls)(const char*);
    std::int64_t (*live_events)();
    std::int64_t (*retained_contexts)();
    std::int64_t (*busy_until)(std::uintptr_t);
    std::int64_t (*host_now)();
    void (*use_virtual_time)(std::int64_t, std::int64_t);
    void (*advance)(std::int64_t);
};

/// Returns the stand-in driver, reset to its defaults.
Cuda& cuda();

/// The host clock of the stand-in driver, virtual or real.
std::int64_t cuda_host_now() noexcept;

struct Nvml {
    const virnuc::NvmlApi& api;
    void (*set)(const char*, double);
    void (*fail)(const char*, int);
    void (*stall)(const char*, std::int64_t);
    std::int64_t (*calls)(const char*);
};
Nvml& nvml();

constexpr const char* card_uuid = "GPU-aa010203-0405-0607-0809-0a0b0c0d0e00";
constexpr std::int64_t forever = -1;

}  // namespace standin
