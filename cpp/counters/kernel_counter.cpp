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
constexpr unsigned kMostFailures = 3;
constexpr unsigned kExtraTries = 2;  // for a signature whose first launches gave nothing

struct Key {
    std::string symbol;
    std::array<std::uint32_t, 3> grid{}, block{};
    std::uint32_t dynamic_shared{};

    auto operator<=>(const Key&) const = default;
};

// A launch between its two callbacks, on its thread.
struct Pending {
    RangeProfiler* counting{};  // and this thread has the gate
    void* context{};
    std::size_t kernel{};
    bool shared{};    // holds the gate open
    bool inside{};    // the library launches something itself
    unsigned deep{};  // a launch that launches: the outer one counts
};
thread_local Pending t_pending;

// What the library launches itself is none of the program's.
struct Inside {
    Inside() noexcept { t_pending.inside = true; }
    ~Inside() { t_pending.inside = false; }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;
};

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
    Impl(const Library& library, const CountOptions& options, const std::optional<CudaCalls>& cuda)
        : library_(library), options_(options), given_(cuda) {}

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
            {
                const std::unique_lock wait_for_whoever_counts(gate_);
            }
            // Without the gate: the library may wait for callbacks that wait for it.
            library_.cupti.api.unsubscribe(subscriber_);
            const std::unique_lock gate(gate_);
            const Inside inside;
            profilers_.clear();
        }
        const std::lock_guard lock(mutex_);
        report_.lost = lost_;
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
                    ++t_pending.deep;
                    if (t_pending.deep == 1) self.enter(id, call);
                } else if (t_pending.deep > 0) {
                    --t_pending.deep;
                    if (t_pending.deep == 0) self.leave();
                }
            }
        } catch (...) {
            self.lost_.fetch_add(1, std::memory_order_relaxed);
        }
    }

    void enter(std::uint32_t id, const cupti::ApiCall& call) {
        if (stopped_.load(std::memory_order_relaxed)) return;
        std::call_once(once_, [this] { cuda_ = given_ ? *given_ : CudaCalls::of_process(); });
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
        gate_.lock_shared();  // also a launch of something else must not run beside a counted one
        t_pending.shared = true;
    }

    // True if this launch is counted, which then has the gate to itself.
    bool begin_counting(const cupti::ApiCall& call, const LaunchCall& launch) {
        Key key{call.symbol == nullptr ? "" : call.symbol, launch.grid, launch.block,
                launch.dynamic_shared};
        std::size_t kernel = 0;
        {
            const std::lock_guard lock(mutex_);
            const auto [at, is_new] = index_.try_emplace(std::move(key), report_.kernels.size());
            if (is_new) add(at->first);
            kernel = at->second;
            ++report_.kernels[kernel].launches;
            if (!wanted(kernel)) return false;
        }
        std::unique_lock gate(gate_);
        {
            const std::lock_guard lock(mutex_);
            // Another thread may have counted it meanwhile.
            if (stopped_ || !wanted(kernel)) return false;
            ++tries_[kernel];
        }
        RangeProfiler* profiler = nullptr;
        bool begun = false;
        {
            const Inside inside;
            profiler = profiler_of(call.context);
            begun = profiler != nullptr && profiler->begin();
        }
        if (!begun) {
            if (profiler != nullptr) failed(kernel, call.context, profiler->refusal());
            return false;
        }
        t_pending.counting = profiler;
        t_pending.context = call.context;
        t_pending.kernel = kernel;
        gate.release();  // until the other callback
        return true;
    }

    void leave() {
        const Pending pending = t_pending;
        t_pending = {};
        if (pending.shared) gate_.unlock_shared();
        if (pending.counting == nullptr) return;
        const std::unique_lock gate(gate_, std::adopt_lock);
        Counts counts;
        const RangeResult result = [&] {
            const Inside inside;
            return pending.counting->end(counts);
        }();
        if (result == RangeResult::failed) {
            failed(pending.kernel, pending.context, pending.counting->refusal());
            return;
        }
        const std::lock_guard lock(mutex_);
        CountedKernel& kernel = report_.kernels[pending.kernel];
        if (result == RangeResult::none) {
            kernel.why_not = "CUPTI counted nothing while it was launched";
        } else if (result == RangeResult::several) {
            kernel.why_not = "other kernels ran at the same time";
        } else {
            failures_ = 0;
            if (kernel.measured++ == 0) {
                kernel.counts = std::move(counts);
            } else {
                kernel.varies = kernel.varies || !same(kernel.counts, counts);
            }
            kernel.why_not.clear();
        }
    }

    // With the gate locked. A profiler that failed is not used again; where several fail in a row
    // it is not for the kernels' sake, and nothing more is tried.
    void failed(std::size_t kernel, void* context, const Refusal& refusal) {
        {
            const std::lock_guard lock(mutex_);
            report_.kernels[kernel].why_not = refusal.words;
            if (++failures_ >= kMostFailures) refuse(refusal);
        }
        drop(context);
    }

    void drop(void* context) {
        const Inside inside;
        profilers_.erase(context);
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

    // With the gate locked. Null: the report says why.
    RangeProfiler* profiler_of(void* context) {
        const auto at = profilers_.find(context);
        if (at != profilers_.end()) return at->second.get();
        int device = 0;
        if (cuda_.current_device != nullptr) cuda_.current_device(&device);
        auto made = std::make_unique<RangeProfiler>(
            library_.api, context, static_cast<std::size_t>(device), options_.plan);
        char name[128] = {};
        if (cuda_.device_name != nullptr) cuda_.device_name(name, sizeof name - 1, device);
        const std::lock_guard lock(mutex_);
        if (made->refusal()) {
            refuse(made->refusal());
            return nullptr;
        }
        if (report_.chip.empty()) {
            report_.chip = made->chip();
            report_.passes = made->passes();
            report_.device = name;
            if (cuda_.driver_version != nullptr) cuda_.driver_version(&report_.cuda_version);
        }
        return profilers_.emplace(context, std::move(made)).first->second.get();
    }

    void context_ends(void* context) {
        if (stopped_) return;
        const std::unique_lock gate(gate_);
        drop(context);
    }

    const Library library_;
    const CountOptions options_;
    const std::optional<CudaCalls> given_;
    std::once_flag once_;
    CudaCalls cuda_{};
    cupti::Subscriber subscriber_{};
    std::atomic<bool> stopped_{};
    std::atomic<std::uint64_t> lost_{};

    // Held shared by each launch between its callbacks, alone by one that is counted; alone, it
    // guards the profilers. Taken before `mutex_`, which guards the rest, and under which CUPTI is
    // not called.
    std::shared_mutex gate_;
    std::map<void*, std::unique_ptr<RangeProfiler>> profilers_;
    std::mutex mutex_;
    std::map<Key, std::size_t> index_;
    std::vector<unsigned> tries_;
    unsigned failures_{};  // in a row
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
                                    const std::optional<CudaCalls>& cuda, Refusal& refusal) {
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
    // Kept for good, and where a search for leaks finds it.
    static auto* const all = new std::vector<KernelCounter*>;
    all->push_back(new KernelCounter(impl.release()));
    return all->back();
}

CountReport KernelCounter::stop() {
    CountReport report = impl_->stop();
    Impl* ours = impl_;
    g_running.compare_exchange_strong(ours, nullptr);
    return report;
}

}  // namespace picojoule::counters
