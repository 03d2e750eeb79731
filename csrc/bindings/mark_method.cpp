// SPDX-License-Identifier: MIT
// Batch.mark() is called so often that pybind11's dispatcher would take half of its time (100 of 200 ns without a
// device). It is therefore a bare CPython method that receives its arguments as an array.
//
// It relies on pybind11's internals to unwrap `self`: a Python object of a bound class starts with a
// py::detail::instance, and value_ptr() of its first value_and_holder is the C++ object, or null before __init__. These
// internals are not part of pybind11's API, so pyproject.toml bounds its version.
#include "bindings/mark_method.h"

#include <exception>
#include <new>
#include <optional>
#include <stdexcept>
#include <string_view>

#include "capture/batch.h"

namespace py = pybind11;

namespace virnuc::bindings {

namespace {

/// Thrown when a Python error is already set.
struct ErrorIsSet {};

/// Sets a Python error like PyErr_Format, and throws. If a value has no text, the error is its own:
/// until Python 3.11, PyErr_Format replaces that error with one that says nothing.
template <typename... Values>
[[noreturn]] void fail(PyObject* kind, const char* format, Values... values) {
    if (PyObject* message = PyUnicode_FromFormat(format, values...)) {
        PyErr_SetObject(kind, message);
        Py_DECREF(message);
    }
    throw ErrorIsSet{};
}

/// Returns the UTF-8 text of a str, which the caller's argument keeps alive.
std::string_view stage_name(PyObject* text) {
    if (PyUnicode_Check(text) == 0) {
        fail(PyExc_TypeError, "stage is %.100R, must be the name (str) of one of the profiler's stages", text);
    }
    Py_ssize_t size = 0;
    const char* data = PyUnicode_AsUTF8AndSize(text, &size);
    if (data == nullptr) throw ErrorIsSet{};
    return {data, static_cast<std::size_t>(size)};
}

[[noreturn]] void reject_stream(PyObject* kind, PyObject* stream) {
    fail(kind, "stream is %.100R, must be a CUstream handle (int), such as torch.cuda.current_stream().cuda_stream",
         stream);
}

/// Converts a stream argument. It accepts any integer, including NumPy's, like pybind11 does elsewhere.
std::optional<Stream> stream_handle(PyObject* stream) {
    if (stream == nullptr || stream == Py_None) return std::nullopt;
    static_assert(sizeof(Stream) == sizeof(std::size_t));
    if (PyIndex_Check(stream) == 0) reject_stream(PyExc_TypeError, stream);
    const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(stream));
    if (!number) throw ErrorIsSet{};
    const std::size_t handle = PyLong_AsSize_t(number.ptr());
    if (handle == static_cast<std::size_t>(-1) && PyErr_Occurred() != nullptr) {
        PyErr_Clear();
        reject_stream(PyExc_ValueError, stream);
    }
    return handle;
}

struct MarkArguments {
    PyObject* stage = nullptr;
    PyObject* stream = nullptr;
};

/// Parses arguments by position or by name, as Python would.
MarkArguments parse(PyObject* const* arguments, Py_ssize_t positional, PyObject* names) {
    MarkArguments parsed;
    if (positional > 2) {
        fail(PyExc_TypeError, "mark() takes a stage and a stream, got %zd arguments: mark(stage, stream=None)",
             positional);
    }
    if (positional > 0) parsed.stage = arguments[0];
    if (positional > 1) parsed.stream = arguments[1];
    const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; i < named; ++i) {
        PyObject* name = PyTuple_GET_ITEM(names, i);
        const bool is_stage = PyUnicode_CompareWithASCIIString(name, "stage") == 0;
        const bool is_stream = PyUnicode_CompareWithASCIIString(name, "stream") == 0;
        if (!is_stage && !is_stream) {
            fail(PyExc_TypeError, "mark() has no argument '%U': mark(stage, stream=None)", name);
        }
        PyObject*& value = is_stage ? parsed.stage : parsed.stream;
        if (value != nullptr) fail(PyExc_TypeError, "mark() got '%U' twice: mark(stage, stream=None)", name);
        value = arguments[positional + i];
    }
    if (parsed.stage == nullptr) fail(PyExc_TypeError, "mark() needs a stage: mark(stage, stream=None)");
    return parsed;
}

PyObject* mark(PyObject* self, PyObject* const* arguments, Py_ssize_t positional, PyObject* names) {
    try {
        // The method descriptor has checked the type of `self`. The class is final, so the instance holds one value
        // only.
        auto* const instance = reinterpret_cast<py::detail::instance*>(self);
        auto* const batch = instance->get_value_and_holder().value_ptr<Batch>();
        if (batch == nullptr)
            throw std::invalid_argument("this Batch was not made by a Timeline: begin one with begin_batch()");
        const MarkArguments parsed = parse(arguments, positional, names);
        batch->mark(stage_name(parsed.stage), stream_handle(parsed.stream));
        Py_RETURN_NONE;
    } catch (const ErrorIsSet&) {
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::logic_error& error) {
        PyErr_SetString(PyExc_ValueError, error.what());
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

}  // namespace

void define_mark(const py::object& batch_class) {
    static PyMethodDef method{"mark", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&mark)),
                              METH_FASTCALL | METH_KEYWORDS,
                              "mark($self, stage, stream=None)\n--\n\nEnd the running stage and start another one."};
    PyObject* descriptor = PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(batch_class.ptr()), &method);
    if (descriptor == nullptr) throw py::error_already_set();
    batch_class.attr("mark") = py::reinterpret_steal<py::object>(descriptor);
}

}  // namespace virnuc::bindings
