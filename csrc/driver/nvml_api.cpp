// SPDX-License-Identifier: MIT
#include "driver/nvml_api.h"

namespace virnuc {

std::string NvmlApi::describe(nvmlReturn_t result, const char* call) const {
    const char* text = error_string != nullptr ? error_string(result) : nullptr;
    return std::string(call) + ": " + (text != nullptr ? text : "NVML error " + std::to_string(result));
}

NvmlLibrary load_nvml(const DynamicLibrary& library) {
    NvmlLibrary loaded;
    loaded.status = library.status();
    if (!loaded.status.available()) return loaded;
#define X(member, symbol_name, signature) \
    loaded.api.member = reinterpret_cast<decltype(loaded.api.member)>(library.symbol(symbol_name));
    VIRNUC_NVML_SYMBOLS(X)
    VIRNUC_NVML_OPTIONAL_SYMBOLS(X)
#undef X
#define X(member, symbol_name, signature)                                     \
    if (loaded.api.member == nullptr && loaded.status.reason.empty()) {       \
        loaded.status.reason = loaded.status.path + " lacks " symbol_name ""; \
    }
    VIRNUC_NVML_SYMBOLS(X)
#undef X
    return loaded;
}

const NvmlLibrary& nvml_library() {
    // Never destroyed, because a sampling thread that is stuck in NVML may outlive everything else.
    static const auto* const library =
        new NvmlLibrary(load_nvml(DynamicLibrary::find("VIRNUC_PROFILER_LIBNVML", "libnvidia-ml.so.1")));
    return *library;
}

}  // namespace virnuc
