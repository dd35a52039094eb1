#include "counters/profiler_host.h"

#include <utility>

namespace picojoule::counters {

ProfilerHost::ProfilerHost(const Api& api, ProfilerType type, const std::string& chip,
                           std::span<const std::uint8_t> availability)
    : api_(&api), chip_(chip), availability_(availability.begin(), availability.end()) {
    auto p = params<HostInitialize>();
    p.type = type;
    p.chip = chip_.c_str();
    p.availability = availability_.empty() ? nullptr : availability_.data();
    const int result = api_->host_initialize(&p);
    if (result == kOk) {
        host_ = p.host;
    } else if (result == kInvalidParameter || result == kNotSupported) {
        refusal_ = {"this CUPTI does not know counters of the chip " + chip_,
                    "a newer CUDA may; picojoule's sets are of CUPTI 13.0"};
    } else {
        refusal_ = refusal_of(*api_, "reading counters", result);
    }
}

ProfilerHost::~ProfilerHost() {
    if (host_ == nullptr) return;
    auto p = params<HostDeinitialize>();
    p.host = host_;
    api_->host_deinitialize(&p);
}

std::vector<std::string> ProfilerHost::chips(const Api& api) {
    auto p = params<HostSupportedChips>();
    std::vector<std::string> names;
    if (api.host_chips(&p) == kOk) names.assign(p.names, p.names + p.count);
    return names;
}

std::vector<std::string> ProfilerHost::base_metrics() {
    std::vector<std::string> names;
    if (host_ == nullptr) return names;
    for (const MetricType type : {kCounterMetric, kRatioMetric, kThroughputMetric}) {
        auto p = params<HostBaseMetrics>();
        p.host = host_;
        p.type = type;
        if (api_->host_base_metrics(&p) != kOk) continue;
        names.insert(names.end(), p.names, p.names + p.count);
    }
    return names;
}

bool ProfilerHost::fail(const char* what, int result) {
    refusal_ = refusal_of(*api_, what, result);
    return false;
}

bool ProfilerHost::configure(std::vector<const char*> names) {
    if (host_ == nullptr) return false;
    names_ = std::move(names);
    auto add = params<HostAddMetrics>();
    add.host = host_;
    add.names = names_.data();
    add.count = names_.size();
    if (const int result = api_->host_add_metrics(&add); result != kOk) {
        refusal_ = {"this CUPTI does not have all counters that picojoule reads on the chip " +
                        chip_ + " (error " + std::to_string(result) + ")",
                    "pip install 'nvidia-cuda-cupti>=13.0,<13.2', or a newer CUDA"};
        return false;
    }
    auto size = params<HostConfigImageSize>();
    size.host = host_;
    if (const int result = api_->host_config_image_size(&size); result != kOk) {
        return fail("scheduling counters", result);
    }
    image_.assign(size.bytes, 0);
    auto image = params<HostConfigImage>();
    image.host = host_;
    image.bytes = image_.size();
    image.image = image_.data();
    if (const int result = api_->host_config_image(&image); result != kOk) {
        return fail("scheduling counters", result);
    }
    auto passes = params<HostPasses>();
    passes.bytes = image_.size();
    passes.image = image_.data();
    if (const int result = api_->host_passes(&passes); result != kOk) {
        return fail("scheduling counters", result);
    }
    passes_ = passes.passes;
    return true;
}

bool ProfilerHost::evaluate(std::span<const std::uint8_t> counter_data, std::size_t range,
                            std::span<double> values) {
    auto p = params<HostEvaluate>();
    p.host = host_;
    p.counter_data = counter_data.data();
    p.counter_data_bytes = counter_data.size();
    p.range = range;
    p.names = names_.data();
    p.count = names_.size();
    p.values = values.data();
    return host_ != nullptr && values.size() >= names_.size() && api_->host_evaluate(&p) == kOk;
}

}  // namespace picojoule::counters
