// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>

namespace virnuc {

namespace detail {
/// Forks between the process that loaded this library and the current one.
extern std::atomic<unsigned> fork_generation;
}  // namespace detail

/// Remembers the process that made an object. Forked children must not use their parent's CUDA or NVML state,
/// nor wait for its threads, which a fork does not copy. Asking costs one relaxed load; getpid() is a system
/// call.
class OwnerProcess {
  public:
    [[nodiscard]] bool is_current() const noexcept {
        return generation_ == detail::fork_generation.load(std::memory_order_relaxed);
    }

  private:
    unsigned generation_ = detail::fork_generation.load(std::memory_order_relaxed);
};

/// Remembers the first process that initialised a library.
class LibraryOwner {
  public:
    /// Whether a parent of this process did.
    [[nodiscard]] bool is_parent() const noexcept {
        const unsigned owner = owner_.load();
        return owner != 0 && owner != current();
    }
    void claim() noexcept {
        unsigned nobody = 0;
        owner_.compare_exchange_strong(nobody, current());
    }

  private:
    static unsigned current() noexcept { return detail::fork_generation.load(std::memory_order_relaxed) + 1; }

    std::atomic<unsigned> owner_{0};
};

}  // namespace virnuc
