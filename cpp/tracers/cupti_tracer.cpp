#include "tracers/cupti_tracer.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "tracers/block_pool.h"
#include "tracers/cupti_decoder.h"
#include "tracers/cupti_subscription.h"
#include "tracers/launch_ring.h"

namespace picojoule::cupti {
namespace {

constexpr std::int64_t kRoundNs = 20 * kNsPerMs;        // how often the thread looks
constexpr std::int64_t kQuietRoundNs = 100 * kNsPerMs;  // and while nothing is launched
constexpr std::int64_t kQuietNs = kNsPerS;              // that is, not for so long
constexpr std::int64_t kAnchorNs = 100 * kNsPerMs;      // how often the clocks are compared
constexpr std::int64_t kLateBufferNs = 200 * kNsPerMs;  // buffers come after the flush returned
constexpr std::int64_t kHangNs = 2 * kNsPerS;           // then the thread is left to itself

// What the library's and the user's threads touch. Never destroyed: they may come late.
struct Intake {
    BlockPool* pool = new BlockPool;
    LaunchRings& rings = LaunchRings::instance();

    std::atomic<std::uint32_t> epoch{0};  // of the run that is on; 0: none
    std::atomic<std::uint32_t (*)() noexcept> current_path{nullptr};
    std::atomic<int (*)(void*, std::uint64_t*)> graph_node_id{nullptr};

    std::atomic<unsigned> blocks{0};
    std::atomic<std::uint32_t> block_bytes{0};
    std::atomic<bool> may_refuse{false};
    std::atomic<std::uint64_t> refused{0};
    std::atomic<std::uint64_t> thrown_away{0};  // bytes
    std::atomic<std::uint64_t> lost{0};         // launches of threads that have no ring

    // The tracer's thread sleeps on this. A callback rings when there is much to do, and does not
    // take the mutex: what is missed so waits for the end of the round.
    std::condition_variable wake;
    std::atomic<bool> hurry{false};

    // Where records go that have no buffer, in a library that crashes without one: written by
    // anybody, read by nobody.
    alignas(64) std::array<std::uint8_t, 65'536> sacrifice{};

    void ring_the_bell() noexcept {
        hurry.store(true, std::memory_order_relaxed);
        wake.notify_one();
    }

    static Intake& instance() {
        static auto* intake = new Intake;
        return *intake;
    }
};

// ---- on threads of the user ------------------------------------------------------------------

void on_api_call(Intake& in, std::uint32_t epoch, const ApiCall& call) noexcept {
    if (call.site != kEnter || call.correlation == 0) return;
    LaunchRing* ring = LaunchRings::mine();
    if (ring == nullptr) {
        in.lost.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    if (ring->launch(epoch, call.correlation, in.current_path.load(std::memory_order_relaxed)()))
        [[unlikely]] {
        in.ring_the_bell();
    }
}

void on_graph_node(Intake& in, std::uint32_t epoch, std::uint32_t event,
                   const ResourceChange& change) noexcept {
    const auto* graph = static_cast<const GraphChange*>(change.descriptor);
    const auto id_of = in.graph_node_id.load(std::memory_order_relaxed);
    LaunchRing* ring = LaunchRings::mine();
    std::uint64_t node = 0;
    if (graph == nullptr || id_of == nullptr || ring == nullptr) return;
    if (id_of(graph->node, &node) != kSuccess) return;
    if (event == kGraphNodeCreated) {
        ring->node_created(epoch, node, in.current_path.load(std::memory_order_relaxed)());
        return;
    }
    std::uint64_t original = 0;
    if (id_of(graph->original_node, &original) == kSuccess) {
        ring->node_cloned(epoch, node, original);
    }
}

void on_call(void* user, int domain, std::uint32_t id, const void* data) {
    Intake& in = *static_cast<Intake*>(user);
    const std::uint32_t epoch = in.epoch.load(std::memory_order_acquire);
    if (epoch == 0 || data == nullptr) return;
    if (domain == kDriverApi || domain == kRuntimeApi) {
        on_api_call(in, epoch, *static_cast<const ApiCall*>(data));
    } else if (domain == kResource) {
        on_graph_node(in, epoch, id, *static_cast<const ResourceChange*>(data));
    }
}

void request(std::uint8_t** buffer, std::size_t* size, std::size_t* most_records) {
    Intake& in = Intake::instance();
    *most_records = 0;  // as many as fit
    *buffer = in.pool->take(in.epoch.load(std::memory_order_relaxed),
                            in.blocks.load(std::memory_order_relaxed));
    *size = in.block_bytes.load(std::memory_order_relaxed);
    if (*buffer != nullptr) return;
    in.refused.fetch_add(1, std::memory_order_relaxed);
    if (in.may_refuse.load(std::memory_order_relaxed)) {
        *size = 0;  // the library counts what it drops
        return;
    }
    *buffer = in.sacrifice.data();
    *size = in.sacrifice.size();
}

void request_v2(std::uint8_t** buffer, std::size_t* size, std::size_t* most_records, void*) {
    request(buffer, size, most_records);
}

// ---- on threads of the library ---------------------------------------------------------------

void done(void*, std::uint32_t, std::uint8_t* buffer, std::size_t, std::size_t valid) {
    Intake& in = Intake::instance();
    if (buffer == nullptr) return;
    if (!in.pool->full(buffer, valid)) {
        in.thrown_away.fetch_add(valid, std::memory_order_relaxed);
    } else if (in.pool->waiting() * 2 >= in.blocks.load(std::memory_order_relaxed)) {
        in.ring_the_bell();
    }
}

void done_v2(std::uint8_t* buffer, std::size_t size, std::size_t valid, void*) {
    done(nullptr, 0, buffer, size, valid);
}

Callbacks callbacks(Intake& in) {
    return {on_call, &in, request, done, request_v2, done_v2};
}

void after_fork_in_child() {
    Intake::instance().epoch.store(0);
}

// ---- the tracer's own thread -----------------------------------------------------------------

// One run, from start to stop. Kept alive by its thread, which may outlast the tracer if a call of
// the library never returns.
class Run {
  public:
    Run(Library library, const TracerSetup& setup, std::uint32_t epoch)
        : library_(std::move(library)),
          intake_(Intake::instance()),
          epoch_(epoch),
          setup_(setup),
          subscription_(library_),
          decoder_(*setup.sink, setup.device_name, setup.match_deadline_ns, setup.captured_below) {}

    Subscription& subscription() noexcept { return subscription_; }
    Decoder& decoder() noexcept { return decoder_; }

    static void begin(const std::shared_ptr<Run>& run) {
        run->owner_ = ::getpid();
        run->busy_at_ = now_ns();
        run->lost_before_ = run->lost_launches();
        run->refused_before_ = run->intake_.refused.load();
        run->thrown_before_ = run->intake_.thrown_away.load();
        sigset_t all;
        sigset_t before;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &before);  // the user's handlers run on the user's threads
        try {
            run->thread_ = std::thread([run] { run->loop(); });
        } catch (...) {
            pthread_sigmask(SIG_SETMASK, &before, nullptr);
            throw;
        }
        pthread_setname_np(run->thread_.native_handle(), "picojoule-gpu");
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    [[nodiscard]] bool ours() const noexcept { return owner_ == ::getpid(); }

    // Asks the library for what is complete, and returns once that is with the sink.
    bool round(std::int64_t until) {
        std::unique_lock lock(mutex_);
        const std::uint64_t wanted = ++asked_;
        intake_.wake.notify_all();
        return served_changed_.wait_until(lock, deadline(until), [&] { return served_ >= wanted; });
    }

    // Rounds until all launches have their records.
    bool flush(std::int64_t patience_ns) {
        const std::int64_t begin = now_ns();
        for (std::int64_t pause = 2 * kNsPerMs;; pause = std::min(2 * pause, 50 * kNsPerMs)) {
            if (!round(std::max(begin + patience_ns, now_ns() + kLateBufferNs))) return false;
            if (counters().launches_open == 0) return true;
            const std::int64_t left = begin + patience_ns - now_ns();
            if (left <= 0) return false;
            std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(pause, left)));
        }
    }

    void stop(std::int64_t patience_ns) {
        flush(patience_ns);
        subscription_.disable();
        // Nothing is launched into our records any more: now, and only now, also take buffers
        // with kernels that still run. They are told of once, without an end.
        subscription_.flush(false);
        subscription_.flush(true);
        const std::int64_t until = now_ns() + kLateBufferNs;
        while (intake_.pool->lent() > 0 && now_ns() < until) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        const bool ended = end_thread();
        intake_.epoch.store(0);
        // Last, for reading records may need the subscription.
        if (ended) subscription_.unsubscribe();
    }

    [[nodiscard]] TracerCounters counters() const {
        const std::lock_guard lock(mutex_);
        return published_;
    }

  private:
    // False: a call of the library does not return, and the thread is left to itself.
    bool end_thread() {
        {
            std::unique_lock lock(mutex_);
            stop_ = true;
            intake_.wake.notify_all();
            if (!served_changed_.wait_until(lock, deadline(now_ns() + kHangNs),
                                            [this] { return over_; })) {
                abandoned_.store(true);
                thread_.detach();
                return false;
            }
        }
        thread_.join();
        return true;
    }

    // The system's clock, for the thread sanitizer does not know waits on the steady one; a clock
    // that is set meanwhile costs one late round.
    static std::chrono::system_clock::time_point deadline(std::int64_t at_ns) {
        return std::chrono::system_clock::now() +
               std::chrono::nanoseconds(std::max<std::int64_t>(at_ns - now_ns(), 0));
    }

    [[nodiscard]] std::uint64_t lost_launches() const noexcept {
        return intake_.rings.lost() + intake_.lost.load(std::memory_order_relaxed);
    }

    void loop() noexcept {
        std::unique_lock lock(mutex_);
        for (bool last = false; !last;) {
            const std::int64_t now = now_ns();
            const bool quiet = now - busy_at_ > kQuietNs;
            intake_.wake.wait_until(lock, deadline(now + (quiet ? kQuietRoundNs : kRoundNs)),
                                    [this] {
                                        return stop_ || asked_ != served_ ||
                                               intake_.hurry.load(std::memory_order_relaxed);
                                    });
            intake_.hurry.store(false, std::memory_order_relaxed);
            last = stop_;
            const std::uint64_t asked = asked_;
            const bool flush = asked != served_ && !last;
            lock.unlock();
            try {
                look(flush, last);
            } catch (const std::exception&) {  // no memory: what was being decoded is lost
                ++dropped_;
            }
            if (abandoned_.load()) return;
            if (flush || last || decoder_.counters().activities != noted_) note();
            lock.lock();
            published_ = decoder_.counters();
            served_ = asked;
            over_ = last;
            served_changed_.notify_all();
        }
    }

    // No lock is held here: the library is called, and its callbacks with it.
    void look(bool flush, bool last) {
        std::int64_t now = now_ns();
        if (!last && (flush || (setup_.flush_period_ns > 0 &&
                                now - last_flush_ >= setup_.flush_period_ns))) {
            subscription_.flush(false);
            last_flush_ = now = now_ns();
            if (abandoned_.load()) return;
        }
        // First what is full, then the launches: so each record's launch is among them.
        std::array<BlockPool::Full, BlockPool::kBlocks> full{};
        const std::size_t n = intake_.pool->collect(full);
        if (n > 0 || now - decoder_.clock().last_ours() >= kAnchorNs) {
            decoder_.clock().look([this](std::int64_t& t) { return subscription_.time(t); },
                                  now_ns);
        }
        const std::uint64_t launches_before = decoder_.counters().launches;
        intake_.rings.drain(epoch_, decoder_);
        std::size_t i = 0;
        try {
            for (; i < n; ++i) {
                decode(full[i], now);
                intake_.pool->give_back(full[i]);
            }
        } catch (...) {
            for (; i < n; ++i) intake_.pool->give_back(full[i]);
            throw;
        }
        if (n > 0 || decoder_.counters().launches != launches_before) busy_at_ = now;
        decoder_.settle(last ? now + setup_.match_deadline_ns : now);
        count();
        decoder_.emit();
    }

    void decode(const BlockPool::Full& block, std::int64_t now) {
        TracerCounters& c = decoder_.counters();
        ++c.buffers;
        const bool stale = block.epoch != epoch_;
        void* record = nullptr;
        int result = subscription_.next(block.bytes, block.valid, record);
        for (; result == kSuccess; result = subscription_.next(block.bytes, block.valid, record)) {
            ++records_;
            if (stale) {
                ++c.stale;
            } else {
                decoder_.record(record, now);
            }
        }
        bytes_ += block.valid;
        if (result != kMaxLimitReached) ++c.unexpected;  // what follows in it cannot be read
    }

    void count() {
        TracerCounters& c = decoder_.counters();
        dropped_ += subscription_.dropped();
        const std::uint64_t thrown = intake_.thrown_away.load() - thrown_before_;
        const std::uint64_t record = records_ == 0 ? sizeof(KernelPrefix) : bytes_ / records_;
        c.dropped = dropped_ + (thrown + record - 1) / std::max<std::uint64_t>(record, 1);
        c.buffers_refused = intake_.refused.load() - refused_before_;
        c.launches_lost = lost_launches() - lost_before_;
    }

    void note() {
        noted_ = decoder_.counters().activities;
        setup_.sink->note(decoder_.counters());
    }

    const Library library_;
    Intake& intake_;
    const std::uint32_t epoch_;
    const TracerSetup setup_;
    Subscription subscription_;
    Decoder decoder_;  // of the thread, once it runs
    pid_t owner_{};

    std::int64_t last_flush_{};
    std::int64_t busy_at_{};
    std::uint64_t dropped_{};
    std::uint64_t records_{};  // with bytes_: how long they are
    std::uint64_t bytes_{};
    std::uint64_t noted_{};
    std::uint64_t lost_before_{};
    std::uint64_t refused_before_{};
    std::uint64_t thrown_before_{};

    mutable std::mutex mutex_;  // no callback takes it
    std::condition_variable served_changed_;
    std::uint64_t asked_{};
    std::uint64_t served_{};
    bool stop_{};
    bool over_{};
    TracerCounters published_;
    std::atomic<bool> abandoned_{false};
    std::thread thread_;
};

class CuptiTracer final : public Tracer {
  public:
    explicit CuptiTracer(Places places) : places_(std::move(places)) {}
    CuptiTracer(const CuptiTracer&) = delete;
    CuptiTracer& operator=(const CuptiTracer&) = delete;
    ~CuptiTracer() override { stop(0); }

    TracerStatus start(const TracerSetup& setup) noexcept override {
        if (run_ && run_->ours()) return status_;
        forget();
        status_ = {};
        try {
            status_ = begin(setup);
        } catch (const std::exception& e) {
            status_.mode = TraceMode::none;
            status_.words = std::string("kernels are not recorded: ") + e.what();
        }
        return status_;
    }

    void stop(std::int64_t patience_ns) noexcept override {
        if (!run_) return;
        if (!run_->ours()) {
            forget();
            return;
        }
        try {
            run_->stop(std::max<std::int64_t>(patience_ns, 0));
            last_ = run_->counters();
        } catch (const std::exception&) {  // a mutex that fails: nothing can be done about it here
            forget();
        }
        run_.reset();
        ended();
        status_.mode = TraceMode::none;
        status_.words = "tracing has ended";
    }

    bool flush(std::int64_t patience_ns) noexcept override {
        if (!run_ || !run_->ours()) return false;
        try {
            return run_->flush(patience_ns);
        } catch (const std::exception&) {
            return false;
        }
    }

    [[nodiscard]] TracerCounters counters() const override {
        return run_ && run_->ours() ? run_->counters() : last_;
    }
    [[nodiscard]] TracerStatus status() const override { return status_; }

  private:
    static std::atomic<bool>& busy() noexcept {
        static std::atomic<bool> one{false};
        return one;
    }
    static void ended() noexcept { busy().store(false); }

    TracerStatus begin(const TracerSetup& setup) {
        TracerStatus status;
        if (setup.overlay) {
            status.mode = TraceMode::overlay;
            status.words =
                "CUPTI is left to other tools, as asked: kernels are not recorded here; "
                "power is, and can be joined with a timeline that another tool wrote";
            return status;
        }
        if (setup.sink == nullptr || setup.current_path == nullptr) {
            status.words = "kernels are not recorded: there is nobody to tell";
            return status;
        }
        const Library library = open_library(places_);
        status.library = library.path;
        status.version = library.version;
        if (!library) {
            status.words = library.words;
            status.remedy = library.remedy;
            return status;
        }
        if (busy().exchange(true)) {
            status.words = "kernels are recorded already, by another profile of this process";
            return status;
        }
        status = begin(setup, library);
        if (!status.tracing()) ended();
        return status;
    }

    TracerStatus begin(const TracerSetup& setup, const Library& library) {
        static const int registered = ::pthread_atfork(nullptr, nullptr, after_fork_in_child);
        (void)registered;
        static std::atomic<std::uint32_t> epochs{0};
        Intake& in = Intake::instance();
        const std::uint32_t epoch = epochs.fetch_add(1) + 1;
        auto run = std::make_shared<Run>(library, setup, epoch);
        const Callbacks calls = callbacks(in);
        TracerStatus status = run->subscription().subscribe(
            library, calls,
            setup.driver_branch != 0 ? setup.driver_branch : nvidia_driver_branch());
        if (!status.tracing()) return status;

        in.current_path.store(setup.current_path);
        in.graph_node_id.store(library.api.graph_node_id);
        in.blocks.store(std::clamp(setup.blocks, 1U, BlockPool::kBlocks));
        in.block_bytes.store(std::clamp<std::uint32_t>(
            setup.block_bytes, 4096, static_cast<std::uint32_t>(BlockPool::kBlockBytes)));
        in.may_refuse.store(library.version >= kVersionMayRefuseBuffer);
        Subscription& subscription = run->subscription();
        run->decoder().clock().look(
            [&subscription](std::int64_t& t) { return subscription.time(t); }, now_ns);
        in.epoch.store(epoch, std::memory_order_release);
        bool enabled = false;
        try {
            enabled = subscription.enable(calls, status);
            if (enabled) Run::begin(run);
        } catch (...) {
            in.epoch.store(0);
            if (enabled) subscription.disable();
            subscription.unsubscribe();
            throw;
        }
        if (!enabled) {
            in.epoch.store(0);
            return status;
        }
        run_ = std::move(run);
        last_ = {};
        status.words = "CUPTI " + version_words(library.version) +
                       (status.mode == TraceMode::shared ? ", shared with other subscribers"
                                                         : ", its only subscriber") +
                       " (" + library.path + ")";
        return status;
    }

    // In a forked child: the run's thread and its locks are the parent's. Leaked, not destroyed.
    void forget() noexcept {
        if (!run_) return;
        static std::atomic<std::shared_ptr<Run>*> kept{nullptr};
        kept.store(new (std::nothrow) std::shared_ptr<Run>(run_));
        run_.reset();
        ended();
    }

    Places places_;
    TracerStatus status_;
    TracerCounters last_;
    std::shared_ptr<Run> run_;
};

}  // namespace

std::unique_ptr<Tracer> make_tracer(Places places) {
    return std::make_unique<CuptiTracer>(std::move(places));
}

}  // namespace picojoule::cupti
