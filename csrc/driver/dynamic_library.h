// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace virnuc {

/// Whether an optional library can be used, and why not.
struct LibraryStatus {
    std::string path;    ///< the file it came from; empty if none was found
    std::string reason;  ///< why it is not available; empty if it is

    [[nodiscard]] bool available() const noexcept { return reason.empty(); }
};

/// A library found at run time. Never closed: drivers keep threads and exit handlers of their own.
class DynamicLibrary {
  public:
    /// Looks where the environment variable points, then in the process, then for `soname` on the loader's
    /// path. An override that cannot be loaded is not replaced by another library.
    static DynamicLibrary find(const char* override_variable, const char* soname);

    /// Address of a symbol, or nullptr.
    [[nodiscard]] void* symbol(const char* name) const noexcept;
    [[nodiscard]] const LibraryStatus& status() const noexcept { return status_; }

  private:
    void* handle_ = nullptr;
    LibraryStatus status_;
};

}  // namespace virnuc
