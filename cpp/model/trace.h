// Everything one profile recorded, sorted by time. The only value that crosses from recording to
// analysis, from process to file, and from C++ to Python.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/channel.h"
#include "model/kernel.h"
#include "model/record.h"

namespace picojoule {

// One node of the tree of region paths: a name below a parent. Node 0 is the root and has no name.
struct PathNode {
    std::uint32_t parent{};
    std::string name;
};

struct GapNote {
    std::uint16_t channel{};
    std::int64_t begin_ns{};
    std::int64_t end_ns{};
    std::string reason;
};

struct Trace {
    std::string name;
    std::int64_t begin_ns{};
    std::int64_t end_ns{};
    std::int64_t begin_wall_ns{};  // CLOCK_REALTIME at begin
    std::vector<Channel> channels;
    std::vector<PathNode> paths;
    std::vector<Record> ticks;    // RecordKind::tick, in order of Record::a; may reach outside
                                  // [begin_ns, end_ns] so that both edges have a tick around them
    std::vector<Record> cells;    // RecordKind::cell
    std::vector<Record> spans;    // RecordKind::span, in order of end
    std::vector<Record> kernels;  // RecordKind::kernel, in order of begin; empty if not kept
    std::vector<KernelClass> kernel_classes;
    std::vector<Track> tracks;
    std::vector<KernelCell> kernel_cells;  // sums over all kernels, also those not kept one by one
    std::vector<GapNote> gaps;
    std::map<std::string, double> overhead;
    std::vector<std::string> warnings;
    std::map<std::string, std::string> meta;  // "channel:0" ... as JSON when read from a journal
    bool complete{true};  // false: recovered from a journal that nobody finished
};

}  // namespace picojoule
