#include "bindings/nvtx.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cwchar>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/utf8.h"
#include "bindings/nvtx_api.h"
#include "bindings/regions_py.h"
#include "recorder/regions.h"

namespace picojoule {
namespace {

using nvtx::EventAttributes;
using nvtx::RangeId;

constexpr int kNoLevel = -1;  // NVTX: negative where there is nothing to pop
constexpr std::string_view kUnnamed = "(unnamed range)";

std::atomic<std::int32_t> g_wanted{};
std::atomic<std::uint32_t> g_clients{};

bool is_wanted() noexcept {
    return g_wanted.load(std::memory_order_relaxed) > 0;
}

// What a domain handle or a registered string points to: its name. Never freed, so that a handle
// used after its end is harmless.
using Name = std::string;

struct Names {
    std::mutex mutex;
    std::unordered_set<Name> set;  // whose elements stay where they are

    const Name* keep(std::string_view text) {
        const std::lock_guard lock(mutex);
        return &*set.emplace(text).first;
    }
};

Names& names() {
    static auto* all = new Names;  // leaked: libraries may call after static destructors ran
    return *all;
}

// ---- the text of a message ----

void append_wide(std::string& out, const wchar_t* text) {
    for (; *text != L'\0'; ++text) append_utf8(out, static_cast<char32_t>(*text));
}

// ---- what one thread has pushed ----

struct Open {
    const Name* domain;
    int level;          // within its domain, from 0
    NativeFrame frame;  // 0: not seen
};

struct Thread {
    std::vector<Open> open;
    std::string text;  // of the latest message; kept for its memory
};

thread_local Thread* t_thread = nullptr;
thread_local bool t_ended = false;

struct ThreadExit {
    ~ThreadExit() {
        delete t_thread;
        t_thread = nullptr;
        t_ended = true;
    }
};

Thread* this_thread() {
    if (t_thread == nullptr && !t_ended) [[unlikely]] {
        thread_local ThreadExit exit_guard;
        static_cast<void>(exit_guard);
        t_thread = new Thread;
    }
    return t_thread;
}

// Appends a message of any kind to the thread's text.
void append_message(std::string& text, std::int32_t type, const void* message) {
    const std::size_t before = text.size();
    if (message != nullptr) {
        if (type == nvtx::kAscii) text.append(static_cast<const char*>(message));
        if (type == nvtx::kUnicode) append_wide(text, static_cast<const wchar_t*>(message));
        if (type == nvtx::kRegistered) text.append(*static_cast<const Name*>(message));
    }
    if (text.size() == before) text.append(kUnnamed);
}

std::string_view title(Thread& thread, const Name* domain, std::int32_t type, const void* message) {
    thread.text.clear();
    if (domain != nullptr) thread.text.append(*domain).append(":");
    append_message(thread.text, type, message);
    return thread.text;
}

// ---- push and pop ----

int push(const Name* domain, std::int32_t type, const void* message) noexcept {
    try {
        Thread* thread = this_thread();
        if (thread == nullptr) return kNoLevel;
        const auto below = std::find_if(thread->open.rbegin(), thread->open.rend(),
                                        [&](const Open& o) { return o.domain == domain; });
        const int level = below == thread->open.rend() ? 0 : below->level + 1;
        thread->open.push_back({domain, level, 0});
        if (is_wanted()) {
            thread->open.back().frame = enter_native(title(*thread, domain, type, message));
        }
        return level;
    } catch (...) {
        return kNoLevel;  // out of memory
    }
}

int pop(const Name* domain) noexcept {
    Thread* thread = t_thread;
    if (thread == nullptr) return kNoLevel;
    for (std::size_t i = thread->open.size(); i-- > 0;) {
        const Open open = thread->open[i];
        if (open.domain != domain) continue;
        thread->open.erase(thread->open.begin() + static_cast<std::ptrdiff_t>(i));
        exit_native(open.frame);
        return open.level;
    }
    return kNoLevel;
}

// ---- start and end ----

// Ranges between start and end. Several of one path at once count as calls, and their time once.
struct Started {
    struct Range {
        PathId path;
        std::int64_t begin_ns;
        bool is_inside;  // started in a region of the same path, whose time it is
    };
    std::mutex mutex;  // no other lock is taken under it
    ThreadRegions* lane{};
    std::unordered_map<RangeId, Range> ranges;
    std::unordered_map<PathId, std::uint32_t> open;  // path -> its ranges that are not inside
    RangeId last{};
};

Started& started() {
    static auto* all = new Started;
    return *all;
}

RangeId start(const Name* domain, std::int32_t type, const void* message) noexcept {
    if (!is_wanted()) return 0;
    try {
        Thread* thread = this_thread();
        if (thread == nullptr) return 0;
        const NativePlace place = place_native(title(*thread, domain, type, message));
        Started& all = started();
        ThreadRegions* made = nullptr;
        if (std::unique_lock lock(all.mutex); all.lane == nullptr) {
            lock.unlock();
            made = &RegionStore::instance().make_lane();  // one too many at worst
        }
        const std::lock_guard lock(all.mutex);
        if (all.lane == nullptr) all.lane = made;
        if (all.lane == nullptr) return 0;  // forked just then
        const std::int64_t now = now_ns();
        const RangeId id = ++all.last;
        all.ranges[id] = {place.path, now, place.is_open};
        if (place.is_open || all.open[place.path]++ > 0)
            all.lane->count_only(place.path);
        else
            all.lane->enter(place.path, now);
        return id;
    } catch (...) {
        return 0;
    }
}

void end(RangeId id) noexcept {
    if (id == 0) return;
    const std::int64_t now = now_ns();
    Started& all = started();
    const std::lock_guard lock(all.mutex);
    const auto found = all.ranges.find(id);
    if (found == all.ranges.end() || all.lane == nullptr) return;
    const Started::Range range = found->second;
    all.ranges.erase(found);
    const auto open = all.open.find(range.path);
    // The first of those open at once opened the time, the last closes it.
    if (!range.is_inside && open != all.open.end() && --open->second == 0) {
        all.lane->exit(range.path, now);
        all.open.erase(open);
    }
    if (now - range.begin_ns >=
        RegionStore::instance().least_span_ns.load(std::memory_order_relaxed)) {
        all.lane->keep_span({range.begin_ns, now, range.path});
    }
}

// ---- fork: the child has none of its parent's ranges between start and end ----

void before_fork() {
    names().mutex.lock();
    started().mutex.lock();
}
void after_fork_in_parent() {
    started().mutex.unlock();
    names().mutex.unlock();
}
void after_fork_in_child() {
    Started& all = started();
    all.lane = nullptr;  // the store gave it to the child's new threads
    all.ranges.clear();
    all.open.clear();
    after_fork_in_parent();
}

// ---- the functions that NVTX calls ----

int push_ex(const EventAttributes* event) {
    return event == nullptr ? push(nullptr, 0, nullptr)
                            : push(nullptr, event->message_type, event->message);
}
int push_a(const char* message) {
    return push(nullptr, nvtx::kAscii, message);
}
int push_w(const wchar_t* message) {
    return push(nullptr, nvtx::kUnicode, message);
}
int pop_default() {
    return pop(nullptr);
}

RangeId start_ex(const EventAttributes* event) {
    return event == nullptr ? start(nullptr, 0, nullptr)
                            : start(nullptr, event->message_type, event->message);
}
RangeId start_a(const char* message) {
    return start(nullptr, nvtx::kAscii, message);
}
RangeId start_w(const wchar_t* message) {
    return start(nullptr, nvtx::kUnicode, message);
}

int domain_push_ex(const Name* domain, const EventAttributes* event) {
    return event == nullptr ? push(domain, 0, nullptr)
                            : push(domain, event->message_type, event->message);
}
RangeId domain_start_ex(const Name* domain, const EventAttributes* event) {
    return event == nullptr ? start(domain, 0, nullptr)
                            : start(domain, event->message_type, event->message);
}
void domain_end(const Name*, RangeId id) {
    end(id);
}

const Name* keep_a(const char* text) noexcept {
    try {
        return names().keep(text == nullptr ? std::string_view() : std::string_view(text));
    } catch (...) {
        return nullptr;
    }
}
const Name* keep_w(const wchar_t* text) noexcept {
    try {
        std::string narrow;
        if (text != nullptr) append_wide(narrow, text);
        return names().keep(narrow);
    } catch (...) {
        return nullptr;
    }
}
const Name* register_a(const Name*, const char* text) {
    return keep_a(text);
}
const Name* register_w(const Name*, const wchar_t* text) {
    return keep_w(text);
}

struct Entry {
    unsigned index;
    nvtx::Function function;
};

template <class F>
Entry entry(unsigned index, F* function) {
    return {index, reinterpret_cast<nvtx::Function>(function)};
}

template <std::size_t N>
bool fill(const nvtx::CallbacksTable& callbacks, nvtx::Module module,
          const std::array<Entry, N>& entries) {
    nvtx::Function** table = nullptr;
    unsigned size = 0;
    if (callbacks.get_module_function_table(module, &table, &size) == 0 || table == nullptr) {
        return false;
    }
    for (const Entry& e : entries) {
        if (e.index < size && table[e.index] != nullptr) *table[e.index] = e.function;
    }
    return true;
}

bool attach(nvtx::GetExportTable get_table) {
    if (get_table == nullptr) return false;
    const auto* callbacks = static_cast<const nvtx::CallbacksTable*>(get_table(nvtx::kCallbacks));
    if (callbacks == nullptr || callbacks->struct_size < sizeof *callbacks) return false;
    const auto* version = static_cast<const nvtx::VersionInfoTable*>(get_table(nvtx::kVersionInfo));
    if (version != nullptr && version->struct_size >= sizeof *version) {
        version->set_injection_version(3);
    }
    static std::once_flag once;
    std::call_once(once,
                   [] { pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); });
    const bool core = fill(*callbacks, nvtx::kCore,
                           std::array{
                               entry(nvtx::kRangeStartEx, start_ex),
                               entry(nvtx::kRangeStartA, start_a),
                               entry(nvtx::kRangeStartW, start_w),
                               entry(nvtx::kRangeEnd, end),
                               entry(nvtx::kRangePushEx, push_ex),
                               entry(nvtx::kRangePushA, push_a),
                               entry(nvtx::kRangePushW, push_w),
                               entry(nvtx::kRangePop, pop_default),
                           });
    const bool core2 = fill(*callbacks, nvtx::kCore2,
                            std::array{
                                entry(nvtx::kDomainRangeStartEx, domain_start_ex),
                                entry(nvtx::kDomainRangeEnd, domain_end),
                                entry(nvtx::kDomainRangePushEx, domain_push_ex),
                                entry(nvtx::kDomainRangePop, pop),
                                entry(nvtx::kDomainRegisterStringA, register_a),
                                entry(nvtx::kDomainRegisterStringW, register_w),
                                entry(nvtx::kDomainCreateA, keep_a),
                                entry(nvtx::kDomainCreateW, keep_w),
                            });
    if (!core && !core2) return false;
    g_clients.fetch_add(1, std::memory_order_relaxed);
    return true;
}

}  // namespace

void want_annotations(bool on) noexcept {
    g_wanted.fetch_add(on ? 1 : -1, std::memory_order_relaxed);
}

std::uint32_t nvtx_clients() noexcept {
    return g_clients.load(std::memory_order_relaxed);
}

}  // namespace picojoule

// Called by each instance of NVTX at its first call, in any thread, before its tables are used.
// Python need not even run here: the library may be loaded by a child that never imports picojoule.
extern "C" __attribute__((visibility("default"))) int InitializeInjectionNvtx2(
    picojoule::nvtx::GetExportTable get_table) {
    try {
        return picojoule::attach(get_table) ? 1 : 0;
    } catch (...) {
        return 0;
    }
}
