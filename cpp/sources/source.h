// The whole contract of a meter. To add one: copy the shortest file beside this one, implement
// read(), and add one line to registry.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/channel.h"

namespace picojoule {

enum class ReadStatus : std::uint8_t {
    ok,
    retry,   // this read failed, the next may work
    denied,  // permission was withdrawn; asking again now and then is worth it
    gone,    // the device left; ask no more
};

// One value of one channel. A value may be missing (valid == false) while others of the same read
// are there: a board that reports power but, just now, no energy.
struct RawValue {
    std::uint64_t raw{};
    bool valid{};
};

// A device that is asked for its counters by the sampler's thread, and by no other.
//
// Construction may be slow and may allocate. read() does neither, does not throw, and fills one
// RawValue for each channel, all from one look at the device.
class Source {
  public:
    Source() = default;
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    virtual ~Source() = default;

    [[nodiscard]] virtual std::span<const Channel> channels() const noexcept = 0;
    virtual ReadStatus read(std::span<RawValue> values) noexcept = 0;

    // 0: the engine follows the ticks of the channels. Otherwise no read comes sooner than so long
    // after the previous one, whatever rate a user asks for: the values change too slowly, or are
    // means over the time between two reads, which then needs a length.
    [[nodiscard]] virtual std::int64_t pace_ns() const noexcept { return 0; }

    // Why the last read was not ok, in words for a person. Called rarely; may allocate.
    [[nodiscard]] virtual std::string failure() const { return "the read failed"; }
};

// Where a meter looks. A parameter, so that a container can point at the host's tree and a test at
// its own.
struct Environment {
    std::string sysfs_root = "/sys";
    std::string procfs_root = "/proc";
    std::string argument;  // what follows the colon in "replay:run.pj"

    // PICOJOULE_SYSFS and PICOJOULE_PROCFS, for containers that mount the host's trees elsewhere.
    static Environment from_process();
};

// One line of `picojoule doctor`.
struct Finding {
    enum class State : std::uint8_t { works, refused, absent };
    State state{};
    std::string subject;  // the file, device or call it is about
    std::string why;      // one sentence
    std::string remedy;   // the one command that mends it; empty: nothing to do
};

constexpr const char* to_string(Finding::State s) noexcept {
    constexpr const char* names[] = {"works", "refused", "absent"};
    return names[static_cast<unsigned>(s)];
}

struct Discovery {
    std::vector<std::unique_ptr<Source>> sources;
    std::vector<Finding> findings;  // never empty: "nothing here" is an answer too
};

struct SourceFactory {
    std::string_view name;     // "nvml"
    std::string_view summary;  // for `picojoule doctor`
    // Opened when nobody names a source. "fallback" ones only where no other source of their kind
    // (CPU energy) works; "on_request" ones (replay) only by name.
    enum class Default : std::uint8_t { yes, fallback, on_request };
    Default by_default;
    Discovery (*discover)(const Environment&);
};

// Every meter there is, in the order in which they are tried. Explicit: no static initialisers.
std::span<const SourceFactory> source_registry() noexcept;

}  // namespace picojoule
