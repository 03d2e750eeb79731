// SPDX-License-Identifier: MIT
#include "device/gpu_meter.h"

#include <limits>
#include <utility>

#include "device/not_measured.h"
#include "device/nvml_query.h"
#include "driver/errors.h"
#include "driver/fork_guard.h"

namespace virnuc {

namespace {

/// Sums up the results of several queries.
struct Tally {
    int measured = 0;
    int failed = 0;

    bool count(nvmlReturn_t result) {
        if (result == NVML_SUCCESS) {
            ++measured;
        } else if (!is_unsupported(result)) {
            ++failed;
        }
        return result == NVML_SUCCESS;
    }
    [[nodiscard]] QueryState state() const {
        if (measured == 0) return failed > 0 ? QueryState::failed : QueryState::unsupported;
        return failed > 0 ? QueryState::partial : QueryState::measured;
    }
};

/// Reads one unsigned counter. Returns not_measured if that fails.
template <typename Value, typename Function, typename... Arguments>
std::int64_t read_counter(Tally& tally, Function function, Arguments... arguments) {
    Value value{};
    return tally.count(query_nvml(function, arguments..., &value)) ? static_cast<std::int64_t>(value) : not_measured;
}

std::int64_t used_memory(Tally& tally, const NvmlApi& api, nvmlDevice_t device) {
    nvmlMemory_v2_t memory{};
    memory.version = nvmlMemory_v2;
    const nvmlReturn_t result = query_nvml(api.memory, device, &memory);
    if (result == NVML_SUCCESS || !is_unsupported(result)) {
        return tally.count(result) ? static_cast<std::int64_t>(memory.used) : not_measured;
    }
    nvmlMemory_t older{};  // counts the memory that the driver reserves as used
    return tally.count(query_nvml(api.memory_v1, device, &older)) ? static_cast<std::int64_t>(older.used)
                                                                  : not_measured;
}

}  // namespace

LibraryStatus nvml_status() {
    static LibraryOwner owner;
    LibraryStatus status = nvml_library().status;
    if (!status.available()) return status;
    if (owner.is_parent()) {
        status.reason = "NVML was initialized before this process was forked; start workers with spawn or forkserver";
    } else if (const nvmlReturn_t result = nvml_library().api.init(); result != NVML_SUCCESS) {
        status.reason = nvml_library().api.describe(result, "nvmlInit_v2");
        status.code = result;
    } else {
        owner.claim();
    }
    return status;
}

GpuMeter::GpuMeter(const NvmlApi& api, const std::string& uuid) : api_(&api) {
    if (const nvmlReturn_t result = api.device_by_uuid(uuid.c_str(), &device_); result != NVML_SUCCESS) {
        throw LibraryUnavailable("NVML has no device '" + uuid +
                                 "': " + api.describe(result, "nvmlDeviceGetHandleByUUID"));
    }
    card_ = device_;
    unsigned mig = 0;
    mig_ = query_nvml(api.is_mig, device_, &mig) == NVML_SUCCESS && mig != 0;
    if (mig_ && query_nvml(api.mig_parent, device_, &card_) != NVML_SUCCESS) card_ = device_;
}

QueryState GpuMeter::read_fast(FastReading& reading) const {
    const NvmlApi& api = *api_;
    Tally tally;
    nvmlUtilization_t utilization{};
    const bool utilized = tally.count(query_nvml(api.utilization, device_, &utilization));
    reading.utilization_percent = utilized ? std::int64_t{utilization.gpu} : not_measured;
    reading.memory_utilization_percent = utilized ? std::int64_t{utilization.memory} : not_measured;
    reading.power_mw = read_counter<unsigned>(tally, api.power, device_);
    reading.sm_clock_mhz = read_counter<unsigned>(tally, api.clock, card_, NVML_CLOCK_SM);
    reading.memory_clock_mhz = read_counter<unsigned>(tally, api.clock, card_, NVML_CLOCK_MEM);
    reading.temperature_c = read_counter<unsigned>(tally, api.temperature, card_, NVML_TEMPERATURE_GPU);
    const auto reasons = api.clock_event_reasons != nullptr ? api.clock_event_reasons : api.clock_throttle_reasons;
    reading.throttle_reasons = read_counter<unsigned long long>(tally, reasons, card_);
    reading.used_memory_bytes = used_memory(tally, api, device_);
    return tally.state();
}

QueryState GpuMeter::read_energy(EnergyReading& reading) const {
    Tally tally;
    reading.energy_mj = read_counter<unsigned long long>(tally, api_->total_energy, device_);
    return tally.state();
}

std::int64_t GpuMeter::max_sm_clock_mhz() const {
    Tally tally;
    return read_counter<unsigned>(tally, api_->max_clock, card_, NVML_CLOCK_SM);
}

std::string GpuMeter::gpm_unsupported() const {
    const NvmlApi& api = *api_;
    if (api.gpm_sample_alloc == nullptr || api.gpm_sample_free == nullptr || api.gpm_metrics_get == nullptr ||
        (mig_ ? api.gpm_mig_sample_get == nullptr : api.gpm_sample_get == nullptr)) {
        return "this NVML has no GPM metrics; driver 520 or newer is needed";
    }
    nvmlGpmSupport_t support{};
    support.version = NVML_GPM_SUPPORT_VERSION;
    const nvmlReturn_t result = query_nvml(api.gpm_support, card_, &support);
    if (result != NVML_SUCCESS) return api.describe(result, "nvmlGpmQueryDeviceSupport");
    if (support.isSupportedDevice == 0) return "this GPU has no GPM metrics; Hopper and later have them";
    return "";
}

GpmReader::~GpmReader() {
    for (nvmlGpmSample_t sample : {previous_, latest_}) {
        if (sample != nullptr) meter_->api_->gpm_sample_free(sample);
    }
}

bool GpmReader::sample() {
    const NvmlApi& api = *meter_->api_;
    std::swap(previous_, latest_);
    if (latest_ == nullptr && api.gpm_sample_alloc(&latest_) != NVML_SUCCESS) return false;
    unsigned instance = 0;
    if (!meter_->mig_) return api.gpm_sample_get(meter_->device_, latest_) == NVML_SUCCESS;
    return query_nvml(api.gpu_instance_id, meter_->device_, &instance) == NVML_SUCCESS &&
           api.gpm_mig_sample_get(meter_->card_, instance, latest_) == NVML_SUCCESS;
}

bool GpmReader::activity(GpmReading& reading) const {
    nvmlGpmMetricsGet_t request{};
    request.version = NVML_GPM_METRICS_GET_VERSION;
    request.numMetrics = 3;
    request.sample1 = previous_;
    request.sample2 = latest_;
    request.metrics[0].metricId = NVML_GPM_METRIC_SM_UTIL;
    request.metrics[1].metricId = NVML_GPM_METRIC_ANY_TENSOR_UTIL;
    request.metrics[2].metricId = NVML_GPM_METRIC_DRAM_BW_UTIL;
    if (meter_->api_->gpm_metrics_get(&request) != NVML_SUCCESS) return false;
    const auto share = [&request](std::size_t i) {
        const nvmlGpmMetric_t& metric = request.metrics[i];
        return metric.nvmlReturn == NVML_SUCCESS ? metric.value / 100.0 : std::numeric_limits<double>::quiet_NaN();
    };
    reading.sm_activity = share(0);
    reading.tensor_activity = share(1);
    reading.dram_activity = share(2);
    return true;
}

}  // namespace virnuc
