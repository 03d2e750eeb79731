// SPDX-License-Identifier: MIT
#include "device/cuda_context.h"

#include <cstdint>

namespace virnuc {

CudaContext::CudaContext(const CudaApi& api, int ordinal) : api_(&api) {
    api.check(api.device_get(&device_, ordinal), "cuDeviceGet");
    api.check(api.primary_context_retain(&context_, device_), "cuDevicePrimaryCtxRetain");
}

void CudaContext::release() noexcept {
    if (context_ == nullptr) return;
    context_ = nullptr;
    if (owner_.is_current()) api_->primary_context_release(device_);
}

CurrentContext::CurrentContext(const CudaContext& context) : api_(&context.api()) {
    api_->check(api_->context_push(context.handle()), "cuCtxPushCurrent_v2");
}

CurrentContext::~CurrentContext() {
    CUcontext popped = nullptr;
    api_->context_pop(&popped);
}

namespace {

/// Whether a stream belongs to our context. A default stream belongs to the current context.
CUresult is_ours(const CudaContext& context, CUstream stream, bool& ours) noexcept {
    ours = reinterpret_cast<std::uintptr_t>(stream) > 2;
    if (ours) return CUDA_SUCCESS;
    CUcontext current = nullptr;
    const CUresult result = context.api().context_current(&current);
    ours = current == context.handle();
    return result;
}

}  // namespace

bool is_capturing(const CudaContext& context, CUstream stream) noexcept {
    bool ours = false;
    if (is_ours(context, stream, ours) != CUDA_SUCCESS || !ours) return false;
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    const CUresult result = context.api().stream_is_capturing(stream, &status);
    // The legacy default stream must not be used while a stream that synchronizes with it is being captured.
    if (result == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT) return true;
    return result == CUDA_SUCCESS && status != CU_STREAM_CAPTURE_STATUS_NONE;
}

CUresult record_event(const CudaContext& context, CUevent event, CUstream stream) noexcept {
    const CudaApi& api = context.api();
    bool ours = false;
    if (const CUresult result = is_ours(context, stream, ours); result != CUDA_SUCCESS) return result;
    if (ours) {
        const CUresult result = api.event_record(event, stream);
        if (result != CUDA_ERROR_INVALID_CONTEXT) return result;  // otherwise the thread has no context at all
    }
    if (const CUresult result = api.context_push(context.handle()); result != CUDA_SUCCESS) return result;
    const CUresult result = api.event_record(event, stream);
    CUcontext popped = nullptr;
    api.context_pop(&popped);
    return result;
}

}  // namespace virnuc
