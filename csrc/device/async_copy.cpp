// SPDX-License-Identifier: MIT
#include "device/async_copy.h"

#include "driver/cuda_api.h"

namespace virnuc {

bool AsyncCopy::queue(std::uintptr_t stream) const noexcept {
    const CudaLibrary& library = cuda_library();
    if (!library.status.available() || library.api.memcpy_async == nullptr) return false;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): Python passes an integer
    return library.api.memcpy_async(target, source, bytes, reinterpret_cast<CUstream>(stream)) == CUDA_SUCCESS;
}

}  // namespace virnuc
