// SPDX-License-Identifier: MIT
#include "driver/cuda_api.h"

#include "driver/errors.h"

namespace virnuc {

std::string CudaApi::describe(CUresult result, const char* call) const {
    const char* name = nullptr;
    const char* text = nullptr;
    if (error_name != nullptr) error_name(result, &name);
    if (error_string != nullptr) error_string(result, &text);
    std::string message = std::string(call) + " returned ";
    message += name != nullptr ? std::string(name) + " (" + std::to_string(result) + ")"
                               : "CUDA error " + std::to_string(result);
    if (text != nullptr) message += std::string(": ") + text;
    return message;
}

void CudaApi::check(CUresult result, const char* call) const {
    if (result != CUDA_SUCCESS) throw CudaError(describe(result, call), result, call);
}

CudaLibrary load_cuda(const DynamicLibrary& library) {
    CudaLibrary loaded;
    loaded.status = library.status();
    if (!loaded.status.available()) return loaded;
#define X(member, symbol_name, signature) \
    loaded.api.member = reinterpret_cast<decltype(loaded.api.member)>(library.symbol(symbol_name));
    VIRNUC_CUDA_SYMBOLS(X)
    VIRNUC_CUDA_OPTIONAL_SYMBOLS(X)
#undef X
#define X(member, symbol_name, signature)                                                                    \
    if (loaded.api.member == nullptr && loaded.status.reason.empty()) {                                      \
        loaded.status.reason = loaded.status.path + " lacks " symbol_name "; driver 525 or newer is needed"; \
    }
    VIRNUC_CUDA_SYMBOLS(X)
#undef X
    return loaded;
}

const CudaLibrary& cuda_library() {
    // Never destroyed, because threads may use the table until the process ends.
    static const auto* const library =
        new CudaLibrary(load_cuda(DynamicLibrary::find("VIRNUC_PROFILER_LIBCUDA", "libcuda.so.1")));
    return *library;
}

}  // namespace virnuc
