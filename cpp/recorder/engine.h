// The recorder: one engine a process, one thread that samples, one that writes.
//
//   sampler   asks every meter, reads the regions' cells, completes finished sessions. Never
//             touches Python, never holds a lock while a meter is being read.
//   writer    exists only while a session has a journal: appends to disk, may block there.
//   user's    begin and end sessions, enter and leave regions (no lock, see regions.h), wait for a
//             result. begin() waits for meters that sleep and writes the journal's first frame;
//             end() takes one short lock.
//
// Sessions (one profile each) are intervals on one shared record: any number may overlap, and they
// cost nothing but two snapshots each. The engine keeps sampling for a moment after the last
// session ended, so that a loop over short profiles finds the sensors' clocks known.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/counter.h"
#include "base/unique_fd.h"
#include "model/journal.h"
#include "model/trace.h"
#include "recorder/kernel_recorder.h"
#include "recorder/log.h"
#include "recorder/regions.h"
#include "recorder/tick_clock.h"
#include "sources/source.h"

namespace picojoule {

// Ticks before the profile teach its analysis the sensor's clock and how power moves here; older
// ones tell of another time. The same in memory and in the journal.
constexpr std::int64_t kLookbackNs = 5 * kNsPerS;

struct SessionOptions {
    std::string name;
    std::vector<std::string> sources;  // registry names, "replay:KEY"; ignored if all_sources
    bool all_sources{true};
    double rate_hz{};               // 0: let each meter's own clock decide
    std::string journal;            // path of the journal to write; empty: memory only
    std::vector<std::string> meta;  // "key=value", kept in the journal for whoever recovers it
    KernelWish kernels{KernelWish::off};
};

// What the engine counts about itself; a session reports the difference between its two ends.
struct EngineCounters {
    std::int64_t sampler_cpu_ns{};  // as of its latest snapshot: asking the kernel costs
    std::uint64_t polls{};
    std::uint64_t poll_ns{};
    std::uint64_t ticks{};
    std::uint64_t ticks_missed{};
    std::uint64_t late{};
    std::uint64_t duplicates{};
    std::uint64_t wraps{};
    std::uint64_t resets{};
    std::uint64_t spans_dropped{};
    std::uint64_t spans_folded{};
    std::uint64_t out_of_order{};
};

struct JournalState {
    explicit JournalState(const std::string& path) : writer(path) {}
    JournalWriter writer;
    std::vector<Record> pending;  // appended under the engine's lock, taken by the writer
    std::size_t paths_written{};
    std::uint32_t reasons{};
    std::uint64_t records_lost{};
    std::int64_t lost_since_ns{};  // 0: writing works
    std::int64_t retry_at_ns{};
    std::string writer_words;  // what went wrong, for the report
    bool begun{};              // the first frame is on disk: the writer may go on
    bool finished{};           // the end mark is in `pending`
    bool closed{};             // everything is on disk
};

// One profile. Made by Engine::begin(); all fields are the engine's, guarded by its lock.
struct Session {
    SessionOptions options;
    std::uint64_t id{};
    std::int64_t begin_ns{};
    std::int64_t begin_wall_ns{};
    std::int64_t end_ns{};       // 0: open
    std::int64_t deadline_ns{};  // stop waiting for the closing tick then
    bool complete{};
    bool interrupted{};                   // ended by the interpreter's exit, not by its block
    std::vector<std::uint16_t> channels;  // global index of each of the session's own
    std::vector<void*> meters;            // Engine::Meter*, to be released when complete
    std::uint64_t ticks_from{}, ticks_to{}, states_from{}, states_to{};
    std::uint64_t cells_from{}, cells_to{}, spans_from{}, spans_to{};
    EngineCounters at_begin, at_end;
    std::vector<std::pair<PathId, std::int32_t>> open_at_begin;  // calls already open
    std::unique_ptr<JournalState> journal;
    std::shared_ptr<KernelSession> kernels;  // null: not wanted
    std::optional<Trace> trace;              // made when complete
};

// One line of doctor: which meter said it, and what it offers.
struct MeterFinding {
    std::string meter;
    Finding finding;
};

class Engine {
  public:
    // The process's engine, made (and its thread started) on first use. A forked child gets its
    // own.
    static Engine& instance();
    // Registers what a fork does, once; regions need it even where no profile ever begins.
    static void handle_forks();
    // The engine if there is one in this very process; null otherwise.
    static Engine* existing() noexcept;

    // Begins a session. Blocks only until meters that were not being sampled have been opened and
    // read once, and until a journal's first frame is written. Throws std::invalid_argument for an
    // unknown meter, std::runtime_error where a named meter does not work or the journal cannot be
    // made; the text is for a person.
    std::shared_ptr<Session> begin(SessionOptions options);
    // Ends it: two clock reads and a snapshot. Waits for nothing.
    void end(Session& session);
    // Waits until the closing ticks have come (at most one tick of the slowest meter, bounded by
    // the session's deadline). False: timeout.
    bool wait(Session& session, std::int64_t timeout_ns);
    // The trace of a complete session, or what there is so far of an open one.
    Trace trace(Session& session);
    // Waits until the journal is on disk. Returns the words of its failure, empty if there was
    // none.
    std::string flush_journal(Session& session, std::int64_t timeout_ns);
    // Ends every open session as interrupted and stops the threads; for the interpreter's exit.
    void shutdown();

    // Opens every default meter, looks at the others, and returns what each said. Waits for slow
    // drivers.
    std::vector<MeterFinding> findings();
    // What the meters said that are open already.
    std::vector<MeterFinding> known_findings();
    // How kernels are being traced, or why not.
    TracerStatus tracer_status() const { return kernels_.status(); }
    // (meter key, channel) of every open meter.
    std::vector<std::pair<std::string, Channel>> channels();

  private:
    struct ChannelState {
        Channel channel;
        UnwrappedCounter counter;
        TickClock clock;
        bool locks{};  // polled by its own clock; others are read along
        bool paced{};  // its source sets the pace; see Source::pace_ns()
        bool seen{};
        bool resume{};  // the next value is a starting point again
        std::uint64_t last_raw{};
        std::int64_t old_seen_ns{};  // start of the last read that saw the present value
        std::int64_t last_change_ns{};
        std::int64_t gap_begin_ns{};  // 0: no gap
    };
    struct OpenSource {
        std::unique_ptr<Source> source;
        std::vector<RawValue> values;
        std::uint16_t first_channel{};
        std::int64_t next_ns{};
        std::int64_t planned_ns{};
        std::int64_t pace_ns{};  // of the source; 0: its channels' ticks
        double cost_ns{20'000};
        bool live{};  // is being polled and has been read at least once since it was woken
        bool dead{};
        std::uint32_t failures{};
    };
    struct Meter {
        std::string key;  // registry name, or "replay:KEY"
        std::vector<OpenSource> sources;
        bool fallback{};
        std::uint32_t users{};
        double rate_hz{};  // highest that an open session asked for; 0: none did
    };

    Engine();
    ~Engine() = delete;  // leaked: see fork and exit

    void run() noexcept;    // the sampler
    void write() noexcept;  // the writer

    // All below: REQUIRES the lock, except where said.
    Meter& meter(std::unique_lock<std::mutex>& lock, const std::string& key);
    void open_meters(std::unique_lock<std::mutex>& lock);
    std::vector<Meter*> choose_locked(std::unique_lock<std::mutex>& lock,
                                      const SessionOptions& options);
    void poll(std::unique_lock<std::mutex>& lock, Meter& m, OpenSource& s);
    void take(ChannelState& c, std::uint16_t index, const RawValue& value, std::int64_t t0,
              std::int64_t t1, bool late, bool paced);
    void fail(OpenSource& s, ReadStatus status, std::int64_t t0, std::int64_t t1);
    void open_gap(std::uint16_t channel, std::int64_t begin, const std::string& reason);
    void close_gap(std::uint16_t channel, std::int64_t end);
    bool yields(OpenSource& s);
    void plan(Meter& m, OpenSource& s, std::int64_t now);
    void snapshot(std::int64_t now);
    void log_tick(const Record& record);
    void bound_memory();
    void complete_sessions(std::int64_t now);
    bool closing_ticks_in(const Session& s) const;
    Trace materialise(const Session& s) const;
    void trim();
    EngineCounters counters() const;
    void begin_journal(const std::shared_ptr<Session>& s);
    void end_journal(Session& s);
    static void journal_tick(Session& s, const Record& record);
    static void journal_gap(Session& s, const GapNote& gap);
    DeviceName device_of(const std::string& uuid);  // takes the lock
    void wake() const noexcept;
    double dither() noexcept;
    // No lock.
    void sleep_until(std::int64_t deadline_ns) noexcept;

    std::mutex mutex_;
    std::condition_variable changed_;       // meters opened, sources live, sessions complete
    std::condition_variable journal_work_;  // the writer has something to do, or has done it
    std::vector<std::unique_ptr<Meter>> meters_;
    std::vector<std::string> wanted_;  // meter keys to be opened by the sampler
    std::vector<std::unique_ptr<ChannelState>> channels_;
    std::vector<MeterFinding> findings_;
    std::vector<std::shared_ptr<Session>> sessions_;  // open, or waiting for their closing tick
    std::vector<std::shared_ptr<Session>> journals_;  // with a journal that is not closed yet
    Log ticks_, cells_, spans_;
    Log states_;  // ticks of paced sources, which are many and must not push out those of energy
    std::vector<GapNote> gaps_;
    std::vector<PathTotals> totals_, last_totals_;
    std::int64_t last_snapshot_ns_{};
    std::int64_t last_cells_ns_{};  // the latest snapshot that left a record
    std::int64_t linger_until_ns_{};
    std::uint64_t next_session_{};
    std::uint64_t random_{0x9E3779B97F4A7C15ULL};
    EngineCounters counters_;
    KernelRecorder kernels_{[this](const std::string& uuid) { return device_of(uuid); }};
    bool parked_{};  // the sampler sleeps until somebody wakes it
    bool stopping_{};
    bool stopped_{};
    UniqueFd wake_fd_;
    std::thread sampler_, writer_;
    bool writer_running_{};
    bool writer_stop_{};
};

// Makes a stored trace available to `sources=["replay:KEY"]`; returns KEY.
std::string offer_replay(Trace trace);

}  // namespace picojoule
