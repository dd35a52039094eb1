#include "counters/kernel_counter.h"

#include <dlfcn.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <tuple>

#include "counters/launch_call.h"
#include "counters/range_profiler.h"
#include "tracers/name.h"

namespace picojoule::counters {
namespace {

constexpr std::uint32_t kContextDestroyStarting = 2;  // of the resource callbacks
constexpr unsigned kExtraTries = 2;  // for a signature whose first launches gave nothing

struct Key {
    std::string symbol;
    std::array<std::uint32_t, 3> grid{}, block{};
    std::uint32_t dynamic_shared{};

    auto operator<=>(const Key&) const = default;
};

// A launch between its two callbacks, on its thread.
struct Pending {
    RangeProfiler* counting{};
    std::size_t kernel{};
    bool shared{};  // holds the gate open
    bool inside{};  // the library launches something itself
};
thread_local Pending t_pending;

std::atomic<KernelCounter::Impl*> g_running{nullptr};

bool same(const Counts& a, const Counts& b) {
    const auto close = [](double x, double y) {
        return x == y || (x - y) * (x - y) <= 1e-6 * x * x;  // one part in a thousand
    };
    if (a.flops.size() != b.flops.size()) return false;
    for (std::size_t i = 0; i < a.flops.size(); ++i) {
        if (!close(a.flops[i].value, b.flops[i].value)) return false;
    }
    return true;
}

}  // namespace

class KernelCounter::Impl {
  public:
    Impl(const Library& library, const CountOptions& options, const CudaCalls& cuda)
        : library_(library), options_(options), cuda_(cuda) {}

    bool subscribe(Refusal& refusal) {
        const cupti::Api& api = library_.cupti.api;
        if (const int result = api.subscribe(&subscriber_, &Impl::on_call, this); result != kOk) {
            refusal = refusal_of(library_.api, "counting kernels", result);
            return false;
        }
        for (const cupti::CallRange& range : cupti::kDriverLaunches) {
            for (std::uint32_t id = range.first; id <= range.last; ++id) {
                api.enable_callback(1, subscriber_, cupti::kDriverApi, id);
            }
        }
        api.enable_callback(1, subscriber_, cupti::kResource, kContextDestroyStarting);
        return true;
    }

    CountReport stop() {
        if (!stopped_.exchange(true)) {
            // Whoever is between two callbacks finishes first.
            gate_.lock();
            gate_.unlock();
            library_.cupti.api.unsubscribe(subscriber_);
            const std::lock_guard lock(mutex_);
            profilers_.clear();
        }
        const std::lock_guard lock(mutex_);
        return report_;
    }

  private:
    static void on_call(void* user, int domain, std::uint32_t id, const void* data) noexcept {
        auto& self = *static_cast<Impl*>(user);
        if (t_pending.inside) return;
        // No exception may pass through the library's frames.
        try {
            if (domain == cupti::kResource) {
                self.context_ends(static_cast<const cupti::ResourceChange*>(data)->context);
            } else if (domain == cupti::kDriverApi) {
                const auto& call = *static_cast<const cupti::ApiCall*>(data);
                if (call.site == cupti::kEnter) {
                    self.enter(id, call);
                } else {
                    self.leave();
                }
            }
        } catch (...) {
            self.lost_.fetch_add(1, std::memory_order_relaxed);
        }
    }

    void enter(std::uint32_t id, const cupti::ApiCall& call) {
        t_pending = {};
        if (stopped_.load(std::memory_order_relaxed)) return;
        const LaunchCall launch = launch_of(id, call.parameters);
        if (launch.kind == LaunchKind::graph) {
            const std::lock_guard lock(mutex_);
            ++report_.graphs;
        } else if (launch.kind == LaunchKind::kernel && captured(launch)) {
            // Nothing runs now, and counting would break the capture.
            const std::lock_guard lock(mutex_);
            ++report_.captured;
            return;
        } else if (launch.kind == LaunchKind::kernel) {
            if (begin_counting(call, launch)) return;
        }
        gate_.lock_shared();
        t_pending.shared = true;
    }

    // True if this launch is counted, which then has the gate to itself.
    bool begin_counting(const cupti::ApiCall& call, const LaunchCall& launch) {
        Key key{call.symbol == nullptr ? "" : call.symbol, launch.grid, launch.block,
                launch.dynamic_shared};
        {
            const std::lock_guard lock(mutex_);
            const auto [at, is_new] = index_.try_emplace(std::move(key), report_.kernels.size());
            if (is_new) add(at->first);
            CountedKernel& kernel = report_.kernels[at->second];
            ++kernel.launches;
            t_pending.kernel = at->second;
            if (!wanted(at->second)) return false;
        }
        gate_.lock();
        const std::lock_guard lock(mutex_);
        if (stopped_ || !wanted(t_pending.kernel)) {  // another thread has counted it meanwhile
            gate_.unlock();
            return false;
        }
        ++tries_[t_pending.kernel];
        t_pending.inside = true;
        RangeProfiler* profiler = profiler_of(call.context);
        const bool begun = profiler != nullptr && profiler->begin();
        t_pending.inside = false;
        if (!begun) {
            refuse(profiler == nullptr ? report_.refusal : profiler->refusal());
            report_.kernels[t_pending.kernel].why_not = report_.refusal.words;
            gate_.unlock();
            return false;
        }
        t_pending.counting = profiler;
        return true;
    }

    void leave() {
        const Pending pending = t_pending;
        t_pending = {};
        if (pending.shared) gate_.unlock_shared();
        if (pending.counting == nullptr) return;
        const std::lock_guard lock(mutex_);
        CountedKernel& kernel = report_.kernels[pending.kernel];
        Counts counts;
        t_pending.inside = true;
        const RangeResult result = pending.counting->end(counts);
        t_pending.inside = false;
        gate_.unlock();
        switch (result) {
            case RangeResult::measured:
                if (kernel.measured++ == 0) {
                    kernel.counts = std::move(counts);
                } else {
                    kernel.varies = kernel.varies || !same(kernel.counts, counts);
                }
                kernel.why_not.clear();
                break;
            case RangeResult::none:
                kernel.why_not = "CUPTI counted nothing while it was launched";
                break;
            case RangeResult::several:
                kernel.why_not = "other kernels ran at the same time";
                break;
            case RangeResult::failed:
                refuse(pending.counting->refusal());
                kernel.why_not = report_.refusal.words;
                break;
        }
    }

    [[nodiscard]] bool wanted(std::size_t kernel) const {
        return !report_.refusal && report_.kernels[kernel].measured < options_.times &&
               tries_[kernel] < options_.times + kExtraTries;
    }

    void add(const Key& key) {
        CountedKernel kernel;
        kernel.name = demangled(key.symbol.c_str());
        kernel.grid = key.grid;
        kernel.block = key.block;
        kernel.dynamic_shared = key.dynamic_shared;
        report_.kernels.push_back(std::move(kernel));
        tries_.push_back(0);
    }

    void refuse(const Refusal& refusal) {
        if (!report_.refusal) report_.refusal = refusal;
    }

    [[nodiscard]] bool captured(const LaunchCall& launch) const {
        int status = 0;
        // An error is one that a capture elsewhere causes.
        return cuda_.stream_is_capturing != nullptr &&
               (cuda_.stream_is_capturing(launch.stream, &status) != 0 || status != 0);
    }

    RangeProfiler* profiler_of(void* context) {
        const auto at = profilers_.find(context);
        if (at != profilers_.end()) return at->second.get();
        int device = 0;
        if (cuda_.current_device != nullptr) cuda_.current_device(&device);
        auto made = std::make_unique<RangeProfiler>(
            library_.api, context, static_cast<std::size_t>(device), options_.plan);
        if (made->refusal()) {
            refuse(made->refusal());
            return nullptr;
        }
        if (report_.chip.empty()) {
            report_.chip = made->chip();
            report_.passes = made->passes();
            char name[128] = {};
            if (cuda_.device_name != nullptr) cuda_.device_name(name, sizeof name - 1, device);
            report_.device = name;
            if (cuda_.driver_version != nullptr) cuda_.driver_version(&report_.cuda_version);
        }
        return profilers_.emplace(context, std::move(made)).first->second.get();
    }

    void context_ends(void* context) {
        gate_.lock();
        {
            const std::lock_guard lock(mutex_);
            t_pending.inside = true;
            profilers_.erase(context);
            t_pending.inside = false;
        }
        gate_.unlock();
    }

    const Library library_;
    const CountOptions options_;
    const CudaCalls cuda_;
    cupti::Subscriber subscriber_{};
    std::atomic<bool> stopped_{};
    std::atomic<std::uint64_t> lost_{};

    // Held shared by each launch between its callbacks, alone by one that is counted. Taken before
    // `mutex_`, which guards all below.
    std::shared_mutex gate_;
    std::mutex mutex_;
    std::map<Key, std::size_t> index_;
    std::vector<unsigned> tries_;
    std::map<void*, std::unique_ptr<RangeProfiler>> profilers_;
    CountReport report_;
};

CudaCalls CudaCalls::of_process() {
    CudaCalls calls{};
    void* handle = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    if (handle == nullptr) return calls;
    const auto to = [handle]<class R, class... A>(R (*&f)(A...), const char* symbol) {
        f = reinterpret_cast<R (*)(A...)>(::dlsym(handle, symbol));
    };
    to(calls.stream_is_capturing, "cuStreamIsCapturing");
    to(calls.current_device, "cuCtxGetDevice");
    to(calls.device_name, "cuDeviceGetName");
    to(calls.driver_version, "cuDriverGetVersion");
    return calls;
}

KernelCounter* KernelCounter::start(const Library& library, const CountOptions& options,
                                    const CudaCalls& cuda, Refusal& refusal) {
    if (library.refusal) {
        refusal = library.refusal;
        return nullptr;
    }
    if (!library.api.has_device() || !library.api.has_ranges()) {
        refusal = {"this CUPTI has no range profiler", "a CUDA of 12.6 or newer"};
        return nullptr;
    }
    auto impl = std::make_unique<Impl>(library, options, cuda);
    Impl* nobody = nullptr;
    if (!g_running.compare_exchange_strong(nobody, impl.get())) {
        refusal = {"kernels are being counted in this process already", ""};
        return nullptr;
    }
    if (!impl->subscribe(refusal)) {
        g_running = nullptr;
        return nullptr;
    }
    return new KernelCounter(impl.release());
}

CountReport KernelCounter::stop() {
    CountReport report = impl_->stop();
    Impl* ours = impl_;
    g_running.compare_exchange_strong(ours, nullptr);
    return report;
}

}  // namespace picojoule::counters
