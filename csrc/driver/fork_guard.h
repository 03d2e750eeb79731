// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <mutex>

namespace virnuc {

namespace detail {
/// Number of forks between the process that loaded this library and the current one.
extern std::atomic<unsigned> fork_generation;
}  // namespace detail

/// Identifies the process that created an object. A forked child must not use its parent's CUDA or NVML state, nor wait
/// for its parent's threads, which a fork does not copy.
///
/// The check costs one relaxed load, whereas getpid() is a system call.
class OwnerProcess {
  public:
    [[nodiscard]] bool is_current() const noexcept {
        return generation_ == detail::fork_generation.load(std::memory_order_relaxed);
    }

  private:
    unsigned generation_ = detail::fork_generation.load(std::memory_order_relaxed);
};

/// Locks a mutex of an object. A forked child only tries to lock it, because a thread that held it in the parent does
/// not exist there and never unlocks it.
inline std::unique_lock<std::mutex> lock_unless_orphaned(std::mutex& mutex, const OwnerProcess& owner) {
    return owner.is_current() ? std::unique_lock(mutex) : std::unique_lock(mutex, std::try_to_lock);
}

/// A process-wide object with its own mutex. A forked child gets a new one, because its parent's mutex may stay locked
/// forever.
///
/// Objects are never destroyed, because threads may outlive static destructors.
template <typename Object>
class PerProcess {
  public:
    Object& get() {
        Entry* known = current_.load(std::memory_order_acquire);
        if (known != nullptr && known->owner.is_current()) return known->object;
        auto* created = new Entry{{}, {}, known};
        if (current_.compare_exchange_strong(known, created, std::memory_order_acq_rel)) return created->object;
        delete created;  // another thread was faster
        return known->object;
    }

  private:
    struct Entry {
        Object object;
        OwnerProcess owner;
        Entry* parent;  ///< kept, because its contents may still be in use
    };
    std::atomic<Entry*> current_{nullptr};
};

/// Remembers the first process that initialized a library.
class LibraryOwner {
  public:
    /// Whether a parent of this process initialized the library.
    [[nodiscard]] bool is_parent() const noexcept {
        const unsigned owner = owner_.load();
        return owner != 0 && owner != current();
    }
    void claim() noexcept {
        unsigned unowned = 0;
        owner_.compare_exchange_strong(unowned, current());
    }

  private:
    static unsigned current() noexcept { return detail::fork_generation.load(std::memory_order_relaxed) + 1; }

    std::atomic<unsigned> owner_{0};
};

}  // namespace virnuc
