// SPDX-License-Identifier: MIT
#include "device/event_pool.h"

namespace virnuc {

EventPool::EventPool(const CudaApi& api, std::size_t size) : api_(&api), size_(size), returned_(size) {
    all_.reserve(size);
    try {
        while (all_.size() < size) {
            CUevent event = nullptr;
            api.check(api.event_create(&event, CU_EVENT_DEFAULT), "cuEventCreate");
            all_.push_back(event);
        }
    } catch (...) {
        destroy();
        throw;
    }
}

void EventPool::destroy() noexcept {
    for (CUevent event : all_) api_->event_destroy(event);
    all_.clear();
    used_ = 0;
}

}  // namespace virnuc
