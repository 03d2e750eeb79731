// SPDX-License-Identifier: MIT
#pragma once

#include <cuda.h>

#include <string>
#include <type_traits>

#include "driver/dynamic_library.h"

namespace virnuc {

// Exact symbol names, because cuda.h renames some functions to their newest version, which drivers of the 525 series
// lack. X(member, symbol, signature)
#define VIRNUC_CUDA_SYMBOLS(X)                                                                \
    X(init, "cuInit", CUresult(unsigned))                                                     \
    X(error_name, "cuGetErrorName", CUresult(CUresult, const char**))                         \
    X(error_string, "cuGetErrorString", CUresult(CUresult, const char**))                     \
    X(device_count, "cuDeviceGetCount", CUresult(int*))                                       \
    X(device_get, "cuDeviceGet", CUresult(CUdevice*, int))                                    \
    X(device_name, "cuDeviceGetName", CUresult(char*, int, CUdevice))                         \
    X(device_uuid, "cuDeviceGetUuid_v2", CUresult(CUuuid*, CUdevice))                         \
    X(device_pci_bus_id, "cuDeviceGetPCIBusId", CUresult(char*, int, CUdevice))               \
    X(device_total_memory, "cuDeviceTotalMem_v2", CUresult(size_t*, CUdevice))                \
    X(device_attribute, "cuDeviceGetAttribute", CUresult(int*, CUdevice_attribute, CUdevice)) \
    X(primary_context_retain, "cuDevicePrimaryCtxRetain", CUresult(CUcontext*, CUdevice))     \
    X(primary_context_release, "cuDevicePrimaryCtxRelease_v2", CUresult(CUdevice))            \
    X(context_push, "cuCtxPushCurrent_v2", CUresult(CUcontext))                               \
    X(context_pop, "cuCtxPopCurrent_v2", CUresult(CUcontext*))                                \
    X(context_current, "cuCtxGetCurrent", CUresult(CUcontext*))                               \
    X(stream_create, "cuStreamCreate", CUresult(CUstream*, unsigned))                         \
    X(stream_destroy, "cuStreamDestroy_v2", CUresult(CUstream))                               \
    X(stream_is_capturing, "cuStreamIsCapturing", CUresult(CUstream, CUstreamCaptureStatus*)) \
    X(event_create, "cuEventCreate", CUresult(CUevent*, unsigned))                            \
    X(event_destroy, "cuEventDestroy_v2", CUresult(CUevent))                                  \
    X(event_record, "cuEventRecord", CUresult(CUevent, CUstream))                             \
    X(event_query, "cuEventQuery", CUresult(CUevent))                                         \
    X(event_elapsed_ms, "cuEventElapsedTime", CUresult(float*, CUevent, CUevent))

/// Optional symbols: the table holds nullptr for a missing one.
#define VIRNUC_CUDA_OPTIONAL_SYMBOLS(X)                                                              \
    X(device_uuid_of_card, "cuDeviceGetUuid", CUresult(CUuuid*, CUdevice))                           \
    X(stream_priority_range, "cuCtxGetStreamPriorityRange", CUresult(int*, int*))                    \
    X(stream_create_with_priority, "cuStreamCreateWithPriority", CUresult(CUstream*, unsigned, int)) \
    X(exchange_capture_mode, "cuThreadExchangeStreamCaptureMode", CUresult(CUstreamCaptureMode*))    \
    X(memcpy_async, "cuMemcpyAsync", CUresult(CUdeviceptr, CUdeviceptr, size_t, CUstream))           \
    X(profiler_start, "cuProfilerStart", CUresult())                                                 \
    X(profiler_stop, "cuProfilerStop", CUresult())

/// The driver's functions as a value, which tests fill with lambdas.
struct CudaApi {
#define X(member, symbol, signature) std::add_pointer_t<signature> member = nullptr;
    VIRNUC_CUDA_SYMBOLS(X)
    VIRNUC_CUDA_OPTIONAL_SYMBOLS(X)
#undef X

    /// Formats "cuEventRecord returned CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access was encountered".
    [[nodiscard]] std::string describe(CUresult result, const char* call) const;
    /// Throws CudaError unless `result` is success.
    void check(CUresult result, const char* call) const;
};

struct CudaLibrary {
    LibraryStatus status;
    CudaApi api;
};

/// Fills a table. The status names the first required symbol that is missing.
CudaLibrary load_cuda(const DynamicLibrary& library);

/// The driver of this process, looked up once: VIRNUC_PROFILER_LIBCUDA, else libcuda.so.1. Makes no CUDA call.
const CudaLibrary& cuda_library();

}  // namespace virnuc
