// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace virnuc::bindings {

/// A one-dimensional array. Integers convert if no value can be lost.
template <typename T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;

template <typename T>
std::span<const T> read_span(const Array<T>& array, const char* name) {
    if (array.ndim() != 1) {
        throw std::invalid_argument(std::string(name) + " must be one-dimensional, has " +
                                    std::to_string(array.ndim()) + " dimensions");
    }
    return {array.data(), static_cast<std::size_t>(array.size())};
}

/// Makes an array, structured or plain, that takes over a vector without copying it.
template <typename T>
pybind11::array_t<T> to_array(std::vector<T> values) {
    auto owned = std::make_unique<std::vector<T>>(std::move(values));
    const auto size = static_cast<pybind11::ssize_t>(owned->size());
    const T* const data = owned->data();
    const pybind11::capsule owner(owned.get(), [](void* held) { delete static_cast<std::vector<T>*>(held); });
    static_cast<void>(owned.release());
    return pybind11::array_t<T>(size, data, owner);
}

/// Converts a duration from Python to nanoseconds. Throws std::invalid_argument if it is negative, not finite, or more
/// than a century.
std::int64_t duration_ns(const char* name, double value, double unit_ns);

}  // namespace virnuc::bindings
