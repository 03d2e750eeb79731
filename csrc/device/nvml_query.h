// SPDX-License-Identifier: MIT
#pragma once

#include <nvml.h>

namespace virnuc {

/// Whether a result says that this device, driver or user cannot have the value at all, rather than that asking for it
/// went wrong.
constexpr bool not_offered(nvmlReturn_t result) {
    return result == NVML_ERROR_NOT_SUPPORTED || result == NVML_ERROR_FUNCTION_NOT_FOUND ||
           result == NVML_ERROR_NO_PERMISSION;
}

/// Calls a function of the table that may be absent.
template <typename Function, typename... Arguments>
nvmlReturn_t query_nvml(Function function, Arguments... arguments) {
    return function == nullptr ? NVML_ERROR_FUNCTION_NOT_FOUND : function(arguments...);
}

}  // namespace virnuc
