// SPDX-License-Identifier: MIT
#include "device/nvtx_range.h"

#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <vector>

#include "driver/fork_guard.h"

namespace virnuc {

namespace {

// Everything here lives as long as the process, because threads may end after static destructors have run.
nvtxDomainHandle_t domain() {
    static nvtxDomainHandle_t const handle = nvtxDomainCreateA("virnuc_profiler");
    return handle;
}

}  // namespace

/// The open ranges of one thread. Only that thread pushes and pops; other threads may mark a slot as ended.
class RangeStack {
  public:
    RangeToken push(const RangeLabel& label, std::uint64_t payload) noexcept {
        pop_ended();
        if (depth_ == slots_.size()) return {};
        nvtxEventAttributes_t attributes{};
        attributes.version = NVTX_VERSION;
        attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
        attributes.category = label.category;
        attributes.messageType = NVTX_MESSAGE_TYPE_REGISTERED;
        attributes.message.registered = label.message;
        attributes.payloadType = NVTX_PAYLOAD_TYPE_UNSIGNED_INT64;
        attributes.payload.ullValue = payload;
        nvtxDomainRangePushEx(domain(), &attributes);
        const std::uint64_t serial = ++serial_;
        slots_[depth_].store(serial << 1U, std::memory_order_relaxed);
        return {this, depth_++, serial};
    }

    /// Any thread may call this. A slot that meanwhile holds another range is left alone.
    void mark_ended(const RangeToken& token) noexcept {
        std::uint64_t open = token.serial << 1U;
        slots_[token.slot].compare_exchange_strong(open, open | 1U, std::memory_order_relaxed);
    }

    /// Pops the ended ranges, from the innermost outwards, up to the first open one.
    void pop_ended() noexcept {
        while (depth_ > 0 && (slots_[depth_ - 1].load(std::memory_order_relaxed) & 1U) != 0) {
            nvtxDomainRangePop(domain());
            --depth_;
        }
    }

    /// Prepares the stack for the next thread. Ranges that are still open end with their thread.
    void reset() noexcept {
        for (auto& slot : slots_) slot.store(0, std::memory_order_relaxed);
        depth_ = 0;
    }

  private:
    std::array<std::atomic<std::uint64_t>, 64> slots_{};  ///< serial × 2, plus 1 once ended
    std::uint32_t depth_ = 0;
    std::uint64_t serial_ = 0;
};

namespace {

/// Stacks are reused by later threads and never freed, because tokens point to them.
struct StackPool {
    std::mutex mutex;
    std::vector<RangeStack*> free;

    static StackPool& instance() {
        static PerProcess<StackPool> stores;
        return stores.get();
    }
    RangeStack* acquire() {
        const std::lock_guard lock(mutex);
        if (free.empty()) return new RangeStack;
        RangeStack* stack = free.back();
        free.pop_back();
        return stack;
    }
    void release(RangeStack* stack) {
        stack->reset();
        const std::lock_guard lock(mutex);
        free.push_back(stack);
    }
};

struct ThreadStack {
    RangeStack* stack = StackPool::instance().acquire();
    ThreadStack() = default;
    ThreadStack(const ThreadStack&) = delete;
    ThreadStack& operator=(const ThreadStack&) = delete;
    ~ThreadStack() { StackPool::instance().release(stack); }
};

struct LabelStore {
    std::mutex mutex;
    std::map<std::string, RangeLabel> labels;
};

RangeStack& current_stack() {
    thread_local ThreadStack holder;
    return *holder.stack;
}

}  // namespace

RangeLabel range_label(const std::string& stage) {
    static PerProcess<LabelStore> stores;
    LabelStore& store = stores.get();
    const std::lock_guard lock(store.mutex);
    const auto [entry, added] = store.labels.try_emplace(stage);
    if (added) {
        const auto category = static_cast<std::uint32_t>(store.labels.size());
        nvtxDomainNameCategoryA(domain(), category, stage.c_str());
        entry->second = {nvtxDomainRegisterStringA(domain(), stage.c_str()), category};
    }
    return entry->second;
}

RangeToken begin_range(const RangeLabel& label, std::uint64_t payload) noexcept {
    return current_stack().push(label, payload);
}

bool end_range(const RangeToken& token) noexcept {
    if (token.stack == nullptr) return true;
    RangeStack& own = current_stack();
    token.stack->mark_ended(token);
    if (token.stack != &own) return false;
    own.pop_ended();
    return true;
}

}  // namespace virnuc
