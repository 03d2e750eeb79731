// SPDX-License-Identifier: MIT
#include "capture/recording.h"

#include <algorithm>
#include <stdexcept>

namespace virnuc {

namespace {

std::string joined(const std::vector<Recording::StageInfo>& stages) {
    std::string names;
    for (const auto& stage : stages) names += (names.empty() ? "" : ", ") + stage.name;
    return names;
}

}  // namespace

Recording::Recording(std::vector<std::string> stages, const std::vector<std::string>& device_stages, bool with_nvtx,
                     Clock clock)
    : nvtx(with_nvtx), clock_(clock) {
    if (stages.empty()) throw std::invalid_argument("stages is empty: name at least one stage");
    if (stages.size() > max_stages) {
        throw std::invalid_argument(std::to_string(stages.size()) + " stages, must be at most " +
                                    std::to_string(max_stages));
    }
    for (std::string& name : stages) {
        if (name.empty()) throw std::invalid_argument("a stage name is empty");
        const bool known = std::any_of(stages_.begin(), stages_.end(), [&](const auto& s) { return s.name == name; });
        if (known) throw std::invalid_argument("stage '" + name + "' is named twice");
        const RangeLabel label = nvtx ? range_label(name) : RangeLabel{};
        stages_.push_back({std::move(name), false, label});
    }
    for (const std::string& name : device_stages) {
        stages_[static_cast<std::size_t>(stage_number(name))].on_device = true;
    }
}

std::int16_t Recording::stage_number(std::string_view name) const {
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        if (stages_[i].name == name) return static_cast<std::int16_t>(i);
    }
    throw std::invalid_argument("no stage '" + std::string(name) + "'; the stages are: " + joined(stages_));
}

}  // namespace virnuc
