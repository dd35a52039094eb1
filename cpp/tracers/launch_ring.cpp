#include "tracers/launch_ring.h"

#include <new>

namespace picojoule {
namespace {

thread_local constinit bool t_ending = false;

// Hands a thread's ring on when the thread ends.
struct AtThreadEnd {
    LaunchRing** mine{};
    std::atomic<bool>* owned{};

    AtThreadEnd() = default;
    AtThreadEnd(const AtThreadEnd&) = delete;
    AtThreadEnd& operator=(const AtThreadEnd&) = delete;
    ~AtThreadEnd() {
        t_ending = true;
        if (mine != nullptr) *mine = nullptr;
        if (owned != nullptr) owned->store(false, std::memory_order_release);
    }
};

}  // namespace

constinit thread_local LaunchRing* LaunchRings::t_mine = nullptr;

bool LaunchRing::prepare(std::uint32_t epoch, std::uint32_t n) noexcept {
    const bool new_epoch = epoch != writer_epoch_;
    const std::uint32_t needed = n + (new_epoch ? 2 : 0);
    std::uint32_t head = head_.load(std::memory_order_relaxed);
    seen_tail_ = tail_.load(std::memory_order_acquire);
    if (kEntries - (head - seen_tail_) < needed) {
        lost_.store(lost_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        return false;
    }
    if (new_epoch) {
        entries_[head & kMask] = {0, kEpoch};
        entries_[(head + 1) & kMask] = {epoch, 0};
        head_.store(head + 2, std::memory_order_release);
        writer_epoch_ = epoch;
    }
    return true;
}

void LaunchRing::write(std::uint32_t epoch, std::initializer_list<LaunchEntry> entries) noexcept {
    const auto n = static_cast<std::uint32_t>(entries.size());
    if (!prepare(epoch, n)) return;
    std::uint32_t head = head_.load(std::memory_order_relaxed);
    for (const LaunchEntry& e : entries) entries_[head++ & kMask] = e;
    head_.store(head, std::memory_order_release);  // whole, or not at all
}

void LaunchRing::drain(std::uint32_t epoch, LaunchReader& reader) {
    const std::uint32_t head = head_.load(std::memory_order_acquire);
    std::uint32_t tail = tail_.load(std::memory_order_relaxed);
    while (tail != head) {
        const LaunchEntry e = entries_[tail & kMask];
        if (e.id != 0) {
            if (reader_epoch_ == epoch) reader.launch(e.id, e.value);
            ++tail;
            continue;
        }
        const LaunchEntry a = entries_[(tail + 1) & kMask];
        if (e.value == kEpoch) {
            reader_epoch_ = a.id;
            tail += 2;
            continue;
        }
        const LaunchEntry b = entries_[(tail + 2) & kMask];
        if (reader_epoch_ == epoch) {
            if (e.value == kCreated) {
                reader.node_created(whole(a), b.id);
            } else {
                reader.node_cloned(whole(a), whole(b));
            }
        }
        tail += 3;
    }
    tail_.store(tail, std::memory_order_release);
}

LaunchRings& LaunchRings::instance() {
    static auto* rings = new LaunchRings;
    return *rings;
}

// One that an ended thread left, or a new one.
LaunchRing* LaunchRings::ring() {
    for (LaunchRing* ring = first_.load(std::memory_order_acquire); ring != nullptr;
         ring = ring->next_) {
        bool owned = false;
        if (ring->owned_.compare_exchange_strong(owned, true, std::memory_order_acquire)) {
            return ring;
        }
    }
    auto* ring = new LaunchRing;
    ring->next_ = first_.load(std::memory_order_relaxed);
    while (!first_.compare_exchange_weak(ring->next_, ring, std::memory_order_release,
                                         std::memory_order_relaxed)) {
    }
    return ring;
}

LaunchRing* LaunchRings::claim() noexcept {
    if (t_ending) return nullptr;
    LaunchRing* mine = nullptr;
    try {
        mine = instance().ring();
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
    thread_local AtThreadEnd at_end;
    at_end.mine = &t_mine;
    at_end.owned = &mine->owned_;
    t_mine = mine;
    return mine;
}

void LaunchRings::drain(std::uint32_t epoch, LaunchReader& reader) {
    for (LaunchRing* ring = first_.load(std::memory_order_acquire); ring != nullptr;
         ring = ring->next_) {
        ring->drain(epoch, reader);
    }
}

std::uint64_t LaunchRings::lost() const noexcept {
    std::uint64_t sum = 0;
    for (const LaunchRing* ring = first_.load(std::memory_order_acquire); ring != nullptr;
         ring = ring->next_) {
        sum += ring->lost();
    }
    return sum;
}

}  // namespace picojoule
