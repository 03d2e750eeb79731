// SPDX-License-Identifier: MIT
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace virnuc {

/// Base class of the errors that this core throws on purpose. Misuse throws std::invalid_argument.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// A CUDA driver call failed.
class CudaError : public Error {
  public:
    CudaError(const std::string& message, int code, std::string call)
        : Error(message), code_(code), call_(std::move(call)) {}

    [[nodiscard]] int code() const noexcept { return code_; }
    [[nodiscard]] const std::string& call() const noexcept { return call_; }

  private:
    int code_;
    std::string call_;
};

/// A required library cannot be used. The message says why.
class LibraryUnavailable : public Error {
  public:
    using Error::Error;
};

}  // namespace virnuc
