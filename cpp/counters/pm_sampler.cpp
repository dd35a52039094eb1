#include "counters/pm_sampler.h"

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <stop_token>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "counters/profiler_host.h"
#include "tracers/clock_map.h"

namespace picojoule::counters {
namespace {

constexpr const char* kWhat = "PM sampling";
// Where only cycles of the system clock can be asked for: about as many as there are nanoseconds.
// The samples carry their true times.
constexpr double kSysclkPerNs = 1.0;
constexpr std::int64_t kAnchorEveryNs = 100'000'000;

std::mutex g_devices_mutex;
std::set<unsigned> g_devices;  // sampled by this process

class DeviceClaim {
  public:
    explicit DeviceClaim(unsigned device) : device_(device) {
        const std::lock_guard lock(g_devices_mutex);
        mine_ = g_devices.insert(device).second;
    }
    ~DeviceClaim() {
        if (!mine_) return;
        const std::lock_guard lock(g_devices_mutex);
        g_devices.erase(device_);
    }
    DeviceClaim(const DeviceClaim&) = delete;
    DeviceClaim& operator=(const DeviceClaim&) = delete;
    [[nodiscard]] bool mine() const noexcept { return mine_; }

  private:
    unsigned device_;
    bool mine_{};
};

}  // namespace

class PmSampler::Impl {
  public:
    Impl(const Library& library, const PmOptions& options, PmSink sink)
        : library_(library),
          api_(library_.api),
          options_(options),
          sink_(std::move(sink)),
          claim_(options.device) {}

    ~Impl() {
        stop();
        if (object_ == nullptr) return;
        auto p = params<PmOnly>();
        p.object = object_;
        api_.pm_disable(&p);
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    bool prepare(Refusal& refusal) {
        if (!claim_.mine()) {
            refusal = {"a PmSampler reads the counters of device " +
                           std::to_string(options_.device) + " already",
                       "end it first"};
            return false;
        }
        const auto fail = [&](int result) {
            refusal = refusal_of(api_, kWhat, result);
            return false;
        };
        if (const int result = initialize_profiler(api_); result != kOk) return fail(result);
        auto chip = params<DeviceChipName>();
        chip.device = options_.device;
        if (const int result = api_.chip_name(&chip); result != kOk) return fail(result);
        status_.chip = chip.name;
        if (!choose_set(refusal)) return false;
        host_ = std::make_unique<ProfilerHost>(api_, kPmSampling, status_.chip);
        if (const auto there = host_->base_metrics(); !there.empty()) {
            status_.missing = keep_available(set_, there);
        }
        if (host_->refusal() || !host_->configure(set_.names())) {
            refusal = host_->refusal();
            return false;
        }
        if (host_->passes() != 1) {
            refusal = {"the counters of the set " + status_.set + " take " +
                           std::to_string(host_->passes()) + " passes with CUPTI " +
                           cupti::version_words(library_.cupti.version) + ", but sampling has one",
                       "pip install 'nvidia-cuda-cupti>=13.0,<13.2'"};
            return false;
        }
        auto enable = params<PmEnable>();
        enable.device = options_.device;
        if (const int result = api_.pm_enable(&enable); result != kOk) return fail(result);
        object_ = enable.object;
        if (const int result = configure(); result != kOk) return fail(result);
        if (const int result = begin(); result != kOk) return fail(result);
        return true;
    }

    void run() {
        // As all our threads: signals are the program's.
        sigset_t all;
        sigset_t before;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        thread_ = std::jthread([this](const std::stop_token& token) { loop(token); });
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    void stop() {
        if (!thread_.joinable()) return;
        thread_.request_stop();
        wake_.notify_all();
        thread_.join();
    }

    [[nodiscard]] PmStatus status() const {
        const std::lock_guard lock(mutex_);
        return status_;
    }
    [[nodiscard]] const PmSet& set() const noexcept { return set_; }

  private:
    bool choose_set(Refusal& refusal) {
        const std::vector<PmSet> sets = pm_sets(status_.chip);
        if (sets.empty()) {
            refusal = {"picojoule has no set of counters for the chip " + status_.chip, ""};
            return false;
        }
        const auto at = std::find_if(sets.begin(), sets.end(), [this](const PmSet& set) {
            return options_.set.empty() || options_.set == set.name;
        });
        if (at == sets.end()) {
            refusal = {"there is no set " + options_.set + " for the chip " + status_.chip,
                       "take " + std::string(sets.front().name)};
            return false;
        }
        set_ = *at;
        status_.set = set_.name;
        status_.by_sysclk = set_.by_sysclk;
        status_.ring = set_.may_be_ring && library_.cupti.version >= kVersionAppends;
        return true;
    }

    int configure() {
        auto config = params<PmSetConfig>();
        config.size = pm_set_config_size(library_.cupti.version);
        config.object = object_;
        config.config_bytes = host_->config_image().size();
        config.config = host_->config_image().data();
        config.hardware_buffer_bytes = options_.hardware_buffer_bytes;
        config.interval = static_cast<std::uint64_t>(
            set_.by_sysclk ? static_cast<double>(options_.interval_ns) * kSysclkPerNs
                           : static_cast<double>(options_.interval_ns));
        config.trigger = set_.by_sysclk ? kSysclkInterval : kTimeInterval;
        config.append = status_.ring ? kKeepLatest : kKeepOldest;
        if (const int result = api_.pm_set_config(&config); result != kOk) return result;

        auto size = params<PmCounterDataSize>();
        size.object = object_;
        size.names = host_->names();
        size.count = host_->metrics();
        size.max_samples = options_.samples_a_decode;
        if (const int result = api_.pm_counter_data_size(&size); result != kOk) return result;
        counter_data_.assign(size.bytes, 0);
        return kOk;
    }

    int begin() {
        first_ = true;
        last_end_ = 0;
        auto p = params<PmOnly>();
        p.object = object_;
        return api_.pm_start(&p);
    }

    int end() {
        auto p = params<PmOnly>();
        p.object = object_;
        return api_.pm_stop(&p);
    }

    void loop(const std::stop_token& token) {
        anchor();
        while (!token.stop_requested() && !failed_) {
            {
                std::unique_lock lock(mutex_);
                wake_.wait_for(lock, token, std::chrono::nanoseconds(options_.decode_every_ns),
                               [] { return false; });
            }
            if (now_ns() - clock_.last_ours() > kAnchorEveryNs) anchor();
            if (decode_all()) restart();
        }
        if (failed_) return;
        // A ring that was written over can only be read before the end; what came between is read
        // after it.
        decode_all();
        anchor();
        end();
        decode_all();
    }

    void anchor() {
        const auto& timestamp = library_.cupti.api.get_timestamp;
        clock_.look(
            [&](std::int64_t& theirs) {
                std::uint64_t t = 0;
                if (timestamp(&t) != kOk) return false;
                theirs = static_cast<std::int64_t>(t);
                return true;
            },
            now_ns);
    }

    // Everything that is in the buffer; true if it was full.
    bool decode_all() {
        bool overflow = false;
        for (;;) {
            auto clear = params<PmCounterDataInitialize>();
            clear.object = object_;
            clear.bytes = counter_data_.size();
            clear.counter_data = counter_data_.data();
            if (const int result = api_.pm_counter_data_initialize(&clear); result != kOk) {
                fail(result);
                return false;
            }
            auto decode = params<PmDecode>();
            decode.object = object_;
            decode.counter_data = counter_data_.data();
            decode.counter_data_bytes = counter_data_.size();
            const int result = api_.pm_decode(&decode);
            if (result == kOutOfMemory) overflow = true;
            if (result != kOk && result != kOutOfMemory) {
                fail(result);
                return false;
            }
            overflow = overflow || decode.overflow != 0;
            deliver();
            if (decode.stop_reason != kImageFull) break;
        }
        if (overflow) {
            const std::lock_guard lock(mutex_);
            ++status_.overflows;
        }
        return overflow;
    }

    void deliver() {
        auto info = params<PmCounterDataInfo>();
        info.counter_data = counter_data_.data();
        info.bytes = counter_data_.size();
        if (api_.pm_counter_data_info(&info) != kOk || info.completed == 0) return;
        samples_.clear();
        values_.clear();
        const std::size_t width = host_->metrics();
        std::uint64_t discarded = 0;
        std::uint64_t gaps = 0;
        for (std::size_t i = 0; i < info.completed; ++i) {
            auto sample = params<PmSampleInfo>();
            sample.object = object_;
            sample.counter_data = counter_data_.data();
            sample.bytes = counter_data_.size();
            sample.index = i;
            const bool told = api_.pm_sample_info(&sample) == kOk;
            // The first one began before the start (its time is 0).
            if (!told || first_ || sample.begin == 0 || sample.end <= sample.begin) {
                first_ = false;
                last_end_ = told ? sample.end : 0;
                ++discarded;
                continue;
            }
            const std::size_t at = values_.size();
            values_.resize(at + width);
            if (!host_->evaluate(counter_data_, i, std::span(values_).subspan(at))) {
                values_.resize(at);
                ++discarded;
                continue;
            }
            // Samples touch; half of one more is rounding.
            if (last_end_ != 0 && sample.begin > last_end_ + (sample.end - sample.begin) / 2)
                ++gaps;
            last_end_ = sample.end;
            samples_.push_back({clock_.to_ours(static_cast<std::int64_t>(sample.begin)),
                                clock_.to_ours(static_cast<std::int64_t>(sample.end))});
        }
        if (!samples_.empty()) sink_(samples_, values_);
        const std::lock_guard lock(mutex_);
        status_.samples += samples_.size();
        status_.discarded += discarded;
        status_.gaps += gaps;
        status_.clock_doubt_ns = clock_.residual_ns();
    }

    // A full buffer that keeps its oldest samples takes no more.
    void restart() {
        if (status_.ring) return;
        {
            const std::lock_guard lock(mutex_);
            ++status_.gaps;
        }
        end();
        if (const int result = begin(); result != kOk) fail(result);
    }

    void fail(int result) {
        failed_ = true;
        end();
        const std::lock_guard lock(mutex_);
        if (!status_.refusal) status_.refusal = refusal_of(api_, kWhat, result);
    }

    const Library library_;
    const Api& api_;
    const PmOptions options_;
    const PmSink sink_;
    const DeviceClaim claim_;
    PmSet set_{};
    std::unique_ptr<ProfilerHost> host_;
    PmObject object_{};
    std::vector<std::uint8_t> counter_data_;

    // Of the thread.
    ClockMap clock_;
    std::vector<PmSample> samples_;
    std::vector<double> values_;
    std::uint64_t last_end_{};
    bool first_{};
    bool failed_{};

    mutable std::mutex mutex_;
    std::condition_variable_any wake_;
    PmStatus status_;
    std::jthread thread_;
};

PmSampler::PmSampler(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
PmSampler::~PmSampler() = default;

std::unique_ptr<PmSampler> PmSampler::start(const Library& library, const PmOptions& options,
                                            PmSink sink, Refusal& refusal) {
    if (library.refusal) {
        refusal = library.refusal;
        return nullptr;
    }
    if (!library.api.has_device() || !library.api.has_pm()) {
        refusal = {"this CUPTI has no PM sampling", "a CUDA of 12.6 or newer"};
        return nullptr;
    }
    auto impl = std::make_unique<Impl>(library, options, std::move(sink));
    if (!impl->prepare(refusal)) return nullptr;
    impl->run();
    return std::unique_ptr<PmSampler>(new PmSampler(std::move(impl)));
}

void PmSampler::stop() {
    impl_->stop();
}

PmStatus PmSampler::status() const {
    return impl_->status();
}

const PmSet& PmSampler::set() const noexcept {
    return impl_->set();
}

}  // namespace picojoule::counters
