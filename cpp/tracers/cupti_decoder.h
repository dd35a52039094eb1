// From CUPTI's records to Activities: no thread, no lock, and of CUPTI only the layout of records.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tracers/clock_map.h"
#include "tracers/cupti_api.h"
#include "tracers/graph_nodes.h"
#include "tracers/launch_ring.h"
#include "tracers/launch_table.h"
#include "tracers/tracer.h"

namespace picojoule::cupti {

// One run's worth of state: ids and pointers mean something else after the next subscription.
class Decoder final : public LaunchReader {
  public:
    Decoder(ActivitySink& sink, std::function<DeviceName(std::uint32_t)> device_name,
            std::int64_t match_deadline_ns,
            std::function<std::uint32_t(std::uint32_t, std::uint32_t)> captured_below = {});

    [[nodiscard]] ClockMap& clock() noexcept { return clock_; }
    [[nodiscard]] TracerCounters& counters() noexcept { return counters_; }
    [[nodiscard]] std::size_t open_launches() const noexcept { return launches_.open(); }

    void launch(std::uint32_t id, std::uint32_t path) override;
    void node_created(std::uint64_t node, std::uint32_t path) override;
    void node_cloned(std::uint64_t node, std::uint64_t original) override;

    // One record. `now` is when it came, for its deadline.
    void record(const void* record, std::int64_t now);
    // Looks again for the launches of records that had none, and gives up those that waited until
    // `now` for theirs.
    void settle(std::int64_t now);
    // Hands on what is decoded.
    void emit();

  private:
    static constexpr std::size_t kBatch = 1024;
    static constexpr std::size_t kMostWaiting = 65'536;
    static constexpr std::size_t kMostClasses = 65'536;
    static constexpr std::size_t kMostSizes = 4096;
    static constexpr std::size_t kMostTracks = 65'535;
    static constexpr std::size_t kRecent = 64;

    struct ClassKey {  // of a kernel: name, and four pairs of numbers; of a copy: kind and bytes
        std::uint64_t word[5];
        bool operator==(const ClassKey&) const = default;
    };
    struct ClassSlot {
        ClassKey key;
        std::uint32_t id;
        bool used;
    };
    struct TrackKey {
        std::uint32_t device, context, stream;
        bool operator==(const TrackKey&) const = default;
    };
    struct TrackSlot {
        TrackKey key;
        std::uint16_t id;
        std::int64_t last_begin;
    };
    struct Waiting {
        ActivityRecord record;
        std::uint32_t correlation;
        std::int64_t deadline;
    };

    static std::uint64_t hash(const ClassKey& key) noexcept;

    void kernel(const KernelPrefix& r, std::int64_t now);
    void copy(const MemcpyPrefix& r, std::int64_t now);
    void set(const MemsetPrefix& r, std::int64_t now);
    void overhead(const OverheadPrefix& r);
    // What all kinds have in common; false: there is nothing to hand on.
    bool times(std::uint64_t start, std::uint64_t end, ActivityRecord& into);
    void place(ActivityRecord& a, std::uint32_t correlation, std::uint64_t graph_node,
               std::int64_t now);
    // Books `a` on its launch, which was in `path`.
    void launched(ActivityRecord& a, std::uint32_t path);
    void unmatched(ActivityRecord& a);
    void push(const ActivityRecord& a);

    TrackSlot& track(std::uint32_t device, std::uint32_t context, std::uint32_t stream);
    std::uint32_t class_of(const ClassKey& key, ActivityKind kind);
    std::uint32_t new_class(const ClassKey& key, ActivityKind kind);
    std::uint32_t by_value(const KernelClass& value);
    void grow();

    ActivitySink& sink_;
    std::function<DeviceName(std::uint32_t)> device_name_;
    std::int64_t match_deadline_ns_;
    ClockMap clock_;
    TracerCounters counters_;

    LaunchTable launches_;
    std::uint32_t last_launch_{};
    GraphNodes nodes_;
    std::function<std::uint32_t(std::uint32_t, std::uint32_t)> captured_below_;
    std::unordered_map<std::uint64_t, std::uint32_t> below_;  // what that gave; of few pairs
    std::vector<Waiting> waiting_;

    std::vector<ClassSlot> classes_;  // open addressing; a power of two
    std::size_t classes_used_{};
    std::size_t sizes_used_{};
    std::unordered_map<std::string, std::uint32_t> values_;  // classes by what they are
    std::unordered_map<std::uint64_t, std::string> names_;   // by the library's pointer

    std::vector<TrackSlot> tracks_;
    std::unordered_map<std::uint64_t, std::size_t> track_places_;
    std::size_t last_track_{};
    std::vector<ActivityRecord> batch_;

    // What the library did for itself last, on its clock.
    std::array<std::pair<std::uint64_t, std::uint64_t>, kRecent> recent_{};
    std::size_t recent_at_{};
    std::uint64_t recent_until_{};
};

}  // namespace picojoule::cupti
