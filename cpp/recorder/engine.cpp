// Sessions, fork and exit: what the user's threads do. The threads' own loops are in sampler.cpp
// and writer.cpp.
#include "recorder/engine.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <iterator>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace picojoule {
namespace {

std::mutex g_creation;
std::atomic<Engine*> g_engine{};

constexpr std::int64_t kLingerNs = 2 * kNsPerS;
constexpr std::int64_t kReadyNs = 5 * kNsPerS;
constexpr std::int64_t kUnknownTickNs = 1'200 * kNsPerMs;
constexpr std::size_t kLookbackTicks = 2048;
constexpr std::size_t kLookbackStates = 8192;  // 5 s of eight busy boards

// System time, not steady: a condition variable on the steady clock calls pthread_cond_clockwait,
// which the thread sanitizer of this compiler generation does not know.
std::chrono::system_clock::time_point in_ns(std::int64_t ns) {
    return std::chrono::system_clock::now() +
           std::chrono::duration_cast<std::chrono::system_clock::duration>(
               std::chrono::nanoseconds(ns));
}

EngineCounters operator-(const EngineCounters& x, const EngineCounters& y) {
    return {x.sampler_cpu_ns - y.sampler_cpu_ns,
            x.polls - y.polls,
            x.poll_ns - y.poll_ns,
            x.ticks - y.ticks,
            x.ticks_missed - y.ticks_missed,
            x.late - y.late,
            x.duplicates - y.duplicates,
            x.wraps - y.wraps,
            x.resets - y.resets,
            x.spans_dropped - y.spans_dropped,
            x.spans_folded - y.spans_folded,
            x.out_of_order - y.out_of_order};
}

}  // namespace

Engine* Engine::existing() noexcept {
    return g_engine.load(std::memory_order_acquire);
}

Engine& Engine::instance() {
    if (Engine* engine = existing()) return *engine;
    handle_forks();
    const std::lock_guard lock(g_creation);
    if (Engine* engine = existing()) return *engine;
    auto* engine = new Engine;
    g_engine.store(engine, std::memory_order_release);
    return *engine;
}

void Engine::handle_forks() {
    static const bool handled = [] {
        // The child has no sampler and no writer: it forgets the engine (destroying it would touch
        // threads that do not exist) and makes its own when it needs one. The locks are taken
        // around fork so that none is inherited in the hands of a thread that is gone.
        ::pthread_atfork(
            [] {
                g_creation.lock();
                if (Engine* e = existing()) {
                    e->mutex_.lock();
                    e->kernels_.mutex().lock();
                }
                RegionStore::instance().mutex().lock();
                RegionStore::instance().paths().mutex().lock();
            },
            [] {
                RegionStore::instance().paths().mutex().unlock();
                RegionStore::instance().mutex().unlock();
                if (Engine* e = existing()) {
                    e->kernels_.mutex().unlock();
                    e->mutex_.unlock();
                }
                g_creation.unlock();
            },
            [] {
                RegionStore& regions = RegionStore::instance();
                regions.forget_other_threads();
                regions.least_span_ns.store(INT64_MAX);
                regions.paths().mutex().unlock();
                regions.mutex().unlock();
                if (Engine* e = existing()) {
                    for (const auto& s : e->journals_) s->journal->writer.abandon();
                    g_engine.store(nullptr);
                    e->kernels_.abandon();
                    e->kernels_.mutex().unlock();
                    e->mutex_.unlock();
                }
                g_creation.unlock();
            });
        return true;
    }();
    static_cast<void>(handled);
}

Engine::Engine() : wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    // Signals are the program's business: they must be delivered to its threads, not to ours.
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    sampler_ = std::thread([this] { run(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Engine::wake() const noexcept {
    const std::uint64_t one = 1;
    static_cast<void>(::write(wake_fd_.get(), &one, sizeof one));
}

Engine::Meter& Engine::meter(std::unique_lock<std::mutex>& lock, const std::string& key) {
    const auto find = [&]() -> Meter* {
        const auto found = std::find_if(meters_.begin(), meters_.end(),
                                        [&](const auto& m) { return m->key == key; });
        return found == meters_.end() ? nullptr : found->get();
    };
    while (true) {
        if (Meter* m = find()) return *m;
        if (stopping_) throw std::runtime_error("picojoule is shutting down");
        if (std::find(wanted_.begin(), wanted_.end(), key) == wanted_.end()) wanted_.push_back(key);
        wake();
        changed_.wait_until(lock, in_ns(kNsPerS));
    }
}

// Names -> opened meters. May wait for the sampler to open some.
std::vector<Engine::Meter*> Engine::choose_locked(std::unique_lock<std::mutex>& lock,
                                                  const SessionOptions& options) {
    std::vector<Meter*> chosen;
    const auto registry = source_registry();
    if (options.all_sources) {
        bool cpu_measured = false;
        for (const SourceFactory& f : registry) {
            if (f.by_default == SourceFactory::Default::on_request) continue;
            if (f.by_default == SourceFactory::Default::fallback && cpu_measured) continue;
            Meter& m = meter(lock, std::string(f.name));
            for (const OpenSource& s : m.sources) {
                for (const Channel& c : s.source->channels()) {
                    cpu_measured |= c.in_total && c.domain.starts_with("cpu");
                }
            }
            chosen.push_back(&m);
        }
        return chosen;
    }
    for (const std::string& key : options.sources) {
        const std::string name = key.substr(0, key.find(':'));
        const auto known = std::any_of(registry.begin(), registry.end(),
                                       [&](const SourceFactory& f) { return f.name == name; });
        if (!known) {
            std::string names;
            for (const SourceFactory& f : registry) {
                names.append(names.empty() ? "" : ", ").append(f.name);
            }
            throw std::invalid_argument(std::string("no meter is called '")
                                            .append(name)
                                            .append("'; there are: ")
                                            .append(names));
        }
        Meter& m = meter(lock, key);
        if (m.sources.empty()) {
            std::string why = "the meter '" + key + "' does not work here";
            for (const MeterFinding& f : findings_) {
                if (f.meter != key) continue;
                why += ": " + f.finding.subject + (f.finding.subject.empty() ? "" : ": ") +
                       f.finding.why;
                if (!f.finding.remedy.empty()) why += " To mend it: " + f.finding.remedy;
            }
            throw std::runtime_error(why);
        }
        if (std::find(chosen.begin(), chosen.end(), &m) == chosen.end()) chosen.push_back(&m);
    }
    return chosen;
}

namespace {

// Ends a share of the kernels whose session could not begin.
class KernelGuard {
  public:
    KernelGuard(KernelRecorder& recorder, std::shared_ptr<KernelSession> session)
        : recorder_(recorder), session_(std::move(session)) {}
    KernelGuard(const KernelGuard&) = delete;
    KernelGuard& operator=(const KernelGuard&) = delete;
    ~KernelGuard() {
        if (session_ != nullptr) recorder_.set_end(*session_, now_ns());
    }
    void keep() noexcept { session_.reset(); }

  private:
    KernelRecorder& recorder_;
    std::shared_ptr<KernelSession> session_;
};

}  // namespace

std::shared_ptr<Session> Engine::begin(SessionOptions options) {
    auto session = std::make_shared<Session>();
    session->options = std::move(options);
    session->kernels = kernels_.begin(session->options.kernels, !session->options.journal.empty());
    KernelGuard guard(kernels_, session->kernels);
    std::unique_lock lock(mutex_);
    const std::vector<Meter*> chosen = choose_locked(lock, session->options);
    if (!session->options.journal.empty()) {
        session->journal = std::make_unique<JournalState>(session->options.journal);
        if (!session->journal->writer.ok()) {
            throw std::runtime_error("the trace cannot be written to " + session->options.journal +
                                     ": " + session->journal->writer.error());
        }
    }
    bool asleep = false;
    for (Meter* m : chosen) {
        ++m->users;
        m->rate_hz = std::max(m->rate_hz, session->options.rate_hz);
        for (OpenSource& s : m->sources) {
            if (session->options.rate_hz > 0 && s.live) s.next_ns = 0;  // change pace now
            asleep |= !s.live && !s.dead;
        }
    }
    if (asleep) {
        // The first look at a meter must lie before the block that it measures. Only here does the
        // user's thread wait, and it makes no call to a device itself.
        wake();
        const auto limit = in_ns(kReadyNs);
        const auto ready = [&] {
            return stopping_ || std::all_of(chosen.begin(), chosen.end(), [](const Meter* m) {
                       return std::all_of(m->sources.begin(), m->sources.end(),
                                          [](const OpenSource& s) { return s.live || s.dead; });
                   });
        };
        while (!ready() && changed_.wait_until(lock, limit) != std::cv_status::timeout) {
        }
    }
    for (const Meter* m : chosen) {
        for (const OpenSource& s : m->sources) {
            for (std::size_t i = 0; i < s.values.size(); ++i) {
                session->channels.push_back(static_cast<std::uint16_t>(s.first_channel + i));
            }
        }
    }
    session->id = ++next_session_;
    session->meters.assign(chosen.begin(), chosen.end());
    auto& least = RegionStore::instance().least_span_ns;
    if (sessions_.empty()) least.store(0, std::memory_order_relaxed);
    session->at_begin = counters();
    session->ticks_from =
        ticks_.end() - std::min<std::uint64_t>(ticks_.end() - ticks_.begin(), kLookbackTicks);
    session->states_from =
        states_.end() - std::min<std::uint64_t>(states_.end() - states_.begin(), kLookbackStates);
    const std::int64_t now = now_ns();
    snapshot(now);
    session->begin_ns = now;
    session->begin_wall_ns = now + realtime_offset_ns();
    if (session->kernels) kernels_.set_begin(*session->kernels, now);
    session->cells_from = cells_.end();
    session->spans_from = spans_.end();
    for (std::size_t i = 1; i < last_totals_.size(); ++i) {
        if (last_totals_[i].open != 0) {
            session->open_at_begin.emplace_back(static_cast<PathId>(i), last_totals_[i].open);
        }
    }
    sessions_.push_back(session);
    if (parked_) wake();
    if (session->journal) {
        begin_journal(session);
        // The first frame is written here and now, so that from the block's first statement on
        // there is something to recover.
        std::vector<Record> first = std::exchange(session->journal->pending, {});
        lock.unlock();
        const bool written = session->journal->writer.append(first);
        lock.lock();
        std::vector<Record>& pending = session->journal->pending;
        if (!written) pending.insert(pending.begin(), first.begin(), first.end());
        session->journal->begun = true;
    }
    guard.keep();
    return session;
}

void Engine::end(Session& session) {
    const std::lock_guard lock(mutex_);
    // Read under the lock: a snapshot of another thread in between would carry what this session's
    // regions did, under a time after its end.
    const std::int64_t now = now_ns();
    if (session.end_ns != 0) return;
    snapshot(now);
    session.end_ns = now;
    if (session.kernels) kernels_.set_end(*session.kernels, now);
    session.at_end = counters();
    session.cells_to = cells_.end();
    session.spans_to = spans_.end();
    std::int64_t longest = 0;
    for (const std::uint16_t i : session.channels) {
        const ChannelState& c = *channels_[i];
        if (c.gap_begin_ns != 0) continue;
        const std::int64_t period =
            c.locks ? (c.clock.locked() ? 5 * c.clock.period_ns() / 2 : kUnknownTickNs)
                    : 100 * kNsPerMs;
        longest = std::max(longest, period);
    }
    session.deadline_ns = now + longest + 50 * kNsPerMs;
    linger_until_ns_ = now + kLingerNs;
}

bool Engine::wait(Session& session, std::int64_t timeout_ns) {
    std::unique_lock lock(mutex_);
    const auto limit = in_ns(timeout_ns);
    while (!session.complete) {
        if (stopped_ || changed_.wait_until(lock, limit) == std::cv_status::timeout) break;
    }
    return session.complete;
}

Trace Engine::trace(Session& session) {
    const std::lock_guard lock(mutex_);
    const std::int64_t now = now_ns();
    if (session.trace) return *session.trace;
    if (session.end_ns == 0) snapshot(now);
    Trace trace = materialise(session);
    if (session.end_ns == 0) trace.end_ns = now;
    return trace;
}

std::vector<MeterFinding> Engine::findings() {
    std::unique_lock lock(mutex_);
    for (const SourceFactory& f : source_registry()) {
        if (f.by_default != SourceFactory::Default::on_request) meter(lock, std::string(f.name));
    }
    std::vector<MeterFinding> found = findings_;
    lock.unlock();
    // What is opened on request only is looked at and let go: its counters would go on counting.
    for (const SourceFactory& f : source_registry()) {
        if (f.by_default != SourceFactory::Default::on_request) continue;
        const std::string key(f.name);
        if (std::ranges::any_of(found, [&](const auto& m) { return m.meter == key; })) continue;
        Discovery looked;
        try {
            looked = f.discover(Environment::from_process());
        } catch (const std::exception& error) {
            looked.findings.push_back({Finding::State::refused, key, error.what(), ""});
        }
        for (Finding& said : looked.findings) found.push_back({key, std::move(said)});
    }
    return found;
}

std::vector<MeterFinding> Engine::known_findings() {
    const std::lock_guard lock(mutex_);
    return findings_;
}

std::vector<std::pair<std::string, Channel>> Engine::channels() {
    const std::lock_guard lock(mutex_);
    std::vector<std::pair<std::string, Channel>> out;
    for (const auto& m : meters_) {
        for (const OpenSource& s : m->sources) {
            for (const Channel& c : s.source->channels()) out.emplace_back(m->key, c);
        }
    }
    return out;
}

DeviceName Engine::device_of(const std::string& uuid) {
    const std::lock_guard lock(mutex_);
    for (const auto& c : channels_) {
        if (c->channel.device.find(uuid) == std::string::npos) continue;
        if (c->channel.domain.find('/') != std::string::npos) continue;  // a part of the board
        return {c->channel.domain, c->channel.device};
    }
    return {};
}

void Engine::shutdown() {
    {
        const std::lock_guard lock(mutex_);
        for (const auto& s : sessions_) {
            if (s->end_ns == 0) s->interrupted = true;
        }
    }
    std::vector<std::shared_ptr<Session>> open;
    {
        const std::lock_guard lock(mutex_);
        open = sessions_;
    }
    for (const auto& s : open) end(*s);
    kernels_.shutdown();  // what ran is with the sessions then
    std::unique_lock lock(mutex_);
    stopping_ = true;
    wake();
    // A meter that hangs inside its driver must not hang the program's exit with it.
    const auto limit = in_ns(2 * kNsPerS);
    while (!stopped_ && changed_.wait_until(lock, limit) != std::cv_status::timeout) {
    }
    const bool joined = stopped_;
    writer_stop_ = true;
    journal_work_.notify_all();
    while (writer_running_ && journal_work_.wait_until(lock, limit) != std::cv_status::timeout) {
    }
    const bool writer_done = !writer_running_;
    lock.unlock();
    if (joined)
        sampler_.join();
    else
        sampler_.detach();
    if (writer_.joinable()) {
        if (writer_done)
            writer_.join();
        else
            writer_.detach();
    }
    g_engine.store(nullptr);
    // Kept, not deleted: what holds a finished session may still ask whether this engine is the
    // process's own, and a new one must never have its address.
    static auto* retired = new std::vector<Engine*>;
    const std::lock_guard creation(g_creation);
    retired->push_back(this);
}

EngineCounters Engine::counters() const {
    EngineCounters now = counters_;
    now.spans_dropped = RegionStore::instance().spans_dropped();
    now.out_of_order = RegionStore::instance().closed_out_of_order.load(std::memory_order_relaxed);
    return now;
}

// Cells and spans up to now. The region cells are read exactly as a meter is.
void Engine::snapshot(std::int64_t now) {
    RegionStore& regions = RegionStore::instance();
    const std::int64_t previous = std::exchange(last_snapshot_ns_, now);
    regions.snapshot(now, totals_);
    if (last_totals_.size() < totals_.size()) last_totals_.resize(totals_.size());
    const auto to_journals = [&](const Record& r) {
        for (const auto& s : journals_) {
            if (s->end_ns == 0 && !s->journal->finished) s->journal->pending.push_back(r);
        }
    };
    for (std::size_t i = 1; i < totals_.size(); ++i) {
        const PathTotals& t = totals_[i];
        const PathTotals& l = last_totals_[i];
        if (t.time_ns == l.time_ns && t.enters == l.enters && t.exits == l.exits) continue;
        Record r;
        r.kind = RecordKind::cell;
        if (last_cells_ns_ != previous && last_cells_ns_ != now) {
            // Nothing had changed at the snapshot before this one, which left no record then. Its
            // time must be known now: what follows happened after it.
            r.a = previous;
            cells_.append(r);
            to_journals(r);
        }
        last_cells_ns_ = now;
        r.a = now;
        r.b = t.time_ns - l.time_ns;
        r.c = (static_cast<std::uint64_t>(t.enters - l.enters) << 32U) | (t.exits - l.exits);
        r.d = static_cast<std::uint32_t>(i);
        r.id = static_cast<std::uint16_t>(std::clamp(std::max(t.open, l.open), 0, 65535));
        r.flags = t.cpu_known ? cell_cpu::encode(t.cpu_ns, r.b) : cell_cpu::kUnknown;
        cells_.append(r);
        to_journals(r);
    }
    std::swap(totals_, last_totals_);
    regions.drain_spans([&](std::uint32_t thread, const SpanItem& item) {
        Record r;
        r.kind = RecordKind::span;
        r.a = item.begin_ns;
        r.b = item.end_ns;
        r.c = thread;
        r.d = item.path;
        spans_.append(r);
        to_journals(r);
    });
}

Trace Engine::materialise(const Session& s) const {
    Trace t;
    t.name = s.options.name;
    t.begin_ns = s.begin_ns;
    t.begin_wall_ns = s.begin_wall_ns;
    t.end_ns = s.end_ns;
    std::vector<std::int32_t> local(channels_.size(), -1);
    for (std::size_t i = 0; i < s.channels.size(); ++i) {
        local[s.channels[i]] = static_cast<std::int32_t>(i);
        t.channels.push_back(channels_[s.channels[i]]->channel);
        // What was learned is worth more than what was assumed.
        const TickClock& clock = channels_[s.channels[i]]->clock;
        if (clock.locked()) t.channels.back().update_period_ns = clock.period_ns();
    }
    const auto take = [&](std::span<const Record> ticks) {
        for (const Record& r : ticks) {
            if (r.id >= local.size() || local[r.id] < 0 || r.a < s.begin_ns - kLookbackNs) continue;
            t.ticks.push_back(r);
            t.ticks.back().id = static_cast<std::uint16_t>(local[r.id]);
        }
    };
    take(ticks_.slice(s.ticks_from, s.complete ? s.ticks_to : ticks_.end()));
    const auto of_energy = static_cast<std::ptrdiff_t>(t.ticks.size());
    take(states_.slice(s.states_from, s.complete ? s.states_to : states_.end()));
    std::inplace_merge(t.ticks.begin(), t.ticks.begin() + of_energy, t.ticks.end(),
                       [](const Record& x, const Record& y) { return x.a < y.a; });
    const auto cells = cells_.slice(s.cells_from, s.end_ns != 0 ? s.cells_to : cells_.end());
    for (const auto& [path, open] : s.open_at_begin) {
        Record r;  // "open at begin": no time, no enter, yet the tree must show it
        r.kind = RecordKind::cell;
        r.a = s.begin_ns;
        r.d = path;
        r.id = static_cast<std::uint16_t>(std::clamp(open, 0, 65535));
        t.cells.push_back(r);
    }
    // Positions in a thinned part of the log are only roughly known; times are not.
    std::copy_if(cells.begin(), cells.end(), std::back_inserter(t.cells), [&](const Record& r) {
        return r.a > s.begin_ns && (s.end_ns == 0 || r.a <= s.end_ns);
    });
    for (const Record& r : spans_.slice(s.spans_from, s.end_ns != 0 ? s.spans_to : spans_.end())) {
        if (r.b > s.begin_ns) t.spans.push_back(r);
    }
    const std::int64_t until = s.end_ns != 0 ? s.end_ns : now_ns();
    for (const GapNote& g : gaps_) {
        const std::int64_t end = g.end_ns == 0 ? until : g.end_ns;
        if (local[g.channel] < 0 || end <= s.begin_ns || g.begin_ns >= until) continue;
        t.gaps.push_back({static_cast<std::uint16_t>(local[g.channel]), g.begin_ns, end, g.reason});
    }
    if (s.kernels) kernels_.fill(*s.kernels, t);
    t.paths = RegionStore::instance().paths().nodes_from(0);  // last: all of the above is in it
    const EngineCounters spent = (s.end_ns != 0 ? s.at_end : counters()) - s.at_begin;
    t.overhead.merge(std::map<std::string, double>{
        {"sampler_cpu_s", static_cast<double>(spent.sampler_cpu_ns) * 1e-9},
        {"polls", static_cast<double>(spent.polls)},
        {"poll_s", static_cast<double>(spent.poll_ns) * 1e-9},
        {"ticks", static_cast<double>(spent.ticks)},
        {"ticks_missed", static_cast<double>(spent.ticks_missed)},
        {"polls_late", static_cast<double>(spent.late)},
        {"duplicates", static_cast<double>(spent.duplicates)},
        {"counter_wraps", static_cast<double>(spent.wraps)},
        {"counter_resets", static_cast<double>(spent.resets)},
        {"spans_dropped", static_cast<double>(spent.spans_dropped)},
        {"spans_folded", static_cast<double>(spent.spans_folded)},
    });
    if (spent.out_of_order > 0) {
        t.warnings.push_back(
            std::to_string(spent.out_of_order) +
            " regions were closed while a region opened inside them was still "
            "open. Both are timed correctly, but the inner one stays listed below "
            "the outer one. Close regions in reverse order of opening; `with` does.");
    }
    if (s.interrupted) {
        t.warnings.emplace_back(
            "the program ended inside this profile; it holds what was recorded "
            "until then");
    }
    if (s.journal) {
        t.overhead["journal_bytes"] = static_cast<double>(s.journal->writer.bytes());
        if (s.journal->records_lost > 0) {
            t.overhead["journal_records_lost"] = static_cast<double>(s.journal->records_lost);
        }
        if (!s.journal->writer_words.empty()) t.warnings.push_back(s.journal->writer_words);
    }
    return t;
}

}  // namespace picojoule
