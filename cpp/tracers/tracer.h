// The contract of a tracer: something that *tells* what ran on a device, where a Source is asked.
// Nothing here knows a vendor's types.
//
// A tracer watches launches on the threads that make them, and gets records of what ran from the
// vendor's library some time later, in any order. It joins the two and hands Activities to a sink,
// always from one thread of its own. What could not be joined, or was lost, is counted.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "model/kernel.h"

namespace picojoule {

namespace activity_flag {
constexpr std::uint8_t kGraph = 1;     // ran as a node of a graph
constexpr std::uint8_t kCaptured = 2;  // the node was seen being made: see captured_below
// The graph is older than the tracer: the path is that of the graph's launch.
constexpr std::uint8_t kForeignGraph = 4;
constexpr std::uint8_t kUnmatched = 8;  // no launch was seen: the path is the root
}  // namespace activity_flag

struct ActivityRecord {
    std::int64_t begin_ns{};  // CLOCK_MONOTONIC
    std::int64_t end_ns{};
    std::uint32_t class_id{};
    std::uint32_t path{};  // the region path that launched it
    // The same number whenever the same node of a graph runs; 0: no graph, or too many nodes.
    std::uint32_t graph_node{};
    std::uint16_t track{};
    std::uint8_t flags{};
    ActivityKind kind{};
};
static_assert(sizeof(ActivityRecord) == 32 && std::is_trivially_copyable_v<ActivityRecord>);

struct TracerCounters {
    // What was handed on: activities == kernels + copies + sets.
    std::uint64_t activities{};
    std::uint64_t kernels{};
    std::uint64_t copies{};
    std::uint64_t sets{};
    std::uint64_t unmatched{};      // of these, without a launch
    std::uint64_t matched_late{};   // the record was there before its launch
    std::uint64_t captured{};       // booked on the path that captured them
    std::uint64_t foreign_graph{};  // of graphs that are older than the tracer
    std::uint64_t out_of_order{};   // began before one that was told earlier on the same track

    // What was not handed on.
    std::uint64_t dropped{};     // by the library, or for want of a buffer (then an estimate)
    std::uint64_t no_time{};     // without time stamps
    std::uint64_t cut_off{};     // still running when tracing ended
    std::uint64_t bad_time{};    // the end is before the beginning
    std::uint64_t stale{};       // of an earlier run of the tracer
    std::uint64_t unexpected{};  // of kinds that nobody asked for

    std::uint64_t launches{};        // launches seen
    std::uint64_t launches_lost{};   // a ring was full: their activities are unmatched
    std::uint64_t launches_open{};   // no record yet (or none to come: captured, or failed)
    std::uint64_t nodes{};           // graph nodes seen being made or cloned
    std::uint64_t nodes_lost{};      // too many to remember
    std::uint64_t classes_folded{};  // activities whose shape is not told apart any more

    // The library's own work while the program ran, and what it ran beside (at least): such times
    // may be longer than without a tracer.
    std::uint64_t library_ns{};
    std::uint64_t disturbed{};

    std::uint64_t buffers{};           // decoded
    std::uint64_t buffers_refused{};   // the pool was empty
    std::uint64_t clock_steps{};       // the library's clock was set while tracing
    std::int64_t clock_residual_ns{};  // how far off the mapping of clocks was at its worst
};

// What was added since `before`; all of `now` where the tracer began anew meanwhile. Gauges
// (launches_open, clock_residual_ns) are those of now.
TracerCounters since(const TracerCounters& now, const TracerCounters& before) noexcept;

// Takes what a tracer tells. All calls come from the tracer's thread, one at a time.
class ActivitySink {
  public:
    ActivitySink() = default;
    ActivitySink(const ActivitySink&) = delete;
    ActivitySink& operator=(const ActivitySink&) = delete;
    virtual ~ActivitySink() = default;

    // Once for each distinct value in one run of the tracer. Another run asks again, and must get
    // the same ids for the same values, so that records of both fit together.
    virtual std::uint32_t class_id(const KernelClass&) = 0;
    virtual std::uint16_t track_id(const Track&) = 0;

    virtual void activities(std::span<const ActivityRecord>) noexcept = 0;
    virtual void note(const TracerCounters&) noexcept = 0;
};

enum class TraceMode : std::uint8_t {
    none,     // no kernels: status says why
    shared,   // one of several subscribers to the vendor's library
    single,   // its only one
    overlay,  // another tool holds it: sample power, and join with the timeline that one writes
};

constexpr const char* to_string(TraceMode m) noexcept {
    constexpr const char* names[] = {"none", "shared", "single", "overlay"};
    return names[static_cast<unsigned>(m)];
}

// What is traced, or why not, for people. Never an error: a profile without kernels is a profile.
struct TracerStatus {
    TraceMode mode{};
    std::string words;    // one sentence
    std::string remedy;   // what mends it; empty: nothing to do
    std::string holder;   // overlay: who holds the library, where it tells
    std::string library;  // the file
    std::string caution;  // what this version of it is known to get wrong; empty: nothing
    std::uint32_t version{};

    [[nodiscard]] bool tracing() const noexcept {
        return mode == TraceMode::shared || mode == TraceMode::single;
    }
};

struct DeviceName {
    std::string domain;
    std::string device;
};

struct TracerSetup {
    ActivitySink* sink{};  // outlives the run
    // The region path open on the calling thread. Called for each launch, on the thread that
    // launches: no lock, no allocation. What a thread without a region of its own is booked on
    // (one of autograd's) is decided here.
    std::uint32_t (*current_path)() noexcept {};
    // Names of a device, by the library's index. Called on the tracer's thread. None: "gpu:N".
    std::function<DeviceName(std::uint32_t)> device_name;
    // The path of what a graph ran: `captured`, open when its node was made, as seen from `launch`,
    // open when the graph was launched. Called on the tracer's thread. None: `captured` itself.
    std::function<std::uint32_t(std::uint32_t launch, std::uint32_t captured)> captured_below;
    bool overlay{};                         // asked for: leave the library to others
    unsigned driver_branch{};               // 580, 610 ...; 0: unknown (see nvidia_driver_branch)
    unsigned blocks = 32;                   // at most 63 buffers ...
    std::uint32_t block_bytes = 4U << 20U;  // ... of at most this size
    std::int64_t flush_period_ns = 500'000'000;  // between requests for half full buffers; 0: none
    std::int64_t match_deadline_ns = 2'000'000'000;  // how long a record waits for its launch
};

class Tracer {
  public:
    Tracer() = default;
    Tracer(const Tracer&) = delete;
    Tracer& operator=(const Tracer&) = delete;
    virtual ~Tracer() = default;

    // One thread at a time calls these; none of them throws. start() on a running tracer changes
    // nothing.
    virtual TracerStatus start(const TracerSetup&) noexcept = 0;
    // Everything finished is with the sink when this returns; what still runs is given `patience`
    // to finish. Afterwards nothing of the tracer is left in the way of launches.
    virtual void stop(std::int64_t patience_ns) noexcept = 0;
    // Everything finished before the call is with the sink when this returns true.
    virtual bool flush(std::int64_t patience_ns) noexcept = 0;

    [[nodiscard]] virtual TracerCounters counters() const = 0;
    [[nodiscard]] virtual TracerStatus status() const = 0;
};

// A sentence where the counters say that a timeline is not to be trusted; empty where they do not.
std::string complaint(const TracerCounters&);

}  // namespace picojoule
