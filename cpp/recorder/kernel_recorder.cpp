#include "recorder/kernel_recorder.h"

#include <sys/prctl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>

#include "base/clock.h"
#include "model/journal.h"
#include "recorder/regions.h"
#include "sources/cuda_visible.h"
#include "tracers/registry.h"

namespace picojoule {
namespace {

constexpr std::int64_t kLingerNs = 2 * kNsPerS;
constexpr std::int64_t kLookNs = 50 * kNsPerMs;  // for a device that is not in use yet
constexpr std::int64_t kReadyNs = 5 * kNsPerS;   // a first attachment can take seconds
constexpr std::int64_t kFlushNs = 300 * kNsPerMs;
constexpr std::int64_t kStopNs = 500 * kNsPerMs;                // for what still runs
constexpr std::size_t kMostForJournal = std::size_t{1} << 20U;  // while a disk is full: 32 MiB

std::uint32_t nobody() noexcept {
    return 0;
}
std::atomic<std::uint32_t (*)() noexcept> g_current_path{&nobody};

std::mutex g_folders_mutex;
std::vector<std::string>& folders_locked() {
    static auto* const folders = new std::vector<std::string>;  // leaked: threads may outlive it
    return *folders;
}

// As in engine.cpp: the thread sanitizer does not know waits on the steady clock.
std::chrono::system_clock::time_point in_ns(std::int64_t ns) {
    return std::chrono::system_clock::now() +
           std::chrono::duration_cast<std::chrono::system_clock::duration>(
               std::chrono::nanoseconds(ns));
}

std::uint8_t flags_of(std::uint8_t told) {
    std::uint8_t flags = 0;
    if ((told & activity_flag::kGraph) != 0) flags |= kernel_flag::kReplayed;
    if ((told & activity_flag::kForeignGraph) != 0) flags |= kernel_flag::kOldGraph;
    if ((told & activity_flag::kUnmatched) != 0) flags |= kernel_flag::kUnmatched;
    return flags;
}

}  // namespace

void KernelSession::take(const Record& r) {
    if (r.a < begin_ns_ || r.a >= end_ns_) return;
    const Key key{(std::uint64_t{r.d} << 32U) | static_cast<std::uint32_t>(r.c), r.id};
    if (last_place_ == SIZE_MAX || !(key == last_key_)) {
        const auto [place, fresh] = places_.try_emplace(key, cells_.size());
        if (fresh) {
            KernelCell cell;
            cell.path = static_cast<std::uint32_t>(r.c);
            cell.kernel_class = r.d;
            cell.track = r.id;
            cell.least_ns = INT64_MAX;
            cells_.push_back(cell);
        }
        last_key_ = key;
        last_place_ = place->second;
    }
    KernelCell& cell = cells_[last_place_];
    const std::int64_t ns = r.b - r.a;
    cell.flags |= r.flags;
    ++cell.count;
    cell.time_ns += ns;
    cell.time2_ns2 += static_cast<double>(ns) * static_cast<double>(ns);
    cell.least_ns = std::min(cell.least_ns, ns);
    cell.most_ns = std::max(cell.most_ns, ns);
    if (wish_ == KernelWish::sums) return;
    keep(r);
    if (!journal_) return;
    if (for_journal_.size() < kMostForJournal) {
        for_journal_.push_back(r);
    } else {
        ++journal_lost_;
    }
}

void KernelSession::keep(const Record& r) {
    while (kept_.size() >= kMost) {
        ++sample_.level;
        std::erase_if(kept_, [&](const Record& k) { return !sample_.holds(k.a - begin_ns_); });
    }
    if (sample_.holds(r.a - begin_ns_)) kept_.push_back(r);
}

void KernelRecorder::set_current_path(std::uint32_t (*current_path)() noexcept) noexcept {
    g_current_path.store(current_path);
}

void KernelRecorder::set_folders(std::vector<std::string> folders) {
    const std::lock_guard lock(g_folders_mutex);
    folders_locked() = std::move(folders);
}

TracerStatus KernelRecorder::outlook() {
    const std::lock_guard lock(g_folders_mutex);
    return tracer_outlook(folders_locked());
}

std::shared_ptr<KernelSession> KernelRecorder::begin(KernelWish wish, bool journal) {
    if (wish == KernelWish::off) return nullptr;
    auto session = std::make_shared<KernelSession>();
    session->wish_ = wish;
    session->journal_ = journal;
    session->begin_ns_ = INT64_MAX;  // until set_begin
    std::unique_lock lock(mutex_);
    if (stopping_) return nullptr;
    session->at_begin_ = counters_;
    sessions_.emplace_back(session);
    ++open_;
    overlay_ |= wish == KernelWish::overlay;
    if (!control_running_) {
        if (control_.joinable()) control_.join();  // it has said that it is done
        control_running_ = true;
        sigset_t all;
        sigset_t before;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        control_ = std::thread([this] { watch(); });
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    // A loop over short profiles must not pay for waking a thread, nor ask the loader each time.
    if (asked_) return session;
    const std::int64_t now = now_ns();
    if (now - looked_ns_ < kLookNs / 5) return session;
    if (!device_in_use()) {
        looked_ns_ = now;
        return session;
    }
    changed_.notify_all();
    const auto limit = in_ns(kReadyNs);
    while (!asked_ && !stopping_) {
        if (changed_.wait_until(lock, limit) == std::cv_status::timeout) break;
    }
    return session;
}

void KernelRecorder::set_begin(KernelSession& session, std::int64_t begin_ns) {
    const std::lock_guard lock(mutex_);
    session.begin_ns_ = begin_ns;
}

void KernelRecorder::set_end(KernelSession& session, std::int64_t end_ns) {
    const std::lock_guard lock(mutex_);
    if (session.end_ns_ != INT64_MAX) return;
    session.end_ns_ = end_ns;
    --open_;
    linger_until_ns_ = now_ns() + kLingerNs;
    if (!asked_ || !status_.tracing()) return;
    flush_wanted_ns_ = std::max(flush_wanted_ns_, end_ns);
    changed_.notify_all();
}

bool KernelRecorder::settled(const KernelSession& session) const {
    const std::lock_guard lock(mutex_);
    return stopping_ || !asked_ || !status_.tracing() || flushed_until_ns_ >= session.end_ns_;
}

void KernelRecorder::fill(const KernelSession& s, Trace& trace) const {
    const std::lock_guard lock(mutex_);
    trace.kernel_classes = classes_;
    trace.tracks = tracks_;
    trace.kernel_cells = s.cells_;
    trace.kernels = s.kept_;
    std::stable_sort(trace.kernels.begin(), trace.kernels.end(),
                     [](const Record& x, const Record& y) { return x.a < y.a; });
    if (s.sample_.level > 0) {
        trace.overhead[KernelSample::kKey] = static_cast<double>(s.sample_.one_in());
    }
    trace.meta["kernels"] = status_.words;
    const TracerCounters mine = since(counters_, s.at_begin_);
    const auto count = [&](const char* name, std::uint64_t TracerCounters::* what) {
        trace.overhead[name] = static_cast<double>(mine.*what);
    };
    if (!status_.tracing() && s.cells_.empty()) return;
    count("kernels_unmatched", &TracerCounters::unmatched);
    count("kernels_dropped", &TracerCounters::dropped);
    count("kernels_without_times", &TracerCounters::no_time);
    count("launches", &TracerCounters::launches);
    count("launches_lost", &TracerCounters::launches_lost);
    count("kernels_cut_off", &TracerCounters::cut_off);
    count("kernels_disturbed", &TracerCounters::disturbed);
    trace.overhead["tracer_library_s"] = static_cast<double>(mine.library_ns) * 1e-9;
    trace.overhead["kernel_clock_residual_s"] =
        static_cast<double>(counters_.clock_residual_ns) * 1e-9;
    const std::string words = complaint(mine);
    if (!words.empty()) trace.warnings.push_back(words);
}

void KernelRecorder::drain(KernelSession& s, std::vector<Record>& out) {
    const std::lock_guard lock(mutex_);
    for (; s.classes_written_ < classes_.size(); ++s.classes_written_) {
        append_text(out, TextUse::kernel_class, static_cast<std::uint32_t>(s.classes_written_), 0,
                    encode_kernel_class(classes_[s.classes_written_]));
    }
    for (; s.tracks_written_ < tracks_.size(); ++s.tracks_written_) {
        append_text(out, TextUse::track, static_cast<std::uint32_t>(s.tracks_written_), 0,
                    encode_track(tracks_[s.tracks_written_]));
    }
    out.insert(out.end(), s.for_journal_.begin(), s.for_journal_.end());
    s.for_journal_.clear();
}

TracerStatus KernelRecorder::status() const {
    const std::lock_guard lock(mutex_);
    return status_;
}

void KernelRecorder::shutdown() {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    const auto limit = in_ns(2 * kNsPerS);
    while (control_running_ && changed_.wait_until(lock, limit) != std::cv_status::timeout) {
    }
    if (!control_.joinable()) return;
    if (control_running_) {
        control_.detach();  // a driver hangs; the program's exit must not
    } else {
        control_.join();
    }
}

void KernelRecorder::abandon() noexcept {
    // Its threads and the vendor's do not exist here, and its destructor would wait for them.
    [[maybe_unused]] const Tracer* const leaked = tracer_.release();
    if (control_.joinable()) control_.detach();
}

TracerStatus KernelRecorder::start_tracer(std::unique_lock<std::mutex>& lock) {
    TracerSetup setup;
    setup.sink = this;
    setup.current_path = g_current_path.load();
    setup.overlay = overlay_;
    setup.driver_branch = driver_branch();
    setup.captured_below = [](std::uint32_t launch, std::uint32_t captured) {
        return RegionStore::instance().paths().captured_below(launch, captured);
    };
    // The tracer counts as CUDA does, the meters as NVML does: the two meet by UUID.
    setup.device_name = [this](std::uint32_t ordinal) -> DeviceName {
        const auto uuids = cuda_visible::Process::here().running_uuids;
        if (!uuids || ordinal >= uuids->size()) return {};
        return device_of_((*uuids)[ordinal]);
    };
    lock.unlock();
    if (tracer_ == nullptr) {
        const std::lock_guard folders(g_folders_mutex);
        tracer_ = make_tracer(folders_locked());
    }
    TracerStatus status = tracer_->start(setup);
    lock.lock();
    return status;
}

void KernelRecorder::watch() noexcept {
    ::prctl(PR_SET_NAME, "picojoule-gpu");
    std::unique_lock lock(mutex_);
    while (!stopping_ && (open_ > 0 || now_ns() < linger_until_ns_)) {
        if (!asked_ && open_ > 0 && device_in_use()) {
            TracerStatus status = start_tracer(lock);
            status_ = std::move(status);
            asked_ = true;  // a refusal is an answer; it is asked again by a later run
            changed_.notify_all();
            continue;
        }
        if (asked_ && status_.tracing() && flush_wanted_ns_ > flushed_until_ns_) {
            const std::int64_t until = now_ns();
            lock.unlock();
            tracer_->flush(kFlushNs);
            lock.lock();
            flushed_until_ns_ = until;
            changed_.notify_all();
            continue;
        }
        std::int64_t wait = asked_ ? kNsPerS : kLookNs;
        if (open_ == 0) wait = std::clamp(linger_until_ns_ - now_ns(), std::int64_t{1}, wait);
        changed_.wait_until(lock, in_ns(wait));
    }
    if (asked_) {
        const bool tracing = status_.tracing();
        lock.unlock();
        if (tracing) tracer_->stop(kStopNs);
        lock.lock();
        asked_ = false;
        overlay_ = false;
    }
    control_running_ = false;
    changed_.notify_all();
}

std::uint32_t KernelRecorder::class_id(const KernelClass& kernel_class) {
    const std::lock_guard lock(mutex_);
    const auto [place, fresh] = class_ids_.try_emplace(encode_kernel_class(kernel_class),
                                                       static_cast<std::uint32_t>(classes_.size()));
    if (fresh) classes_.push_back(kernel_class);
    return place->second;
}

std::uint16_t KernelRecorder::track_id(const Track& track) {
    const std::lock_guard lock(mutex_);
    const auto known = std::find(tracks_.begin(), tracks_.end(), track);
    if (known == tracks_.end()) {
        tracks_.push_back(track);
        return static_cast<std::uint16_t>(tracks_.size() - 1);
    }
    return static_cast<std::uint16_t>(known - tracks_.begin());
}

void KernelRecorder::activities(std::span<const ActivityRecord> records) noexcept {
    const std::lock_guard lock(mutex_);
    taking_.clear();
    std::erase_if(sessions_, [&](const std::weak_ptr<KernelSession>& weak) {
        auto session = weak.lock();
        if (session == nullptr) return true;
        taking_.push_back(std::move(session));
        return false;
    });
    for (const ActivityRecord& a : records) {
        Record r;
        r.kind = RecordKind::kernel;
        r.a = a.begin_ns;
        r.b = std::max(a.begin_ns, a.end_ns);
        r.c = (std::uint64_t{a.graph_node} << 32U) | a.path;
        r.d = a.class_id;
        r.id = a.track;
        r.flags = flags_of(a.flags);
        for (const auto& s : taking_) s->take(r);
    }
    taking_.clear();
}

void KernelRecorder::note(const TracerCounters& counters) noexcept {
    const std::lock_guard lock(mutex_);
    counters_ = counters;
}

}  // namespace picojoule
