#include "tracers/cupti_subscription.h"

#include <iterator>
#include <ranges>

namespace picojoule::cupti {
namespace {

constexpr const char* kOurName = "picojoule";
// Kernels last: with graphs they must not be recorded without copies and sets.
constexpr std::uint32_t kKinds[] = {kMemcpy, kMemset, kConcurrentKernel};

std::string with(const Library& library) {
    return "CUPTI " + version_words(library.version) + " (" + library.path + ")";
}

}  // namespace

TracerStatus Subscription::subscribe(const Library& library, const Callbacks& callbacks,
                                     unsigned driver_branch) {
    TracerStatus status;
    status.library = library.path;
    status.version = library.version;
    status.caution = known_trouble(library.version);

    char holder[128] = {};
    SubscribeParams params{kSubscribeParams13_0, kOurName, holder, sizeof holder, 0, {}};
    int result = kUnknown;
    const bool several = library.version >= kVersion13_3 && api_->second_family() &&
                         driver_branch >= kDriverOfSeveral;
    if (several) {
        params.size = kSubscribeParams13_3;
        params.allow_several = 1;
        result = api_->subscribe_v2(&handle_, callbacks.on_call, callbacks.user, &params);
        second_ = true;
        status.mode = TraceMode::shared;
    }
    if (result != kSuccess) {
        // Also after a refusal above: that may mean that there cannot be several, and we may still
        // be the first. The two families of calls do not mix: 13.0 and 13.1 have the new way to
        // subscribe only, later ones have both families whole.
        const bool whole = library.version >= kVersion13_2 && api_->second_family();
        const bool named = api_->subscribe_v2 != nullptr && library.version >= kVersion13_0 &&
                           (whole || library.version < kVersion13_2);
        second_ = whole;
        params.size = kSubscribeParams13_0;
        params.allow_several = 0;
        result = named ? api_->subscribe_v2(&handle_, callbacks.on_call, callbacks.user, &params)
                       : api_->subscribe(&handle_, callbacks.on_call, callbacks.user);
        status.mode = TraceMode::single;
    }
    if (result == kSuccess) return status;

    handle_ = nullptr;
    if (result == kMultipleSubscribers) {
        holder[sizeof holder - 1] = '\0';
        status.mode = TraceMode::overlay;
        status.holder = holder;
        status.words = (status.holder.empty() ? std::string("another profiler")
                                              : "\"" + status.holder + "\"") +
                       " holds CUPTI, so kernels are not recorded here; power is, and can be "
                       "joined with that profiler's timeline";
        status.remedy = "end the other profiler first, or import its timeline";
        return status;
    }
    status.mode = TraceMode::none;
    status.words = with(library) + " could not be subscribed to: " + words(result);
    if (result == kInsufficientPrivileges || result == kVirtualizedInsufficientPrivileges) {
        status.remedy = "sudo modprobe nvidia NVreg_RestrictProfilingToAdminUsers=0";
    } else if (result == kNotInitialized || result == kUnknown) {
        status.words += "; there may be no NVIDIA driver";
        status.remedy = kAskDriver;
    }
    return status;
}

bool Subscription::enable(const Callbacks& callbacks, TracerStatus& status) {
    // Attributes count only before anything is enabled. We hand out zeroed memory, so that the
    // library need not do so on the launching thread; those that do not know this zero it again.
    std::uint8_t yes = 1;
    std::size_t size = sizeof yes;
    if (second_ && api_->set_attribute_v2 != nullptr) {
        api_->set_attribute_v2(handle_, kZeroedBuffers, &size, &yes);
    } else if (!second_ && api_->set_attribute != nullptr) {
        api_->set_attribute(kZeroedBuffers, &size, &yes);
    }
    const char* step = "its buffers could not be set up";
    int result = second_
                     ? api_->register_callbacks_v2(handle_, callbacks.request_v2, callbacks.done_v2)
                     : api_->register_callbacks(callbacks.request, callbacks.done);
    if (result == kSuccess) {
        step = "calls could not be watched";
        result = api_->enable_callback(1, handle_, kDriverApi, kCuLaunchKernel);
    }
    if (result == kSuccess) {
        all_calls(true);
        step = "records could not be enabled";
        for (const std::uint32_t kind : kKinds) {
            result = enable_kind(kind);
            if (result != kSuccess) break;
        }
    }
    if (result == kSuccess) {
        enable_kind(kOverhead);  // its own cost; without it that is not known, and no more
        return true;
    }
    const std::string why = words(result);
    disable();
    unsubscribe();
    status.mode = TraceMode::none;
    status.words = "CUPTI " + version_words(status.version) + " (" + status.library + "): " + step +
                   ": " + why;
    return false;
}

void Subscription::disable() noexcept {
    disable_kind(kOverhead);
    // The other way round: never kernels alone, not even for a moment.
    for (const std::uint32_t kind : kKinds | std::views::reverse) disable_kind(kind);
    all_calls(false);
}

void Subscription::unsubscribe() noexcept {
    if (handle_ != nullptr) api_->unsubscribe(handle_);
    handle_ = nullptr;
}

void Subscription::all_calls(bool on) noexcept {
    // Older libraries do not know all of these calls; those have no such launches either.
    for (const CallRange& range : kDriverLaunches) enable_calls(kDriverApi, range, on);
    for (const CallRange& range : kDriverCopies) enable_calls(kDriverApi, range, on);
    for (const CallRange& range : kRuntimeCopies) enable_calls(kRuntimeApi, range, on);
    for (const std::uint32_t event : {kGraphNodeCreated, kGraphNodeCloned}) {
        api_->enable_callback(on ? 1 : 0, handle_, kResource, event);
    }
}

void Subscription::enable_calls(int domain, const CallRange& range, bool on) noexcept {
    for (std::uint32_t id = range.first; id <= range.last; ++id) {
        api_->enable_callback(on ? 1 : 0, handle_, domain, id);
    }
}

int Subscription::enable_kind(std::uint32_t kind) noexcept {
    return second_ ? api_->enable_v2(handle_, kind, nullptr) : api_->enable(kind);
}

void Subscription::disable_kind(std::uint32_t kind) noexcept {
    if (second_) {
        api_->disable_v2(handle_, kind, nullptr);
    } else {
        api_->disable(kind);
    }
}

std::uint64_t Subscription::dropped() const noexcept {
    std::size_t n = 0;
    const int result =
        second_                    ? (api_->dropped_v2 == nullptr ? static_cast<int>(kUnknown)
                                                                  : api_->dropped_v2(handle_, nullptr, 0, &n))
        : api_->dropped == nullptr ? static_cast<int>(kUnknown)
                                   : api_->dropped(nullptr, 0, &n);
    return result == kSuccess ? n : 0;
}

bool Subscription::time(std::int64_t& ns) const noexcept {
    std::uint64_t t = 0;
    if (api_->get_timestamp(&t) != kSuccess || t == 0) return false;
    ns = static_cast<std::int64_t>(t);
    return true;
}

std::string Subscription::words(int result) const {
    const char* text = nullptr;
    if (api_->result_string != nullptr) api_->result_string(result, &text);
    return std::string(text == nullptr ? "error" : text) + " (CUPTI error " +
           std::to_string(result) + ")";
}

TracerStatus outlook(const Places& places, unsigned driver_branch) {
    TracerStatus status;
    if (driver_branch == 0) {
        status.words = "there is no NVIDIA driver here, so no kernels will be recorded";
        return status;
    }
    const Library library = open_library(places);
    status.library = library.path;
    status.version = library.version;
    if (!library) {
        status.words = library.words;
        status.remedy = library.remedy;
        return status;
    }
    status.caution = known_trouble(library.version);
    const bool several = library.version >= kVersion13_3 && library.api.second_family() &&
                         driver_branch >= kDriverOfSeveral;
    status.mode = several ? TraceMode::shared : TraceMode::single;
    status.words = "CUPTI " + version_words(library.version) + " with driver branch " +
                   std::to_string(driver_branch) +
                   (several ? ": kernels are recorded, also beside other profilers"
                            : ": kernels are recorded, unless another profiler of the same process "
                              "was first; then only power is");
    return status;
}

}  // namespace picojoule::cupti
