// Regions: what the program says it is doing. The hottest path of picojoule.
//
// Entering or leaving a region reads the clock once and updates one Cell of the calling thread: no
// allocation, no lock, no system call, no device. A Cell is a counter of time, read by the sampler
// at each tick exactly as it reads the joules, so nothing is lost at any call rate and memory does
// not grow with calls. Calls long enough to be seen on a timeline are also kept one by one (Span),
// as far as a budget goes.
#pragma once

#include <time.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "recorder/paths.h"

namespace picojoule {

// Time spent in one path by one thread. Written by that thread only, read by any.
//
// `acc` holds the sum of all exits minus the sum of all entries (as ns), `open` how many calls are
// open; so the time spent until t, open calls included, is acc + open * t: exact at every instant,
// in whatever order calls from tasks and generators begin and end.
struct Cell {
    std::atomic<std::int64_t> acc{};
    std::atomic<std::int32_t> open{};
    std::atomic<std::uint32_t> enters{};
    std::atomic<std::uint32_t> exits{};
};

struct SpanItem {
    std::int64_t begin_ns;
    std::int64_t end_ns;
    PathId path;
};

// What one thread knows of its regions. Owned by RegionStore, never freed (a later thread takes it
// over, and its sums stay right), so a reader never meets a dead one.
class ThreadRegions {
  public:
    static constexpr std::size_t kBlock = 256;
    static constexpr std::size_t kRing = 8192;  // spans that fit between two looks of the sampler

    // REQUIRES: called by the owning thread.
    void enter(PathId path, std::int64_t now) noexcept {
        Cell& cell = cell_of(path);
        write_begin();
        bump(cell.acc, -now);
        bump(cell.open, 1);
        bump(cell.enters, 1U);
        write_end();
    }
    void exit(PathId path, std::int64_t now) noexcept {
        Cell& cell = cell_of(path);
        write_begin();
        bump(cell.acc, now);
        bump(cell.open, -1);
        bump(cell.exits, 1U);
        write_end();
    }
    // A call inside a call of the same region: counted, its time is the outer one's.
    void count_only(PathId path) noexcept {
        Cell& cell = cell_of(path);
        write_begin();
        bump(cell.enters, 1U);
        bump(cell.exits, 1U);
        write_end();
    }
    void keep_span(const SpanItem& item) noexcept {
        const std::uint64_t head = head_.load(std::memory_order_relaxed);
        if (head - tail_.load(std::memory_order_acquire) >= kRing) {
            bump(spans_dropped_, std::uint64_t{1});
            return;
        }
        ring_[head % kRing] = item;
        head_.store(head + 1, std::memory_order_release);
    }

    [[nodiscard]] std::uint32_t index() const noexcept { return index_; }

    // What this thread is in now, told to threads that work for it (see RegionStore::present_path).
    void set_present(PathId path) noexcept {
        if (index_ < kMostPresent) present_[index_].store(path, std::memory_order_relaxed);
    }

  private:
    friend class RegionStore;
    friend struct ThreadExit;
    static constexpr std::size_t kMostPresent = 256;
    using Block = std::array<Cell, kBlock>;

    explicit ThreadRegions(std::uint32_t index) : index_(index), ring_(kRing) {}

    // A plain load and store: this thread is the only writer, a locked instruction would be waste.
    template <class T, class V>
    static void bump(std::atomic<T>& value, V by) noexcept {
        value.store(static_cast<T>(value.load(std::memory_order_relaxed) + static_cast<T>(by)),
                    std::memory_order_relaxed);
    }
    // A sequence lock: odd while a cell is half written.
    void write_begin() noexcept {
        sequence_.store(sequence_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_release);
    }
    void write_end() noexcept {
        sequence_.store(sequence_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
    Cell& cell_of(PathId path) noexcept {
        Block* block = blocks_[path / kBlock].load(std::memory_order_relaxed);
        if (block == nullptr) block = add_block(path / kBlock);
        return (*block)[path % kBlock];
    }
    Block* add_block(std::size_t which) noexcept;

    std::uint32_t index_;
    std::atomic<std::uint32_t> sequence_{};
    std::array<std::atomic<Block*>, kMostPaths / kBlock + 1> blocks_{};
    std::vector<SpanItem> ring_;
    std::atomic<std::uint64_t> head_{};
    std::atomic<std::uint64_t> tail_{};
    std::atomic<std::uint64_t> spans_dropped_{};

    // The sampler's own notes of this thread; guarded by the store's lock.
    static constexpr clockid_t kNoClock = -1;
    clockid_t cpu_clock_{kNoClock};  // of the thread that is alive in it
    static constexpr std::int64_t kNotAsked = -1;
    std::int64_t cpu_ns_{kNotAsked};  // what it said at the latest snapshot, or when it came
    std::int64_t cpu_at_ns_{};
    // Of threads that came and went since then.
    std::int64_t ended_cpu_ns_{}, ended_life_ns_{};
    bool ended_unknown_{};
    std::vector<std::int64_t> last_ns_;  // time in each path then

    static std::array<std::atomic<PathId>, kMostPresent> present_;  // by index_; 0: in no region
};

// What all threads together spent in one path, at one instant.
struct PathTotals {
    std::int64_t time_ns{};
    std::int32_t open{};
    std::uint32_t enters{};
    std::uint32_t exits{};
    std::int64_t cpu_ns{};  // CPU time since the previous snapshot, while it was the innermost one
    bool cpu_known{true};   // false: of some thread that was in it there is no telling
};

// All threads' regions. One a process, never destroyed (threads may outlive everything).
class RegionStore {
  public:
    static RegionStore& instance();

    // The calling thread's own; made on first use and handed on when the thread ends.
    static ThreadRegions& this_thread() {
        ThreadRegions* mine = current_;
        return mine != nullptr ? *mine : adopt();
    }

    // One that is no thread's: for calls that begin in one thread and end in another. Its lock
    // makes its callers one writer. REQUIRES: after a fork the child makes a new one.
    ThreadRegions& make_lane();

    PathTable& paths() noexcept { return paths_; }

    // The region of whoever a thread without regions of its own works for: that of the one thread
    // which is in a region now. Autograd's threads launch the kernels of the backward pass while
    // their caller waits in it; a copy of its stack taken earlier would credit an older step.
    // kRootPath if nobody is in a region, or several are: then nothing is claimed. No lock.
    [[nodiscard]] PathId present_path() const noexcept;

    // Sums over all threads at `now`, index = path id. REQUIRES: one caller at a time.
    //
    // A thread's CPU time is asked of the kernel here and not when regions begin and end, which
    // must not cost a system call: between two snapshots it is taken to be spread evenly. Besides,
    // each thread is asked when it first comes and when it goes.
    void snapshot(std::int64_t now, std::vector<PathTotals>& totals);

    // Hands every kept span to `sink(thread, item)`. REQUIRES: one caller at a time.
    template <class Sink>
    void drain_spans(Sink&& sink) {
        const std::lock_guard lock(mutex_);
        for (const auto& thread : threads_) {
            std::uint64_t tail = thread->tail_.load(std::memory_order_relaxed);
            const std::uint64_t head = thread->head_.load(std::memory_order_acquire);
            for (; tail != head; ++tail)
                sink(thread->index_, thread->ring_[tail % ThreadRegions::kRing]);
            thread->tail_.store(tail, std::memory_order_release);
        }
    }
    [[nodiscard]] std::uint64_t spans_dropped() const;

    // Calls shorter than this are not kept one by one. INT64_MAX: nobody is recording.
    std::atomic<std::int64_t> least_span_ns{INT64_MAX};
    // Counted for the report: regions closed while an inner one was open.
    std::atomic<std::uint64_t> closed_out_of_order{};

    std::mutex& mutex() noexcept { return mutex_; }

    // In a forked child, where only the forking thread lives on: what the others had open is
    // closed, their cells await new threads. REQUIRES: mutex() is held.
    void forget_other_threads() noexcept;

  private:
    friend struct ThreadExit;
    RegionStore() = default;
    static ThreadRegions& adopt();
    ThreadRegions& add_locked();
    void book_cpu_time(ThreadRegions& thread, std::int64_t now, std::vector<PathTotals>& totals);
    static void begin_life(ThreadRegions& mine) noexcept;  // REQUIRES: called by its thread
    static void end_life(ThreadRegions& mine) noexcept;

    static thread_local ThreadRegions* current_;
    PathTable paths_;
    std::atomic<std::size_t> known_{};  // threads_.size(), for readers without the lock
    mutable std::mutex mutex_;          // guards the two lists, not what is in the threads
    std::vector<std::unique_ptr<ThreadRegions>> threads_;
    std::vector<ThreadRegions*> free_;
    // Used inside a snapshot only.
    struct Spent {
        PathId path;
        std::int64_t ns;
    };
    std::vector<Spent> spent_;
    std::vector<PathId> parents_;
    std::vector<std::int64_t> inner_ns_;
};

}  // namespace picojoule
