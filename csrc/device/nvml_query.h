// SPDX-License-Identifier: MIT
#pragma once

#include <nvml.h>

namespace virnuc {

/// Whether a result means that this device, driver or user cannot have the value at all. Other errors mean that the
/// query went wrong.
constexpr bool is_unsupported(nvmlReturn_t result) {
    return result == NVML_ERROR_NOT_SUPPORTED || result == NVML_ERROR_FUNCTION_NOT_FOUND ||
           result == NVML_ERROR_NO_PERMISSION;
}

/// Calls a function of the table, which may be missing.
template <typename Function, typename... Arguments>
nvmlReturn_t query_nvml(Function function, Arguments... arguments) {
    return function == nullptr ? NVML_ERROR_FUNCTION_NOT_FOUND : function(arguments...);
}

}  // namespace virnuc
