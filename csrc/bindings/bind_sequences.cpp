// SPDX-License-Identifier: MIT
#include <pybind11/stl.h>

#include <cerrno>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "packing/fasta_index.h"
#include "packing/file_ranges.h"
#include "packing/gather.h"
#include "packing/residue_encoder.h"

namespace py = pybind11;

namespace virnuc::bindings {

namespace {

/// The bytes of an object with a contiguous buffer, held for the lifetime of the view.
class ByteView {
  public:
    explicit ByteView(const py::object& object) {
        if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) throw py::error_already_set();
    }
    ~ByteView() { PyBuffer_Release(&view_); }
    ByteView(const ByteView&) = delete;
    ByteView& operator=(const ByteView&) = delete;
    ByteView(ByteView&&) = delete;
    ByteView& operator=(ByteView&&) = delete;

    [[nodiscard]] std::span<const std::uint8_t> bytes() const {
        return {static_cast<const std::uint8_t*>(view_.buf), static_cast<std::size_t>(view_.len)};
    }

  private:
    Py_buffer view_{};
};

/// The result of an encoding as Python sees it: arrays that own their memory.
struct EncodedArrays {
    py::array_t<std::uint8_t> tokens;
    py::array_t<std::int64_t> offsets;
    std::int64_t truncated;
    std::int64_t unknown_residues;
};

EncodedArrays to_arrays(EncodedSequences&& encoded) {
    const auto size = static_cast<py::ssize_t>(encoded.offsets.back());
    const py::capsule owner(encoded.tokens.get(), [](void* tokens) { delete[] static_cast<std::uint8_t*>(tokens); });
    std::uint8_t* const tokens = encoded.tokens.release();
    return {py::array_t<std::uint8_t>(size, tokens, owner), to_array(std::move(encoded.offsets)), encoded.truncated,
            encoded.unknown_residues};
}

std::size_t to_limit(std::optional<std::size_t> max_faults) {
    return max_faults.value_or(std::numeric_limits<std::size_t>::max());
}

FastaIndex index_text(const py::object& text, std::optional<std::size_t> max_faults) {
    const ByteView view(text);
    const py::gil_scoped_release release;
    return index_fasta(view.bytes(), to_limit(max_faults));
}

void feed_indexer(FastaIndexer& indexer, const py::object& piece) {
    const ByteView view(piece);
    const py::gil_scoped_release release;
    indexer.feed(view.bytes());
}

/// Identifiers may not be UTF-8.
py::str to_text(const std::string& id) {
    PyObject* text = PyUnicode_DecodeUTF8(id.data(), static_cast<py::ssize_t>(id.size()), "replace");
    if (!text) throw py::error_already_set();
    return py::reinterpret_steal<py::str>(text);
}

/// Returns (kind, sequences, count, line, identifier) of each finding.
py::list findings_of(const FastaIndex& index) {
    py::list found;
    for (std::size_t i = 0; i < FastaFinding::kinds; ++i) {
        const FastaFinding& finding = index.findings[i];
        if (finding.count == 0) continue;
        const char* const kind = FastaFinding::name(static_cast<FastaFinding::Kind>(i));
        found.append(py::make_tuple(kind, finding.sequences, finding.count, finding.line, to_text(finding.id)));
    }
    return found;
}

/// Returns (line, identifier, reason).
py::tuple fault_at(const FastaIndex& index, std::size_t position) {
    if (position >= index.faults.size()) throw py::index_error("no fault is described at this position");
    const FastaFault& fault = index.faults[position];
    return py::make_tuple(fault.line, to_text(fault.id), fault.reason());
}

EncodedArrays encode(const py::object& text, const Array<std::int64_t>& starts, const Array<std::int64_t>& ends,
                     const Array<std::uint8_t>& table, std::uint8_t bos, std::uint8_t eos, std::uint8_t unknown,
                     std::int64_t max_residues, bool skip_comments) {
    const ByteView view(text);
    const auto starts_span = read_span(starts, "starts");
    const auto ends_span = read_span(ends, "ends");
    const ResidueEncoder encoder(read_span(table, "table"), bos, eos, unknown, max_residues);
    EncodedSequences encoded;
    {
        const py::gil_scoped_release release;
        encoded = encoder.encode(view.bytes(), starts_span, ends_span, skip_comments);
    }
    return to_arrays(std::move(encoded));
}

/// Returns the bytes, and the start of each range in them.
py::tuple read_ranges(int descriptor, const Array<std::int64_t>& starts, const Array<std::int64_t>& ends) {
    const auto starts_span = read_span(starts, "starts");
    const auto ends_span = read_span(ends, "ends");
    FileRanges found;
    try {
        const py::gil_scoped_release release;
        found = read_file_ranges(descriptor, starts_span, ends_span);
    } catch (const std::system_error& error) {
        errno = error.code().value();
        PyErr_SetFromErrno(PyExc_OSError);
        throw py::error_already_set();
    } catch (const std::out_of_range& error) {
        PyErr_SetString(PyExc_EOFError, error.what());
        throw py::error_already_set();
    }
    const auto size = static_cast<py::ssize_t>(found.size);
    const py::capsule owner(found.bytes.get(), [](void* bytes) { delete[] static_cast<std::uint8_t*>(bytes); });
    std::uint8_t* const bytes = found.bytes.release();
    return py::make_tuple(py::array_t<std::uint8_t>(size, bytes, owner), to_array(std::move(found.starts)));
}

py::array_t<std::int32_t> gather(const Array<std::uint8_t>& tokens, const Array<std::int64_t>& offsets,
                                 const Array<std::int64_t>& order, Array<std::uint8_t>& out) {
    const auto tokens_span = read_span(tokens, "tokens");
    const auto offsets_span = read_span(offsets, "offsets");
    const auto order_span = read_span(order, "order");
    if (out.ndim() != 1) throw py::value_error("out must be one-dimensional");
    const std::span<std::uint8_t> out_span{out.mutable_data(), static_cast<std::size_t>(out.size())};
    std::vector<std::int32_t> cu_seqlens;
    {
        const py::gil_scoped_release release;
        cu_seqlens = gather_sequences(tokens_span, offsets_span, order_span, out_span);
    }
    return to_array(std::move(cu_seqlens));
}

/// Returns a read-only view of one of the index's arrays. The view keeps the index alive.
template <std::vector<std::int64_t> FastaIndex::* Member>
py::array_t<std::int64_t> index_array(const py::object& self) {
    const auto& values = self.cast<const FastaIndex&>().*Member;
    py::array_t<std::int64_t> array(static_cast<py::ssize_t>(values.size()), values.data(), self);
    array.attr("setflags")(py::arg("write") = false);
    return array;
}

void register_format_error(py::module_& module) {
    // The module keeps the class alive. A bare handle, unlike an object, is not destroyed after the interpreter.
    static const py::handle type =
        py::exception<FastaFormatError>(module, "FastaFormatError", PyExc_ValueError).release();
    py::register_exception_translator([](std::exception_ptr pointer) {
        try {
            if (pointer) std::rethrow_exception(pointer);
        } catch (const FastaFormatError& error) {
            const std::string_view message = error.what();  // may quote an identifier that is not UTF-8
            const auto text = py::reinterpret_steal<py::object>(
                PyUnicode_DecodeUTF8(message.data(), static_cast<py::ssize_t>(message.size()), "replace"));
            PyErr_SetObject(type.ptr(), py::make_tuple(text, error.line()).ptr());
        }
    });
}

}  // namespace

void register_sequences(py::module_& module) {
    register_format_error(module);

    py::class_<FastaIndex>(module, "FastaIndex")
        .def_property_readonly("header_starts", &index_array<&FastaIndex::header_starts>)
        .def_property_readonly("id_ends", &index_array<&FastaIndex::id_ends>)
        .def_property_readonly("sequence_starts", &index_array<&FastaIndex::sequence_starts>)
        .def_property_readonly("sequence_ends", &index_array<&FastaIndex::sequence_ends>)
        .def_property_readonly("residue_counts", &index_array<&FastaIndex::residue_counts>)
        .def_readonly("fault_count", &FastaIndex::fault_count)
        .def_property_readonly("described_faults", [](const FastaIndex& index) { return index.faults.size(); })
        .def("fault", &fault_at, py::arg("position"))
        .def_property_readonly("findings", &findings_of)
        .def("__len__", [](const FastaIndex& index) { return index.header_starts.size(); });
    module.def("index_fasta", &index_text, py::arg("text"), py::kw_only(), py::arg("max_faults") = py::none());

    py::class_<FastaIndexer>(module, "FastaIndexer")
        .def(py::init([](std::optional<std::size_t> max_faults) {
                 return std::make_unique<FastaIndexer>(to_limit(max_faults));
             }),
             py::kw_only(), py::arg("max_faults") = py::none())
        .def("feed", &feed_indexer, py::arg("piece"))
        .def("finish", &FastaIndexer::finish, py::call_guard<py::gil_scoped_release>());

    py::class_<EncodedArrays>(module, "EncodedSequences")
        .def_readonly("tokens", &EncodedArrays::tokens)
        .def_readonly("offsets", &EncodedArrays::offsets)
        .def_readonly("truncated", &EncodedArrays::truncated)
        .def_readonly("unknown_residues", &EncodedArrays::unknown_residues);
    module.def("encode_residues", &encode, py::arg("text"), py::arg("starts"), py::arg("ends"), py::arg("table"),
               py::kw_only(), py::arg("bos"), py::arg("eos"), py::arg("unknown"), py::arg("max_residues"),
               py::arg("skip_comments") = false);
    module.def("read_file_ranges", &read_ranges, py::arg("descriptor"), py::arg("starts"), py::arg("ends"));
    module.def("gather_sequences", &gather, py::arg("tokens"), py::arg("offsets"), py::arg("order"),
               py::arg("out").noconvert());
}

}  // namespace virnuc::bindings
