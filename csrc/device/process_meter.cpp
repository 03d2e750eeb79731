// SPDX-License-Identifier: MIT
#include "device/process_meter.h"

#include <unistd.h>

#include <algorithm>

#include "device/not_measured.h"
#include "device/nvml_query.h"

namespace virnuc {

namespace {

/// Fills a list whose length only NVML knows: repeats the query with the capacity that NVML asks for.
template <typename Element, typename Query>
nvmlReturn_t fill(std::vector<Element>& list, Query query) {
    list.resize(std::max<std::size_t>(list.capacity(), 16));
    for (int tries = 0; tries < 3; ++tries) {
        auto count = static_cast<unsigned>(list.size());
        const nvmlReturn_t result = query(list.data(), &count);
        if (result != NVML_ERROR_INSUFFICIENT_SIZE) {
            list.resize(result == NVML_SUCCESS ? count : 0);
            return result;
        }
        list.resize(std::max<std::size_t>(count, list.size()) + 16);  // more processes may start meanwhile
    }
    list.clear();
    return NVML_ERROR_INSUFFICIENT_SIZE;
}

}  // namespace

nvmlReturn_t ProcessMeter::list_processes() {
    return fill(processes_, [&](nvmlProcessInfo_t* list, unsigned* count) {
        for (unsigned i = 0; i < *count; ++i) list[i] = {};
        return query_nvml(meter_->api().compute_processes, meter_->device(), count, list);
    });
}

nvmlReturn_t ProcessMeter::list_utilization() {
    return fill(utilization_, [&](nvmlProcessUtilizationSample_t* list, unsigned* count) {
        return query_nvml(meter_->api().process_utilization, meter_->device(), list, count, last_seen_us_);
    });
}

QueryState ProcessMeter::read(ProcessReading& reading) {
    reading.other_processes = reading.other_sm_percent = not_measured;
    const auto own = static_cast<unsigned>(getpid());
    const nvmlReturn_t listed = list_processes();
    if (listed != NVML_SUCCESS) return is_unsupported(listed) ? QueryState::unsupported : QueryState::failed;
    const auto is_own = [own](const auto& process) { return process.pid == own; };
    if (std::none_of(processes_.begin(), processes_.end(), is_own)) return QueryState::pending;
    reading.other_processes = static_cast<std::int64_t>(processes_.size()) - 1;

    const nvmlReturn_t utilized = list_utilization();
    if (utilized == NVML_ERROR_NOT_FOUND) return QueryState::measured;  // no new sample
    if (utilized != NVML_SUCCESS) return is_unsupported(utilized) ? QueryState::measured : QueryState::partial;
    const bool first = last_seen_us_ == 0;  // the first answer includes processes that ended before the run
    reading.other_sm_percent = 0;
    for (const auto& sample : utilization_) {
        last_seen_us_ = std::max(last_seen_us_, sample.timeStamp);
        if (!is_own(sample)) reading.other_sm_percent += sample.smUtil;
    }
    if (first) reading.other_sm_percent = not_measured;
    return QueryState::measured;
}

}  // namespace virnuc
