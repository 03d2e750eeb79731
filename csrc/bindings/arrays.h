// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/numpy.h>

#include <memory>
#include <utility>
#include <vector>

namespace virnuc::bindings {

/// A structured array that takes the rows over without copying them.
template <typename Row>
pybind11::array_t<Row> to_array(std::vector<Row> rows) {
    auto owned = std::make_unique<std::vector<Row>>(std::move(rows));
    const auto size = static_cast<pybind11::ssize_t>(owned->size());
    const Row* data = owned->data();
    const pybind11::capsule owner(owned.release(),
                                  [](void* held) { delete static_cast<std::vector<Row>*>(held); });
    return pybind11::array_t<Row>(size, data, owner);
}

/// Nanoseconds of a duration in seconds or milliseconds as Python gives it. Throws std::invalid_argument: not
/// finite, negative, or more than a century.
std::int64_t duration_ns(const char* name, double value, double unit_ns);

}  // namespace virnuc::bindings
