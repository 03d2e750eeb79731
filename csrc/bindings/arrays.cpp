// SPDX-License-Identifier: MIT
#include "bindings/arrays.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace virnuc::bindings {

std::int64_t duration_ns(const char* name, double value, double unit_ns) {
    constexpr double century_ns = 3.2e18;
    if (!std::isfinite(value) || value < 0.0 || value * unit_ns > century_ns) {
        throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) +
                                    ", must be finite, at least 0 and less than a century");
    }
    return std::llround(value * unit_ns);
}

}  // namespace virnuc::bindings
