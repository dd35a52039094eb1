// What happens on the launching thread: eight bytes into a ring of its own.
//
// A thread writes {correlation id, path} and goes on: no lock, no string, and no allocation but for
// the ring itself at a thread's first launch. The tracer's thread empties the rings before it looks
// at any record, so a launch is there before its record is: the library delivers a record after the
// launch that made it.
//
// Ids start anew with each subscription. Each run of the tracer has a number, its epoch, and a ring
// says once in its stream when the epoch changed: entries left over from an earlier run are known.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>

namespace picojoule {

struct LaunchEntry {
    std::uint32_t id;     // 0: a control entry, `value` says which
    std::uint32_t value;  // the path
};
static_assert(sizeof(LaunchEntry) == 8);

// What takes the entries out.
class LaunchReader {
  public:
    LaunchReader() = default;
    LaunchReader(const LaunchReader&) = delete;
    LaunchReader& operator=(const LaunchReader&) = delete;
    virtual ~LaunchReader() = default;

    virtual void launch(std::uint32_t id, std::uint32_t path) = 0;
    virtual void node_created(std::uint64_t node, std::uint32_t path) = 0;
    virtual void node_cloned(std::uint64_t node, std::uint64_t original) = 0;
};

// One writer, one reader.
class LaunchRing {
  public:
    static constexpr std::uint32_t kEntries = 1U << 15U;  // 256 KiB, of which used pages count

    // The writer's side. What does not fit is lost, and counted. True: the ring is half full, and
    // it is time that somebody emptied it.
    bool launch(std::uint32_t epoch, std::uint32_t id, std::uint32_t path) noexcept {
        std::uint32_t head = head_.load(std::memory_order_relaxed);
        if (epoch != writer_epoch_ || head - seen_tail_ >= kCrowded) [[unlikely]] {
            if (!prepare(epoch, 1)) return true;
            head = head_.load(std::memory_order_relaxed);
        }
        entries_[head & kMask] = {id, path};
        head_.store(head + 1, std::memory_order_release);
        return head - seen_tail_ >= kCrowded;
    }
    void node_created(std::uint32_t epoch, std::uint64_t node, std::uint32_t path) noexcept {
        write(epoch, {{0, kCreated}, halves(node), {path, 0}});
    }
    void node_cloned(std::uint32_t epoch, std::uint64_t node, std::uint64_t original) noexcept {
        write(epoch, {{0, kCloned}, halves(node), halves(original)});
    }

    // The reader's side: hands on all that was written before the call, in `epoch`.
    void drain(std::uint32_t epoch, LaunchReader& reader);

    [[nodiscard]] std::uint64_t lost() const noexcept {
        return lost_.load(std::memory_order_relaxed);
    }

  private:
    friend class LaunchRings;

    static constexpr std::uint32_t kMask = kEntries - 1;
    static constexpr std::uint32_t kCrowded = kEntries / 2;
    enum Control : std::uint32_t { kEpoch = 1, kCreated = 2, kCloned = 3 };

    static LaunchEntry halves(std::uint64_t v) noexcept {
        return {static_cast<std::uint32_t>(v), static_cast<std::uint32_t>(v >> 32U)};
    }
    static std::uint64_t whole(LaunchEntry e) noexcept {
        return e.id | static_cast<std::uint64_t>(e.value) << 32U;
    }

    // Makes room for `n` entries and, if the epoch is new, writes so.
    bool prepare(std::uint32_t epoch, std::uint32_t n) noexcept;
    void write(std::uint32_t epoch, std::initializer_list<LaunchEntry> entries) noexcept;

    std::unique_ptr<LaunchEntry[]> entries_ =
        std::make_unique_for_overwrite<LaunchEntry[]>(kEntries);

    alignas(64) std::atomic<std::uint32_t> head_{0};
    std::uint32_t seen_tail_{0};  // the writer's last look at tail_
    std::uint32_t writer_epoch_{0};
    std::atomic<std::uint64_t> lost_{0};

    alignas(64) std::atomic<std::uint32_t> tail_{0};
    std::uint32_t reader_epoch_{0};

    std::atomic<bool> owned_{true};  // by a living thread
    LaunchRing* next_{};
};

// The rings of all threads. Never destroyed; a ring whose thread ended serves a later one.
class LaunchRings {
  public:
    static LaunchRings& instance();

    // The calling thread's; null while the thread is ending, or where there is no memory.
    static LaunchRing* mine() noexcept {
        LaunchRing* ring = t_mine;
        return ring != nullptr ? ring : claim();
    }

    void drain(std::uint32_t epoch, LaunchReader& reader);
    [[nodiscard]] std::uint64_t lost() const noexcept;

  private:
    static LaunchRing* claim() noexcept;
    LaunchRing* ring();
    static constinit thread_local LaunchRing* t_mine;

    std::atomic<LaunchRing*> first_{nullptr};
};

}  // namespace picojoule
