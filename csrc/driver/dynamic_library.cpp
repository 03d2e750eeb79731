// SPDX-License-Identifier: MIT
#include "driver/dynamic_library.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdlib>

namespace virnuc {

DynamicLibrary DynamicLibrary::find(const char* override_variable, const char* soname) {
    DynamicLibrary library;
    const char* override_path = std::getenv(override_variable);  // NOLINT(concurrency-mt-unsafe): read once
    const bool overridden = override_path != nullptr && *override_path != '\0';
    if (overridden) {
        library.handle_ = dlopen(override_path, RTLD_LAZY | RTLD_LOCAL);
    } else {
        library.handle_ = dlopen(soname, RTLD_LAZY | RTLD_NOLOAD);
        if (library.handle_ == nullptr) library.handle_ = dlopen(soname, RTLD_LAZY | RTLD_LOCAL);
    }
    if (library.handle_ == nullptr) {
        const char* error = dlerror();  // NOLINT(concurrency-mt-unsafe): glibc's is per thread
        library.status_.reason = error != nullptr ? error : std::string("cannot load ") + soname;
        if (overridden) library.status_.reason += std::string(" (named by ") + override_variable + ")";
        return library;
    }
    link_map* map = nullptr;
    const bool known = dlinfo(library.handle_, RTLD_DI_LINKMAP, static_cast<void*>(&map)) == 0 && map != nullptr;
    library.status_.path = known ? map->l_name : soname;
    return library;
}

void* DynamicLibrary::symbol(const char* name) const noexcept {
    return handle_ == nullptr ? nullptr : dlsym(handle_, name);
}

}  // namespace virnuc
