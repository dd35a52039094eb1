// The one fixed-size record in which everything is written down while recording: to memory, and to
// the journal on disk. Plain bytes: no pointers, no allocation, the same on disk as in memory.
#pragma once

#include <cstdint>
#include <type_traits>

namespace picojoule {

enum class RecordKind : std::uint8_t {
    tick = 1,    // a channel published a value
    cell = 2,    // time spent in one region path since the previous snapshot
    span = 3,    // one region call, for the timeline
    gap = 4,     // a channel said nothing for a while
    text = 5,    // a string follows, in ceil(b / 32) records of raw bytes
    mark = 6,    // the profile began or ended
    kernel = 7,  // something that ran on a device
};

// What is special about a tick.
namespace tick_flag {
constexpr std::uint8_t kHeld = 1;      // a value seen, not seen to change: its tick time is unknown
constexpr std::uint8_t kWrapped = 2;   // the register rolled over; the increment is right
constexpr std::uint8_t kReset = 4;     // the counter started anew; the increment is unknown
constexpr std::uint8_t kAfterGap = 8;  // the first value after a failure
constexpr std::uint8_t kMissed = 16;   // ticks before this one were not seen one by one
constexpr std::uint8_t kLate = 32;     // the sampler was held up: the bracket is wide
constexpr std::uint8_t kDuplicate = 64;  // an expected tick brought the same value again
}  // namespace tick_flag

// Of a cell: the CPU time spent while the path was the innermost one, as a share of its time.
namespace cell_cpu {
constexpr std::uint8_t kUnknown = 0;
constexpr double kSteps = 254.0;
constexpr std::uint8_t encode(std::int64_t cpu_ns, std::int64_t time_ns) {
    if (time_ns <= 0) return kUnknown;
    const double share = static_cast<double>(cpu_ns) / static_cast<double>(time_ns);
    return static_cast<std::uint8_t>(1.5 + kSteps * (share < 0.0   ? 0.0
                                                     : share > 1.0 ? 1.0
                                                                   : share));
}
constexpr double ns(std::uint8_t flags, std::int64_t time_ns) {  // REQUIRES: known
    return static_cast<double>(time_ns) * (static_cast<double>(flags) - 1.0) / kSteps;
}
}  // namespace cell_cpu

// What is special about a kernel.
namespace kernel_flag {
constexpr std::uint8_t kReplayed = 1;   // part of a graph; its path is that of the capture
constexpr std::uint8_t kUnmatched = 2;  // its launch was not seen: the path is not known
constexpr std::uint8_t kOldGraph = 4;   // of a graph captured before we looked: path of the launch
}  // namespace kernel_flag

enum class TextUse : std::uint8_t {
    path = 1,
    channel = 2,
    reason = 3,
    meta = 4,
    finding = 5,
    kernel_class = 6,
    track = 7,
};
enum class MarkUse : std::uint8_t { begin = 1, end = 2 };

//        a                 b                c                    d              id
// tick   new seen at (ns)  old seen at      cumulative raw       ticks missed   channel
// cell   snapshot at       ns of open time  enters<<32 | exits   path           most open at once
//        (its flags: cell_cpu)
// span   begin             end              thread               path           -
// gap    begin             end (0: open)    -                    reason text    channel
// kernel begin             end              graph node<<32 | path  kernel class track
// text   parent path       bytes            -                    its id         TextUse
// mark   time              wall clock (ns)  -                    -              MarkUse
struct Record {
    std::int64_t a{};
    std::int64_t b{};
    std::uint64_t c{};
    std::uint32_t d{};
    RecordKind kind{};
    std::uint8_t flags{};
    std::uint16_t id{};
};
static_assert(sizeof(Record) == 32 && std::is_trivially_copyable_v<Record>);

}  // namespace picojoule
