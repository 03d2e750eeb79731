// SPDX-License-Identifier: MIT
#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "packing/bin_packer.h"
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
        [](const Array<std::int32_t>& cu_seqlens, std::optional<std::int64_t> token_budget) {
            return pack_statistics(read_span(cu_seqlens, "cu_seqlens"), token_budget);
        },
        py::arg("cu_seqlens"), py::arg("token_budget") = py::none());

    module.def(
        "pack_sequences",
        [](const Array<std::int64_t>& lengths, std::int64_t token_budget) {
            const auto lengths_span = read_span(lengths, "lengths");
            Packing packing;
            {
                const py::gil_scoped_release release;
                packing = pack_sequences(lengths_span, token_budget);
            }
            return py::make_tuple(to_array(std::move(packing.order)), to_array(std::move(packing.pack_offsets)));
        },
        py::arg("lengths"), py::arg("token_budget"));
}

}  // namespace virnuc::bindings
