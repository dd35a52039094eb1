#include "counters/range_profiler.h"

namespace picojoule::counters {
namespace {

constexpr const char* kWhat = "counting what kernels do";
// More than the one that is wanted, so that a second kernel shows instead of being dropped.
constexpr std::size_t kMostRanges = 4;

std::vector<std::uint8_t> availability(const Api& api, void* context) {
    std::vector<std::uint8_t> image;
    if (api.availability == nullptr) return image;
    auto p = params<CounterAvailability>();
    p.context = context;
    if (api.availability(&p) != kOk || p.bytes == 0) return image;
    image.resize(p.bytes);
    p.image = image.data();
    if (api.availability(&p) != kOk) image.clear();
    return image;
}

}  // namespace

RangeProfiler::RangeProfiler(const Api& api, void* context, std::size_t device, PlanKind kind)
    : api_(&api) {
    prepare(context, device, kind);
}

RangeProfiler::~RangeProfiler() {
    if (object_ == nullptr) return;
    auto p = params<RangeOnly>();
    p.object = object_;
    api_->range_disable(&p);
}

bool RangeProfiler::fail(const char* what, int result) {
    refusal_ = refusal_of(*api_, what, result);
    return false;
}

bool RangeProfiler::prepare(void* context, std::size_t device, PlanKind kind) {
    if (const int result = initialize_profiler(*api_); result != kOk) return fail(kWhat, result);
    auto chip = params<DeviceChipName>();
    chip.device = device;
    if (const int result = api_->chip_name(&chip); result != kOk) return fail(kWhat, result);
    chip_ = chip.name;
    plan_ = range_plan(chip_, kind);
    if (plan_.metrics.empty()) {
        refusal_ = {"picojoule has no set of counters for the chip " + chip_, ""};
        return false;
    }
    host_ =
        std::make_unique<ProfilerHost>(*api_, kRangeProfiler, chip_, availability(*api_, context));
    if (host_->refusal() || !host_->configure(plan_.names())) {
        refusal_ = host_->refusal();
        return false;
    }
    auto enable = params<RangeEnable>();
    enable.context = context;
    if (const int result = api_->range_enable(&enable); result != kOk) return fail(kWhat, result);
    object_ = enable.object;

    auto size = params<RangeCounterDataSize>();
    size.object = object_;
    size.names = host_->names();
    size.count = host_->metrics();
    size.max_ranges = kMostRanges;
    size.max_nodes = kMostRanges;
    if (const int result = api_->range_counter_data_size(&size); result != kOk) {
        return fail(kWhat, result);
    }
    counter_data_.assign(size.bytes, 0);
    return true;
}

bool RangeProfiler::begin() {
    if (refusal_) return false;
    auto clear = params<RangeCounterDataInitialize>();
    clear.object = object_;
    clear.bytes = counter_data_.size();
    clear.counter_data = counter_data_.data();
    if (const int result = api_->range_counter_data_initialize(&clear); result != kOk) {
        return fail(kWhat, result);
    }
    auto config = params<RangeSetConfig>();
    config.object = object_;
    config.config_bytes = host_->config_image().size();
    config.config = host_->config_image().data();
    config.counter_data_bytes = counter_data_.size();
    config.counter_data = counter_data_.data();
    config.range = kAutoRange;
    config.replay = kKernelReplay;
    config.max_ranges = kMostRanges;
    config.nesting_levels = 1;
    config.min_nesting_level = 1;
    config.target_nesting_level = 1;
    if (const int result = api_->range_set_config(&config); result != kOk) {
        return fail(kWhat, result);
    }
    auto start = params<RangeOnly>();
    start.object = object_;
    if (const int result = api_->range_start(&start); result != kOk) return fail(kWhat, result);
    return true;
}

RangeResult RangeProfiler::end(Counts& counts) {
    auto stop = params<RangeStop>();
    stop.object = object_;
    if (const int result = api_->range_stop(&stop); result != kOk) {
        fail(kWhat, result);
        return RangeResult::failed;
    }
    auto decode = params<RangeDecode>();
    decode.object = object_;
    if (const int result = api_->range_decode(&decode); result != kOk) {
        fail(kWhat, result);
        return RangeResult::failed;
    }
    auto info = params<RangeCounterDataInfo>();
    info.counter_data = counter_data_.data();
    info.bytes = counter_data_.size();
    if (const int result = api_->range_counter_data_info(&info); result != kOk) {
        fail(kWhat, result);
        return RangeResult::failed;
    }
    if (info.ranges == 0) return RangeResult::none;
    if (info.ranges > 1 || decode.dropped > 0) return RangeResult::several;
    std::vector<double> values(host_->metrics(), kUnknown);
    if (!host_->evaluate(counter_data_, 0, values)) {
        refusal_ = {"CUPTI has no values for a kernel that it counted", ""};
        return RangeResult::failed;
    }
    counts = counts_of(plan_, values);
    return RangeResult::measured;
}

}  // namespace picojoule::counters
