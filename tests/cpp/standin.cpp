// SPDX-License-Identifier: MIT
#include "standin.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace standin {

namespace {

virnuc::DynamicLibrary open(const char* path) {
    setenv("STANDIN_PATH", path, 1);
    auto library = virnuc::DynamicLibrary::find("STANDIN_PATH", "none.so");
    if (!library.status().available()) throw std::runtime_error(library.status().reason);
    return library;
}

template <typename Function>
void bind(const virnuc::DynamicLibrary& library, const std::string& name, Function& function) {
    function = reinterpret_cast<Function>(library.symbol(name.c_str()));
    if (function == nullptr) throw std::runtime_error("no symbol " + name);
}

}  // namespace

namespace {

const virnuc::DynamicLibrary& cuda_library() {
    static const virnuc::DynamicLibrary library = open(STANDIN_CUDA);
    return library;
}

Cuda& cuda_control() {
    const virnuc::DynamicLibrary& library = cuda_library();
    static const virnuc::CudaLibrary loaded = virnuc::load_cuda(library);
    static Cuda control = [&library] {
        Cuda functions{loaded.api, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
        bind(library, "standin_cuda_fail", functions.fail);
        bind(library, "standin_cuda_hang", functions.hang);
        bind(library, "standin_cuda_vanish", functions.vanish);
        bind(library, "standin_cuda_set_clock", functions.set_clock);
        bind(library, "standin_cuda_launch", functions.launch);
        bind(library, "standin_cuda_hold", functions.hold);
        bind(library, "standin_cuda_capture", functions.capture);
        bind(library, "standin_cuda_calls", functions.calls);
        bind(library, "standin_cuda_live_events", functions.live_events);
        bind(library, "standin_cuda_retained_contexts", functions.retained_contexts);
        bind(library, "standin_cuda_busy_until", functions.busy_until);
        bind(library, "standin_cuda_host_now", functions.host_now);
        bind(library, "standin_cuda_use_virtual_time", functions.use_virtual_time);
        bind(library, "standin_cuda_advance", functions.advance);
        return functions;
    }();
    return control;
}

}  // namespace

Cuda& cuda() {
    void (*reset)() = nullptr;
    bind(cuda_library(), "standin_cuda_reset", reset);
    reset();
    return cuda_control();
}

std::int64_t cuda_host_now() noexcept {
    static const auto now = cuda_control().host_now;
    return now();
}

Nvml& nvml() {
    static const virnuc::DynamicLibrary library = open(STANDIN_NVML);
    static const virnuc::NvmlLibrary loaded = virnuc::load_nvml(library);
    static Nvml control = [] {
        Nvml functions{loaded.api, {}, {}, {}, {}};
        bind(library, "standin_nvml_set", functions.set);
        bind(library, "standin_nvml_fail", functions.fail);
        bind(library, "standin_nvml_stall", functions.stall);
        bind(library, "standin_nvml_calls", functions.calls);
        return functions;
    }();
    return control;
}

}  // namespace standin
