// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>

namespace virnuc {

/// Whether an optional library can be used, and if not, why.
struct LibraryStatus {
    std::string path;                        ///< file of the library; empty if none was found
    std::string reason;                      ///< why the library is unavailable; empty if it is available
    std::optional<int> code = std::nullopt;  ///< result of its initialization that failed; empty without one

    [[nodiscard]] bool available() const noexcept { return reason.empty(); }
};

/// A library that is loaded at run time. It is never closed, because drivers have their own threads and exit handlers.
class DynamicLibrary {
  public:
    /// Loads the file that the environment variable names. Without one, looks for `soname` in the process and then on
    /// the loader's path.
    ///
    /// An override that cannot be loaded is not replaced by another library.
    static DynamicLibrary find(const char* override_variable, const char* soname);

    /// Returns the address of a symbol, or nullptr.
    [[nodiscard]] void* symbol(const char* name) const noexcept;
    [[nodiscard]] const LibraryStatus& status() const noexcept { return status_; }

  private:
    void* handle_ = nullptr;
    LibraryStatus status_;
};

}  // namespace virnuc
