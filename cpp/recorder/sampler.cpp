// The sampler's thread: asks each meter when its next tick is due, notes what changed, and
// completes sessions whose closing ticks have come.
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "recorder/engine.h"

namespace picojoule {
namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max() / 2;
// A meter without ticks of its own, or with ticks too fast to follow one by one, is read this
// often.
constexpr std::int64_t kPlainReadNs = 25 * kNsPerMs;
constexpr std::int64_t kFastTickNs = 5 * kNsPerMs;
constexpr std::int64_t kUnknownGaugeNs = 100 * kNsPerMs;
// A series of a paced source that stays the same is noted this often: within the lookback of a
// profile there always is one.
constexpr std::int64_t kUnchangedNs = kNsPerS;
constexpr std::int64_t kTickNearNs = 4 * kNsPerMs;
constexpr std::int64_t kYieldNs = 2 * kNsPerMs;
constexpr std::int64_t kMostYieldNs = 50 * kNsPerMs;
constexpr std::int64_t kSnapshotNs = 15 * kNsPerMs;       // cells are read at most this often,
constexpr std::int64_t kIdleSnapshotNs = 100 * kNsPerMs;  // and at least this often
constexpr std::int64_t kBackoffNs = kNsPerS;
constexpr std::int64_t kLateNs = kNsPerMs;
constexpr std::int64_t kNapNs = 3 * kNsPerMs;
constexpr std::int64_t kKernelsNs = 2 * kNsPerS;  // at most so long are late kernels waited for
constexpr std::int64_t kForgetPhaseNs = 20 * kNsPerS;

bool fast(const Channel& c) noexcept {
    return c.latched && c.update_period_ns > 0 && c.update_period_ns <= kFastTickNs;
}

}  // namespace

double Engine::dither() noexcept {
    random_ ^= random_ << 13U;
    random_ ^= random_ >> 7U;
    random_ ^= random_ << 17U;
    return static_cast<double>(random_ >> 11U) * 0x1.0p-53;
}

// Deadlines are absolute: one late wake-up delays nothing after it. Long waits can be cut short by
// wake(), which is why this may return early; the last stretch is one precise sleep.
void Engine::sleep_until(std::int64_t deadline_ns) noexcept {
    const std::int64_t left = deadline_ns - now_ns();
    if (left > kNapNs) {
        const std::int64_t wait = left >= kNever / 2 ? -1 : left - kNapNs / 2;
        pollfd wake{wake_fd_.get(), POLLIN, 0};
        timespec timeout{wait / kNsPerS, wait % kNsPerS};
        if (::ppoll(&wake, 1, wait < 0 ? nullptr : &timeout, nullptr) > 0) {
            std::uint64_t count{};
            static_cast<void>(::read(wake_fd_.get(), &count, sizeof count));
        }
        return;
    }
    if (left <= 0) return;
    const timespec at{deadline_ns / kNsPerS, deadline_ns % kNsPerS};
    while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) == EINTR) {
    }
}

void Engine::run() noexcept {
    ::prctl(PR_SET_NAME, "picojoule");
    ::prctl(PR_SET_TIMERSLACK, 1UL);  // the default lets the kernel wake us 50 us late
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        if (!wanted_.empty()) open_meters(lock);
        std::int64_t now = now_ns();
        const bool active =
            !sessions_.empty() || now < linger_until_ns_ ||
            std::any_of(meters_.begin(), meters_.end(), [](const auto& m) { return m->users > 0; });
        if (!active) {
            for (const auto& m : meters_) {
                for (OpenSource& s : m->sources) s.live = false;
            }
            trim();
            parked_ = true;
            lock.unlock();
            sleep_until(kNever);
            lock.lock();
            parked_ = false;
            continue;
        }
        std::int64_t next = last_snapshot_ns_ + kIdleSnapshotNs;
        for (const auto& m : meters_) {
            for (OpenSource& s : m->sources) {
                if (s.dead) continue;
                if (m->users == 0 && now >= linger_until_ns_) {
                    s.live = false;
                    continue;
                }
                if (!s.live && m->users == 0) continue;
                if (!s.live && s.failures == 0) {
                    s.next_ns = now;
                    for (std::size_t i = 0; i < s.values.size(); ++i) {
                        channels_[s.first_channel + i]->resume = true;
                    }
                }
                next = std::min(next, s.next_ns);
            }
        }
        if (next > now) {
            lock.unlock();
            sleep_until(next);
            lock.lock();
            if (now_ns() < next) continue;  // woken: something else may be wanted now
        }
        const std::uint64_t ticks_before = counters_.ticks;
        for (std::size_t m = 0; m < meters_.size(); ++m) {
            for (OpenSource& s : meters_[m]->sources) {
                if (s.dead || (meters_[m]->users == 0 && !s.live)) continue;
                if (s.next_ns <= now_ns() && !yields(s)) poll(lock, *meters_[m], s);
            }
        }
        now = now_ns();
        const std::int64_t since = now - last_snapshot_ns_;
        if (since >= kIdleSnapshotNs || (counters_.ticks != ticks_before && since >= kSnapshotNs)) {
            counters_.sampler_cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
            snapshot(now);
            bound_memory();
        }
        complete_sessions(now);
    }
    // The last look: closes what is open with the values of now.
    for (const auto& m : meters_) {
        for (OpenSource& s : m->sources) {
            if (!s.dead && s.live) poll(lock, *m, s);
        }
    }
    for (const auto& s : sessions_) s->deadline_ns = 0;
    complete_sessions(now_ns());
    stopped_ = true;
    changed_.notify_all();
}

void Engine::open_meters(std::unique_lock<std::mutex>& lock) {
    const std::vector<std::string> keys = std::move(wanted_);
    wanted_.clear();
    for (const std::string& key : keys) {
        lock.unlock();  // a driver may take its time; sessions go on meanwhile
        const auto colon = key.find(':');
        const std::string name = key.substr(0, colon);
        Environment environment = Environment::from_process();
        if (colon != std::string::npos) environment.argument = key.substr(colon + 1);
        auto opened = std::make_unique<Meter>();
        opened->key = key;
        Discovery discovery;
        for (const SourceFactory& f : source_registry()) {
            if (f.name != name) continue;
            try {
                discovery = f.discover(environment);
            } catch (const std::exception& error) {
                discovery.findings.push_back({Finding::State::refused, key, error.what(), ""});
            }
        }
        lock.lock();
        for (auto& source : discovery.sources) {
            OpenSource s;
            s.values.resize(source->channels().size());
            s.first_channel = static_cast<std::uint16_t>(channels_.size());
            s.pace_ns = source->pace_ns();
            // One series of a device sets the pace, the others are read along.
            bool locked = s.pace_ns > 0;
            for (const Channel& c : source->channels()) {
                auto state = std::make_unique<ChannelState>();
                state->channel = c;
                state->counter = UnwrappedCounter(c.wrap_at);
                state->paced = s.pace_ns > 0;
                state->locks =
                    !state->paced && c.latched && !fast(c) && c.quantity == Quantity::energy;
                locked |= state->locks || !c.latched || fast(c);
                channels_.push_back(std::move(state));
            }
            for (std::size_t i = s.first_channel; !locked && i < channels_.size(); ++i) {
                locked = channels_[i]->locks = channels_[i]->channel.latched;
            }
            s.source = std::move(source);
            opened->sources.push_back(std::move(s));
        }
        for (Finding& f : discovery.findings) findings_.push_back({key, std::move(f)});
        meters_.push_back(std::move(opened));
    }
    changed_.notify_all();
}

void Engine::poll(std::unique_lock<std::mutex>& lock, Meter& m, OpenSource& s) {
    const std::int64_t due = s.next_ns;
    lock.unlock();  // the one slow thing this thread does
    const std::int64_t t0 = now_ns();
    const ReadStatus status = s.source->read(s.values);
    const std::int64_t t1 = now_ns();
    lock.lock();
    const bool late = s.live && t0 - due > kLateNs;
    ++counters_.polls;
    counters_.poll_ns += static_cast<std::uint64_t>(t1 - t0);
    counters_.late += late ? 1U : 0U;
    s.cost_ns += 0.1 * (static_cast<double>(t1 - t0) + 6'000.0 - s.cost_ns);
    if (status == ReadStatus::ok) {
        s.failures = 0;
        bool paced = false;  // the series that sets the pace ticked just now
        for (const bool pacing : {true, false}) {
            for (std::size_t i = 0; i < s.values.size(); ++i) {
                const auto index = static_cast<std::uint16_t>(s.first_channel + i);
                ChannelState& c = *channels_[index];
                if (c.locks != pacing) continue;
                take(c, index, s.values[i], t0, t1, late, paced);
                paced |= pacing && c.last_change_ns == t1;
            }
        }
    } else {
        fail(s, status, t0, t1);
    }
    if (!s.live && (status == ReadStatus::ok || s.failures >= 3 || s.dead)) {
        s.live = true;
        changed_.notify_all();
    }
    plan(m, s, t1);
}

void Engine::take(ChannelState& c, std::uint16_t index, const RawValue& value, std::int64_t t0,
                  std::int64_t t1, bool late, bool paced) {
    if (!value.valid) {
        // A mean over the time between two reads: after the first of them nothing is missing yet.
        if (c.paced && (!c.seen || c.resume)) return;
        if (c.gap_begin_ns == 0) {
            open_gap(index, c.seen ? c.old_seen_ns : t0,
                     "the device gave no value for this series");
        }
        return;
    }
    Record r;
    r.kind = RecordKind::tick;
    r.id = index;
    r.a = t1;
    r.b = t0;
    if (late) r.flags |= tick_flag::kLate;
    if (c.gap_begin_ns != 0) {
        close_gap(index, t0);
        r.flags |= tick_flag::kAfterGap;
        c.resume = true;
    }
    bool is_change = c.seen && value.raw != c.last_raw;
    if (is_cumulative(c.channel.quantity)) {
        const CounterStep step = c.counter.update(value.raw);
        if (step.event == CounterEvent::wrapped) {
            r.flags |= tick_flag::kWrapped;
            ++counters_.wraps;
        }
        if (step.event == CounterEvent::reset) {
            r.flags |= tick_flag::kReset;
            ++counters_.resets;
        }
        r.c = c.counter.total();
    } else {
        r.c = value.raw;
    }
    if (!c.seen || c.resume) {
        // A value seen, not seen to change: a starting point whose own tick time is unknown.
        if (fast(c.channel)) {  // published at most one period before it was read, as below
            r.b = std::max(t0 - c.channel.update_period_ns, c.seen ? c.old_seen_ns : 0);
        } else if (c.channel.latched) {
            r.flags |= tick_flag::kHeld;
        }
        if (c.seen && t1 - c.old_seen_ns > kForgetPhaseNs) c.clock = TickClock();
        c.seen = true;
        c.resume = false;
        is_change = true;
    } else if (!c.channel.latched) {
        is_change = true;  // every read is a value of its own instant
    } else if (fast(c.channel)) {
        // Published at most one period before it was read.
        r.b = std::max(t0 - c.channel.update_period_ns, c.old_seen_ns);
        if (!is_change) {
            r.flags |= tick_flag::kDuplicate;
            ++counters_.duplicates;
        }
        is_change = true;
    } else if (is_change && c.paced) {
        r.b = c.old_seen_ns;
    } else if (c.paced) {
        if (t1 - c.last_change_ns >= kUnchangedNs) {
            r.flags |= tick_flag::kHeld;
            r.b = c.last_change_ns;  // the same ever since
            is_change = true;
        }
    } else if (is_change) {
        r.b = c.old_seen_ns;
        c.clock.tick(c.old_seen_ns, t1);
        r.d = c.clock.missed();
        if (r.d > 0) {
            r.flags |= tick_flag::kMissed;
            if (c.locks) counters_.ticks_missed += r.d;
        }
    } else {
        ++counters_.duplicates;
        // A gauge that stays the same is published all the same, only that nobody sees it happen.
        const std::int64_t period = c.clock.locked()                 ? c.clock.period_ns()
                                    : c.channel.update_period_ns > 0 ? c.channel.update_period_ns
                                                                     : kUnknownGaugeNs;
        const std::int64_t since = t1 - c.last_change_ns;
        const bool due = paced && !c.locks ? since > period / 2 : since > period + period / 4;
        if (!is_cumulative(c.channel.quantity) && due) {
            r.flags |= tick_flag::kHeld;
            is_change = true;
        }
    }
    c.last_raw = value.raw;
    c.old_seen_ns = t0;
    if (!is_change) return;
    c.last_change_ns = t1;
    if ((r.flags & tick_flag::kHeld) == 0 && (c.locks || !c.channel.latched || fast(c.channel))) {
        ++counters_.ticks;
    }
    log_tick(r);
}

void Engine::fail(OpenSource& s, ReadStatus status, std::int64_t t0, std::int64_t) {
    ++s.failures;
    if (status == ReadStatus::retry && s.failures < 3) return;  // one hiccup is no gap yet
    const std::string why = s.source->failure();
    for (std::size_t i = 0; i < s.values.size(); ++i) {
        ChannelState& c = *channels_[s.first_channel + i];
        if (c.gap_begin_ns == 0) {
            open_gap(static_cast<std::uint16_t>(s.first_channel + i), c.seen ? c.old_seen_ns : t0,
                     why);
        }
    }
    if (status == ReadStatus::gone) s.dead = true;
}

void Engine::open_gap(std::uint16_t channel, std::int64_t begin, const std::string& reason) {
    channels_[channel]->gap_begin_ns = begin;
    gaps_.push_back({channel, begin, 0, reason});
    for (const auto& s : journals_) journal_gap(*s, gaps_.back());
}

void Engine::close_gap(std::uint16_t channel, std::int64_t end) {
    channels_[channel]->gap_begin_ns = 0;
    for (auto g = gaps_.rbegin(); g != gaps_.rend(); ++g) {
        if (g->channel != channel || g->end_ns != 0) continue;
        g->end_ns = end;
        for (const auto& s : journals_) journal_gap(*s, *g);
        return;
    }
}

// A paced read can wait, a tick about to come cannot: the read would hide when it came.
bool Engine::yields(OpenSource& s) {
    const std::int64_t now = now_ns();
    if (s.pace_ns == 0 || now - s.planned_ns > kMostYieldNs) return false;
    for (const auto& m : meters_) {
        for (const OpenSource& other : m->sources) {
            if (!other.live || other.dead || other.pace_ns > 0) continue;
            if (other.next_ns > now + kTickNearNs) continue;
            s.next_ns = now + kYieldNs;
            return true;
        }
    }
    return false;
}

void Engine::plan(Meter& m, OpenSource& s, std::int64_t now) {
    if (s.failures > 0) {
        s.next_ns = now + (s.failures < 3 ? kNsPerMs : kBackoffNs);
        return;
    }
    if (s.pace_ns > 0) {
        s.next_ns = s.planned_ns = now + s.pace_ns;
        return;
    }
    if (m.rate_hz > 0.0) {
        const auto step = static_cast<std::int64_t>(1e9 / m.rate_hz);
        s.planned_ns += step;
        if (s.planned_ns < now - 8 * step || s.planned_ns > now + 2 * step)
            s.planned_ns = now + step;
        s.next_ns = s.planned_ns;
        return;
    }
    std::int64_t next = kNever;
    for (std::size_t i = 0; i < s.values.size(); ++i) {
        const ChannelState& c = *channels_[s.first_channel + i];
        if (c.locks) {
            next = std::min(next, c.clock.next(now, dither(), s.cost_ns).at_ns);
        } else if (!c.channel.latched || fast(c.channel)) {
            const auto step = static_cast<std::int64_t>(static_cast<double>(kPlainReadNs) *
                                                        (0.9 + 0.2 * dither()));
            next = std::min(next, now + step);
        }
    }
    s.next_ns = std::min(next, now + kNsPerS);
}

void Engine::log_tick(const Record& record) {
    (channels_[record.id]->paced ? states_ : ticks_).append(record);
    for (const auto& s : journals_) journal_tick(*s, record);
}

void Engine::bound_memory() {
    if (ticks_.full()) ticks_.thin_older_half(thin_ticks);
    if (states_.full()) states_.thin_older_half(thin_states);
    if (cells_.full()) cells_.thin_older_half(thin_cells);
    if (spans_.full()) {
        const std::uint64_t before = spans_.end() - spans_.begin();
        spans_.thin_older_half([](std::vector<Record>& older) {
            const std::int64_t least = thin_spans(older);
            // Further calls as short as those just dropped need not be kept at all.
            auto& bar = RegionStore::instance().least_span_ns;
            bar.store(std::max(bar.load(), least));
        });
        counters_.spans_folded += before - (spans_.end() - spans_.begin());
    }
    trim();
}

bool Engine::closing_ticks_in(const Session& s) const {
    return std::all_of(s.channels.begin(), s.channels.end(), [&](std::uint16_t i) {
        const ChannelState& c = *channels_[i];
        if (c.paced) return c.gap_begin_ns != 0 || c.old_seen_ns > s.end_ns;
        const bool paces = c.locks || !c.channel.latched || fast(c.channel);
        return !paces || c.gap_begin_ns != 0 || c.last_change_ns > s.end_ns;
    });
}

void Engine::complete_sessions(std::int64_t now) {
    bool any = false;
    for (const auto& s : sessions_) {
        if (s->end_ns == 0 || (now < s->deadline_ns && !closing_ticks_in(*s))) continue;
        // Kernels that ran before the end may still be on their way.
        if (s->kernels && !kernels_.settled(*s->kernels) &&
            now < std::max(s->deadline_ns, s->end_ns + kKernelsNs) && s->deadline_ns != 0) {
            continue;
        }
        any = true;
        s->ticks_to = ticks_.end();
        s->states_to = states_.end();
        s->complete = true;
        if (s->journal) end_journal(*s);
        // Dropped by its user already: nobody will ask for the result.
        if (s.use_count() > 1) s->trace = materialise(*s);
        for (void* meter : s->meters) --static_cast<Meter*>(meter)->users;
    }
    if (!any) return;
    std::erase_if(sessions_, [](const auto& s) { return s->complete; });
    for (const auto& m : meters_) {
        m->rate_hz = 0.0;
        for (const auto& s : sessions_) {
            if (std::find(s->meters.begin(), s->meters.end(), m.get()) != s->meters.end()) {
                m->rate_hz = std::max(m->rate_hz, s->options.rate_hz);
            }
        }
    }
    if (sessions_.empty()) RegionStore::instance().least_span_ns.store(INT64_MAX);
    changed_.notify_all();
}

// Forgets what no session can ask for any more, save some ticks to find the next one's clocks with.
void Engine::trim() {
    constexpr std::uint64_t kKeepTicks = 4096;
    constexpr std::uint64_t kKeepStates = 8192;
    std::uint64_t ticks = ticks_.end() - std::min(ticks_.end() - ticks_.begin(), kKeepTicks);
    std::uint64_t states = states_.end() - std::min(states_.end() - states_.begin(), kKeepStates);
    std::uint64_t cells = cells_.end();
    std::uint64_t spans = spans_.end();
    for (const auto& s : sessions_) {
        ticks = std::min(ticks, s->ticks_from);
        states = std::min(states, s->states_from);
        cells = std::min(cells, s->cells_from);
        spans = std::min(spans, s->spans_from);
    }
    ticks_.trim(ticks);
    states_.trim(states);
    cells_.trim(cells);
    spans_.trim(spans);
    if (sessions_.empty() && gaps_.size() > 1024) {
        std::erase_if(gaps_, [](const GapNote& g) { return g.end_ns != 0; });
    }
}

}  // namespace picojoule
