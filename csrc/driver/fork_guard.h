// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <mutex>

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

/// Locks a mutex of an object; in a forked child only if nobody holds it, since whoever does has not come along and
/// will never let go.
inline std::unique_lock<std::mutex> lock_unless_orphaned(std::mutex& mutex, const OwnerProcess& owner) {
    return owner.is_current() ? std::unique_lock(mutex) : std::unique_lock(mutex, std::try_to_lock);
}

/// A process-wide object with a lock of its own: a forked child gets a new one, since its parent's may be locked for
/// ever. Never destroyed: threads may outlive static destructors.
template <typename Object>
class PerProcess {
  public:
    Object& get() {
        Entry* known = current_.load(std::memory_order_acquire);
        if (known != nullptr && known->owner.is_current()) return known->object;
        auto* made = new Entry{{}, {}, known};
        if (current_.compare_exchange_strong(known, made, std::memory_order_acq_rel)) return made->object;
        delete made;  // another thread was faster
        return known->object;
    }

  private:
    struct Entry {
        Object object;
        OwnerProcess owner;
        Entry* parents;  ///< what it holds may be in use still
    };
    std::atomic<Entry*> current_{nullptr};
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
