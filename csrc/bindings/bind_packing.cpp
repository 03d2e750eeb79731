// SPDX-License-Identifier: MIT
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "packing/pack_statistics.h"

namespace py = pybind11;

namespace virnuc::bindings {

void register_packing(py::module_& module) {
    py::class_<PackStatistics>(module, "PackStatistics")
        .def_readonly("sequences", &PackStatistics::sequences)
        .def_readonly("tokens", &PackStatistics::tokens)
        .def_readonly("min_length", &PackStatistics::min_length)
        .def_property_readonly("mean_length", &PackStatistics::mean_length)
        .def_readonly("max_length", &PackStatistics::max_length)
        .def_readonly("sum_squared_lengths", &PackStatistics::sum_squared_lengths)
        .def_readonly("token_budget", &PackStatistics::token_budget)
        .def_property_readonly("packing_efficiency", &PackStatistics::packing_efficiency)
        .def_property_readonly("oversize", &PackStatistics::oversize)
        .def_property_readonly("padding_tokens", &PackStatistics::padding_tokens);

    module.def(
        "pack_statistics",
        [](const py::array_t<std::int32_t, py::array::c_style>& cu_seqlens, std::optional<std::int64_t> token_budget) {
            if (cu_seqlens.ndim() != 1) throw py::value_error("cu_seqlens must be one-dimensional");
            return pack_statistics({cu_seqlens.data(), static_cast<std::size_t>(cu_seqlens.size())}, token_budget);
        },
        py::arg("cu_seqlens"), py::arg("token_budget") = py::none());
}

}  // namespace virnuc::bindings
