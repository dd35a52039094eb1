#include "recorder/regions.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace picojoule {

// Initial-exec: one instruction instead of a call. Eight bytes of static TLS are always to be had.
thread_local ThreadRegions* RegionStore::current_ __attribute__((tls_model("initial-exec"))) =
    nullptr;

std::array<std::atomic<PathId>, ThreadRegions::kMostPresent> ThreadRegions::present_;

namespace {

clockid_t own_cpu_clock() {
    clockid_t clock{};
    return ::pthread_getcpuclockid(::pthread_self(), &clock) == 0 ? clock : -1;
}

// -1: it cannot be asked.
std::int64_t cpu_time_ns(clockid_t clock) {
    timespec t{};
    if (clock == -1 || ::clock_gettime(clock, &t) != 0) return -1;
    return t.tv_sec * kNsPerS + t.tv_nsec;
}

}  // namespace

void RegionStore::begin_life(ThreadRegions& mine) noexcept {
    mine.cpu_clock_ = own_cpu_clock();
    mine.cpu_ns_ = cpu_time_ns(mine.cpu_clock_);
    mine.cpu_at_ns_ = now_ns();
}

void RegionStore::end_life(ThreadRegions& mine) noexcept {
    const std::int64_t cpu_ns = cpu_time_ns(mine.cpu_clock_);
    if (cpu_ns < 0 || mine.cpu_ns_ < 0) {
        mine.ended_unknown_ = true;
    } else {
        mine.ended_cpu_ns_ += cpu_ns - mine.cpu_ns_;
        mine.ended_life_ns_ += now_ns() - mine.cpu_at_ns_;
    }
    mine.cpu_clock_ = ThreadRegions::kNoClock;
    mine.cpu_ns_ = ThreadRegions::kNotAsked;
}

// Gives a thread's cells back when it ends, for the next new thread.
struct ThreadExit {
    ThreadRegions* mine{};
    ~ThreadExit() {
        if (mine == nullptr) return;
        mine->set_present(kRootPath);
        RegionStore& store = RegionStore::instance();
        const std::lock_guard lock(store.mutex_);
        RegionStore::end_life(*mine);
        store.free_.push_back(mine);
        RegionStore::current_ = nullptr;
    }
};

RegionStore& RegionStore::instance() {
    static auto* store = new RegionStore;  // leaked: threads may end after static destructors ran
    return *store;
}

ThreadRegions& RegionStore::adopt() {
    RegionStore& store = instance();
    thread_local ThreadExit exit_guard;
    const std::lock_guard lock(store.mutex_);
    if (!store.free_.empty()) {
        current_ = store.free_.back();
        store.free_.pop_back();
    } else {
        current_ = &store.add_locked();
    }
    begin_life(*current_);
    exit_guard.mine = current_;
    return *current_;
}

ThreadRegions& RegionStore::add_locked() {
    threads_.emplace_back(new ThreadRegions(static_cast<std::uint32_t>(threads_.size())));
    known_.store(threads_.size(), std::memory_order_release);
    return *threads_.back();
}

ThreadRegions& RegionStore::make_lane() {
    const std::lock_guard lock(mutex_);
    return add_locked();
}

PathId RegionStore::present_path() const noexcept {
    const std::size_t n =
        std::min(known_.load(std::memory_order_acquire), ThreadRegions::kMostPresent);
    PathId found = kRootPath;
    for (std::size_t i = 0; i < n; ++i) {
        const PathId path = ThreadRegions::present_[i].load(std::memory_order_relaxed);
        if (path == kRootPath || path == found) continue;
        if (found != kRootPath) return kRootPath;
        found = path;
    }
    return found;
}

ThreadRegions::Block* ThreadRegions::add_block(std::size_t which) noexcept {
    // Out of memory for 6 KiB: the process is beyond help, and terminate() says so.
    auto* block = new Block{};  // NOLINT(bugprone-unhandled-exception-at-new)
    blocks_[which].store(block, std::memory_order_release);
    return block;
}

void RegionStore::snapshot(std::int64_t now, std::vector<PathTotals>& totals) {
    const std::size_t paths = paths_.size();
    totals.assign(paths, {});
    paths_.parents(parents_);
    inner_ns_.resize(std::max(inner_ns_.size(), parents_.size()), 0);
    const std::lock_guard lock(mutex_);
    for (const auto& thread : threads_) {
        spent_.clear();
        for (std::size_t b = 0; b < thread->blocks_.size(); ++b) {
            const auto* block = thread->blocks_[b].load(std::memory_order_acquire);
            if (block == nullptr) continue;
            const std::size_t first = b * ThreadRegions::kBlock;
            if (first >= paths) break;
            for (std::size_t i = 0; i < std::min(ThreadRegions::kBlock, paths - first); ++i) {
                const Cell& cell = (*block)[i];
                if (cell.enters.load(std::memory_order_relaxed) == 0 &&
                    cell.exits.load(std::memory_order_relaxed) == 0) {
                    continue;
                }
                std::int64_t acc{};
                std::int32_t open{};
                std::uint32_t enters{}, exits{};
                // A writer is inside for nanoseconds unless it was descheduled there; then yield.
                for (int attempt = 0;; ++attempt) {
                    const auto before = thread->sequence_.load(std::memory_order_acquire);
                    acc = cell.acc.load(std::memory_order_relaxed);
                    open = cell.open.load(std::memory_order_relaxed);
                    enters = cell.enters.load(std::memory_order_relaxed);
                    exits = cell.exits.load(std::memory_order_relaxed);
                    std::atomic_thread_fence(std::memory_order_acquire);
                    if ((before & 1U) == 0 &&
                        before == thread->sequence_.load(std::memory_order_relaxed)) {
                        break;
                    }
                    if (attempt > 64) {
                        timespec moment{0, 1000};
                        ::nanosleep(&moment, nullptr);
                    }
                }
                PathTotals& t = totals[first + i];
                t.time_ns += acc + open * now;
                t.open += open;
                t.enters += enters;
                t.exits += exits;
                const auto path = static_cast<PathId>(first + i);
                if (thread->last_ns_.size() <= path) thread->last_ns_.resize(path + 1, 0);
                const std::int64_t time = acc + open * now;
                const std::int64_t since = time - std::exchange(thread->last_ns_[path], time);
                if (since > 0) spent_.push_back({path, since});
            }
        }
        book_cpu_time(*thread, now, totals);
    }
}

void RegionStore::book_cpu_time(ThreadRegions& thread, std::int64_t now,
                                std::vector<PathTotals>& totals) {
    std::int64_t cpu_ns = std::exchange(thread.ended_cpu_ns_, 0);
    std::int64_t life_ns = std::exchange(thread.ended_life_ns_, 0);
    bool known = !std::exchange(thread.ended_unknown_, false);
    if (thread.cpu_clock_ != ThreadRegions::kNoClock) {
        const std::int64_t at = cpu_time_ns(thread.cpu_clock_);
        const std::int64_t before = std::exchange(thread.cpu_ns_, at);
        const std::int64_t length = now - std::exchange(thread.cpu_at_ns_, now);
        known &= at >= 0 && before >= 0;
        cpu_ns += at - before;
        life_ns += length;
    }
    known &= life_ns > 0;  // else it is a lane, which is no thread
    const double busy =
        known ? std::clamp(static_cast<double>(cpu_ns) / static_cast<double>(life_ns), 0.0, 1.0)
              : 0.0;
    for (const Spent& s : spent_) inner_ns_[parents_[s.path]] += s.ns;
    for (const Spent& s : spent_) {
        const std::int64_t own = std::max<std::int64_t>(0, s.ns - inner_ns_[s.path]);
        totals[s.path].cpu_ns += static_cast<std::int64_t>(busy * static_cast<double>(own));
        totals[s.path].cpu_known &= known || own == 0;
    }
    for (const Spent& s : spent_) inner_ns_[parents_[s.path]] = 0;
}

void RegionStore::forget_other_threads() noexcept {
    free_.clear();
    for (const auto& thread : threads_) {
        if (thread.get() == current_) continue;
        for (auto& slot : thread->blocks_) {
            auto* block = slot.load(std::memory_order_relaxed);
            if (block == nullptr) continue;
            for (Cell& cell : *block) {
                cell.acc.store(0, std::memory_order_relaxed);
                cell.open.store(0, std::memory_order_relaxed);
            }
        }
        thread->sequence_.store(0, std::memory_order_relaxed);
        thread->tail_.store(thread->head_.load());
        thread->set_present(kRootPath);
        thread->cpu_clock_ = ThreadRegions::kNoClock;
        thread->cpu_ns_ = ThreadRegions::kNotAsked;
        thread->ended_cpu_ns_ = thread->ended_life_ns_ = 0;
        thread->ended_unknown_ = false;
        thread->last_ns_.clear();
        free_.push_back(thread.get());
    }
    if (current_ == nullptr) return;
    begin_life(*current_);  // a new thread's clock, though its regions are open
    current_->tail_.store(current_->head_.load());
}

std::uint64_t RegionStore::spans_dropped() const {
    const std::lock_guard lock(mutex_);
    std::uint64_t sum = 0;
    for (const auto& t : threads_) sum += t->spans_dropped_.load(std::memory_order_relaxed);
    return sum;
}

}  // namespace picojoule
