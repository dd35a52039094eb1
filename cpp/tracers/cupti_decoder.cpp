#include "tracers/cupti_decoder.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "tracers/name.h"

namespace picojoule::cupti {
namespace {

// Anything later is no time: year 2116 in nanoseconds.
constexpr std::uint64_t kLatest = std::uint64_t{1} << 62U;

constexpr std::uint64_t pair(std::uint32_t low, std::uint32_t high) noexcept {
    return low | static_cast<std::uint64_t>(high) << 32U;
}
constexpr std::uint32_t low(std::uint64_t v) noexcept {
    return static_cast<std::uint32_t>(v);
}
constexpr std::uint32_t high(std::uint64_t v) noexcept {
    return static_cast<std::uint32_t>(v >> 32U);
}

const char* copy_name(std::uint64_t kind) noexcept {
    constexpr const char* names[] = {"memcpy",      "memcpy HtoD", "memcpy DtoH", "memcpy HtoA",
                                     "memcpy AtoH", "memcpy AtoA", "memcpy AtoD", "memcpy DtoA",
                                     "memcpy DtoD", "memcpy HtoH", "memcpy PtoP"};
    return names[kind < std::size(names) ? kind : 0];
}

}  // namespace

Decoder::Decoder(ActivitySink& sink, std::function<DeviceName(std::uint32_t)> device_name,
                 std::int64_t match_deadline_ns,
                 std::function<std::uint32_t(std::uint32_t, std::uint32_t)> captured_below)
    : sink_(sink),
      device_name_(std::move(device_name)),
      match_deadline_ns_(match_deadline_ns),
      captured_below_(std::move(captured_below)),
      classes_(1024) {
    batch_.reserve(kBatch);
}

void Decoder::launch(std::uint32_t id, std::uint32_t path) {
    ++counters_.launches;
    launches_.add(id, path);
    last_launch_ = id;
}

void Decoder::node_created(std::uint64_t node, std::uint32_t path) {
    ++counters_.nodes;
    nodes_.created(node, path);
    // The launch before it, on the same thread, was captured: it has no record of its own.
    if (last_launch_ != 0) (void)launches_.find(last_launch_);
    last_launch_ = 0;
}

void Decoder::node_cloned(std::uint64_t node, std::uint64_t original) {
    ++counters_.nodes;
    nodes_.cloned(node, original);
}

void Decoder::record(const void* record, std::int64_t now) {
    switch (*static_cast<const std::uint32_t*>(record)) {
        case kConcurrentKernel:
            kernel(*static_cast<const KernelPrefix*>(record), now);
            break;
        case kMemcpy:
            copy(*static_cast<const MemcpyPrefix*>(record), now);
            break;
        case kMemset:
            set(*static_cast<const MemsetPrefix*>(record), now);
            break;
        case kOverhead:
            overhead(*static_cast<const OverheadPrefix*>(record));
            break;
        default:
            ++counters_.unexpected;
    }
}

void Decoder::kernel(const KernelPrefix& r, std::int64_t now) {
    ActivityRecord a;
    if (!times(r.start, r.end, a)) return;
    TrackSlot& t = track(r.device, r.context, r.stream);
    a.track = t.id;
    a.kind = ActivityKind::kernel;
    a.class_id = class_of({{std::bit_cast<std::uint64_t>(r.name), pair(r.grid[0], r.grid[1]),
                            pair(r.grid[2], r.block[0]), pair(r.block[1], r.block[2]),
                            pair(r.static_shared, r.dynamic_shared)}},
                          a.kind);
    counters_.out_of_order += a.begin_ns < t.last_begin ? 1 : 0;
    t.last_begin = std::max(t.last_begin, a.begin_ns);
    ++counters_.kernels;
    place(a, r.correlation, r.graph_node, now);
}

void Decoder::copy(const MemcpyPrefix& r, std::int64_t now) {
    ActivityRecord a;
    if (!times(r.start, r.end, a)) return;
    TrackSlot& t = track(r.device, r.context, r.stream);
    a.track = t.id;
    a.kind = ActivityKind::memcpy;
    a.class_id = class_of({{1, r.copy_kind, r.bytes, 0, 0}}, a.kind);
    counters_.out_of_order += a.begin_ns < t.last_begin ? 1 : 0;
    t.last_begin = std::max(t.last_begin, a.begin_ns);
    ++counters_.copies;
    place(a, r.correlation, r.graph_node, now);
}

void Decoder::set(const MemsetPrefix& r, std::int64_t now) {
    ActivityRecord a;
    if (!times(r.start, r.end, a)) return;
    TrackSlot& t = track(r.device, r.context, r.stream);
    a.track = t.id;
    a.kind = ActivityKind::memset;
    a.class_id = class_of({{2, 0, r.bytes, 0, 0}}, a.kind);
    counters_.out_of_order += a.begin_ns < t.last_begin ? 1 : 0;
    t.last_begin = std::max(t.last_begin, a.begin_ns);
    ++counters_.sets;
    place(a, r.correlation, r.graph_node, now);
}

void Decoder::overhead(const OverheadPrefix& r) {
    const bool own = r.what == kBufferFlush || r.what == kInstrumentation ||
                     r.what == kResourceSetup || r.what == kBufferRequest;
    if (!own || r.start == 0 || r.end < r.start || r.end > kLatest) return;
    counters_.library_ns += r.end - r.start;
    recent_[recent_at_++ % kRecent] = {r.start, r.end};
    recent_until_ = std::max(recent_until_, r.end);
}

// A record without stamps is not of 1970, and one without an end has not lasted until now: the
// library had no memory for the first, and tells of the second only once.
bool Decoder::times(std::uint64_t start, std::uint64_t end, ActivityRecord& into) {
    if (end == 0 || start == 0) {
        ++(start != 0 ? counters_.cut_off : counters_.no_time);
        return false;
    }
    if (end < start || end > kLatest) {
        ++counters_.bad_time;
        return false;
    }
    if (start < recent_until_) [[unlikely]] {
        const auto meets = [&](const auto& other) {
            return start < other.second && end > other.first;
        };
        counters_.disturbed += std::ranges::any_of(recent_, meets) ? 1 : 0;
    }
    into.begin_ns = clock_.to_ours(static_cast<std::int64_t>(start));
    into.end_ns = clock_.to_ours(static_cast<std::int64_t>(end));
    into.end_ns = std::max(into.end_ns, into.begin_ns);  // the clock was set back meanwhile
    return true;
}

void Decoder::place(ActivityRecord& a, std::uint32_t correlation, std::uint64_t graph_node,
                    std::int64_t now) {
    const auto launch = launches_.find(correlation);
    if (graph_node != 0) {
        a.flags |= activity_flag::kGraph;
        const GraphNodes::Found node = nodes_.find(graph_node);
        a.graph_node = node.number;
        if (node.captured) {
            a.flags |= activity_flag::kCaptured;
            a.path = node.path;  // until its launch is known
            ++counters_.captured;
        } else {
            a.flags |= activity_flag::kForeignGraph;
            ++counters_.foreign_graph;
        }
    }
    if (launch) {
        launched(a, *launch);
        push(a);
    } else if (waiting_.size() < kMostWaiting) {
        waiting_.push_back({a, correlation, now + match_deadline_ns_});
    } else {
        unmatched(a);
        push(a);
    }
}

void Decoder::launched(ActivityRecord& a, std::uint32_t path) {
    if ((a.flags & activity_flag::kCaptured) == 0) {
        a.path = path;
        return;
    }
    if (!captured_below_) return;
    const auto [it, first] = below_.try_emplace(pair(a.path, path), 0);
    if (first) it->second = captured_below_(path, a.path);
    a.path = it->second;
}

void Decoder::unmatched(ActivityRecord& a) {
    launched(a, 0);
    a.flags |= activity_flag::kUnmatched;
    ++counters_.unmatched;
}

void Decoder::settle(std::int64_t now) {
    std::erase_if(waiting_, [&](Waiting& w) {
        if (const auto launch = launches_.find(w.correlation)) {
            launched(w.record, *launch);
            ++counters_.matched_late;
        } else if (now < w.deadline) {
            return false;
        } else {
            unmatched(w.record);
        }
        push(w.record);
        return true;
    });
}

void Decoder::push(const ActivityRecord& a) {
    ++counters_.activities;
    batch_.push_back(a);
    if (batch_.size() >= kBatch) emit();
}

void Decoder::emit() {
    if (!batch_.empty()) sink_.activities(batch_);
    batch_.clear();
    counters_.nodes_lost = nodes_.lost();
    counters_.launches_open = launches_.open();
    counters_.clock_steps = clock_.steps();
    counters_.clock_residual_ns = clock_.residual_ns();
}

Decoder::TrackSlot& Decoder::track(std::uint32_t device, std::uint32_t context,
                                   std::uint32_t stream) {
    const TrackKey key{device, context, stream};
    if (last_track_ < tracks_.size() && tracks_[last_track_].key == key) {
        return tracks_[last_track_];
    }
    const std::uint64_t packed = pair(stream, device << 24U ^ context);
    const auto [it, first] = track_places_.try_emplace(packed, tracks_.size());
    last_track_ = it->second;
    if (!first) return tracks_[last_track_];
    if (tracks_.size() >= kMostTracks) {
        track_places_.erase(it);
        last_track_ = tracks_.size() - 1;
        return tracks_.back();
    }
    Track t;
    t.domain = "gpu:" + std::to_string(device);
    if (device_name_) {
        DeviceName name = device_name_(device);
        if (!name.domain.empty()) t.domain = std::move(name.domain);
        t.device = std::move(name.device);
    }
    t.context = context;
    t.stream = stream;
    tracks_.push_back({key, sink_.track_id(t), 0});
    return tracks_.back();
}

std::uint64_t Decoder::hash(const ClassKey& key) noexcept {
    std::uint64_t h = 0;
    for (const std::uint64_t w : key.word) {
        h = (h ^ w) * 0x9e3779b97f4a7c15U;
        h ^= h >> 29U;
    }
    return h;
}

std::uint32_t Decoder::class_of(const ClassKey& key, ActivityKind kind) {
    const std::size_t mask = classes_.size() - 1;
    for (std::size_t i = hash(key) & mask; classes_[i].used; i = (i + 1) & mask) {
        if (classes_[i].key == key) return classes_[i].id;
    }
    return new_class(key, kind);
}

std::uint32_t Decoder::new_class(const ClassKey& key, ActivityKind kind) {
    const bool is_kernel = kind == ActivityKind::kernel;
    const bool full = is_kernel ? classes_used_ >= kMostClasses : sizes_used_ >= kMostSizes;
    KernelClass value;
    value.kind = kind;
    ClassKey folded = key;
    if (full) {
        // Memory is bounded: from here on only names are told apart, not shapes and sizes.
        ++counters_.classes_folded;
        folded = is_kernel ? ClassKey{{key.word[0], 0, 0, 0, 0}}
                           : ClassKey{{key.word[0], key.word[1], 0, 0, 0}};
    }
    if (is_kernel) {
        auto [it, first] = names_.try_emplace(key.word[0]);
        if (first) it->second = demangled(std::bit_cast<const char*>(key.word[0]));
        value.name = it->second;
        value.grid[0] = low(folded.word[1]);
        value.grid[1] = high(folded.word[1]);
        value.grid[2] = low(folded.word[2]);
        value.block[0] = high(folded.word[2]);
        value.block[1] = low(folded.word[3]);
        value.block[2] = high(folded.word[3]);
        value.static_shared = low(folded.word[4]);
        value.dynamic_shared = high(folded.word[4]);
    } else {
        value.name = kind == ActivityKind::memset ? "memset" : copy_name(key.word[1]);
        value.bytes = folded.word[2];
    }
    const std::uint32_t id = by_value(value);
    if (!full) {
        if ((classes_used_ + sizes_used_ + 1) * 2 > classes_.size()) grow();
        const std::size_t mask = classes_.size() - 1;
        std::size_t i = hash(key) & mask;
        while (classes_[i].used) i = (i + 1) & mask;
        classes_[i] = {key, id, true};
        ++(is_kernel ? classes_used_ : sizes_used_);
    }
    return id;
}

// The same function may come by several pointers, one for each module that has it.
std::uint32_t Decoder::by_value(const KernelClass& value) {
    std::string key = value.name;
    key += '\0';
    key += static_cast<char>(value.kind);
    for (const std::uint64_t n :
         {std::uint64_t{value.grid[0]}, std::uint64_t{value.grid[1]}, std::uint64_t{value.grid[2]},
          std::uint64_t{value.block[0]}, std::uint64_t{value.block[1]},
          std::uint64_t{value.block[2]}, std::uint64_t{value.static_shared},
          std::uint64_t{value.dynamic_shared}, value.bytes}) {
        key += std::to_string(n);
        key += ',';
    }
    const auto [it, first] = values_.try_emplace(std::move(key), 0);
    if (first) it->second = sink_.class_id(value);
    return it->second;
}

void Decoder::grow() {
    std::vector<ClassSlot> old(classes_.size() * 2);
    old.swap(classes_);
    const std::size_t mask = classes_.size() - 1;
    for (const ClassSlot& slot : old) {
        if (!slot.used) continue;
        std::size_t i = hash(slot.key) & mask;
        while (classes_[i].used) i = (i + 1) & mask;
        classes_[i] = slot;
    }
}

}  // namespace picojoule::cupti
