// The writer's thread: the journals of running profiles, onto disk. It may block there as long as
// the disk likes; nobody waits for it but the end of the profile that asked for a file.
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include "recorder/engine.h"

namespace picojoule {
namespace {

constexpr auto kFlush = std::chrono::milliseconds(200);
constexpr std::size_t kMostPending = std::size_t{1}
                                     << 17U;  // 4 MiB a journal, while a disk is full
constexpr std::int64_t kRetryNs = kNsPerS;

}  // namespace

void Engine::begin_journal(const std::shared_ptr<Session>& s) {
    std::vector<Record>& out = s->journal->pending;
    Record mark;
    mark.kind = RecordKind::mark;
    mark.id = static_cast<std::uint16_t>(MarkUse::begin);
    mark.a = s->begin_ns;
    mark.b = s->begin_wall_ns;
    out.push_back(mark);
    append_text(out, TextUse::meta, 0, 0, "name=" + s->options.name);
    for (const std::string& line : s->options.meta) append_text(out, TextUse::meta, 0, 0, line);
    for (std::size_t i = 0; i < s->channels.size(); ++i) {
        append_text(out, TextUse::channel, static_cast<std::uint32_t>(i), 0,
                    encode_channel(channels_[s->channels[i]]->channel));
    }
    for (const auto& [path, open] : s->open_at_begin) {
        Record r;
        r.kind = RecordKind::cell;
        r.a = s->begin_ns;
        r.d = path;
        r.id = static_cast<std::uint16_t>(std::clamp(open, 0, 65535));
        out.push_back(r);
    }
    for (const auto& ticks : {ticks_.slice(s->ticks_from, ticks_.end()),
                              states_.slice(s->states_from, states_.end())}) {
        for (const Record& r : ticks) {
            if (r.a >= s->begin_ns - kLookbackNs) journal_tick(*s, r);
        }
    }
    for (const GapNote& g : gaps_) {
        if (g.end_ns == 0) journal_gap(*s, g);
    }
    journals_.push_back(s);
    if (!writer_running_) {
        if (writer_.joinable()) writer_.join();  // it has said that it is done
        writer_running_ = true;
        sigset_t all;
        sigset_t before;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        writer_ = std::thread([this] { write(); });
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
}

void Engine::journal_tick(Session& s, const Record& record) {
    if (s.journal->finished) return;
    const auto own = std::find(s.channels.begin(), s.channels.end(), record.id);
    if (own == s.channels.end()) return;
    s.journal->pending.push_back(record);
    s.journal->pending.back().id = static_cast<std::uint16_t>(own - s.channels.begin());
}

void Engine::journal_gap(Session& s, const GapNote& gap) {
    if (s.journal->finished) return;
    const auto own = std::find(s.channels.begin(), s.channels.end(), gap.channel);
    if (own == s.channels.end()) return;
    const std::uint32_t reason = ++s.journal->reasons;
    append_text(s.journal->pending, TextUse::reason, reason, 0, gap.reason);
    Record r;
    r.kind = RecordKind::gap;
    r.a = gap.begin_ns;
    r.b = gap.end_ns;
    r.d = reason;
    r.id = static_cast<std::uint16_t>(own - s.channels.begin());
    s.journal->pending.push_back(r);
}

void Engine::end_journal(Session& s) {
    Record mark;
    mark.kind = RecordKind::mark;
    mark.id = static_cast<std::uint16_t>(MarkUse::end);
    mark.a = s.end_ns;
    s.journal->pending.push_back(mark);
    s.journal->finished = true;
    journal_work_.notify_all();
}

std::string Engine::flush_journal(Session& session, std::int64_t timeout_ns) {
    if (!session.journal) return {};
    std::unique_lock lock(mutex_);
    const auto limit = std::chrono::system_clock::now() +
                       std::chrono::duration_cast<std::chrono::system_clock::duration>(
                           std::chrono::nanoseconds(timeout_ns));
    journal_work_.notify_all();
    while (!session.journal->closed &&
           journal_work_.wait_until(lock, limit) != std::cv_status::timeout) {
    }
    if (!session.journal->closed) return "the disk did not take the rest of the journal in time";
    return session.journal->writer_words;
}

void Engine::write() noexcept {
    ::prctl(PR_SET_NAME, "picojoule-io");
    std::vector<Record> batch;
    std::vector<Record> of_kernels;
    std::unique_lock lock(mutex_);
    while (!journals_.empty()) {
        const bool urgent =
            writer_stop_ || std::any_of(journals_.begin(), journals_.end(), [](const auto& s) {
                return s->journal->finished && s->journal->begun;
            });
        if (!urgent) journal_work_.wait_until(lock, std::chrono::system_clock::now() + kFlush);
        const std::vector<std::shared_ptr<Session>> sessions = journals_;
        bool waiting = false;
        for (const auto& s : sessions) {
            JournalState& j = *s->journal;
            const std::int64_t now = now_ns();
            if (!j.begun) {
                waiting = true;
                continue;
            }
            if (now < j.retry_at_ns && !(j.finished || writer_stop_)) continue;
            const bool last = j.finished;
            batch.clear();
            // Before the paths are looked up: so all that kernels name are among them.
            of_kernels.clear();
            if (s->kernels) kernels_.drain(*s->kernels, of_kernels);
            const auto nodes = RegionStore::instance().paths().nodes_from(j.paths_written);
            for (std::size_t i = 0; i < nodes.size(); ++i) {
                append_text(batch, TextUse::path, static_cast<std::uint32_t>(j.paths_written + i),
                            nodes[i].parent, nodes[i].name);
            }
            if (j.lost_since_ns != 0) {
                append_text(batch, TextUse::meta, 0, 0, "journal_gap=" + j.writer_words);
            }
            const std::size_t head = batch.size();
            batch.insert(batch.end(), of_kernels.begin(), of_kernels.end());
            batch.insert(batch.end(), j.pending.begin(), j.pending.end());
            j.pending.clear();
            lock.unlock();
            errno = 0;
            const bool written = batch.empty() || j.writer.append(batch);
            const int reason = errno;
            lock.lock();
            if (written) {
                j.paths_written += nodes.size();
                j.lost_since_ns = 0;
                j.retry_at_ns = 0;
            } else {
                // The program goes on, and so does the record in memory; the file waits for room.
                if (j.lost_since_ns == 0) j.lost_since_ns = now;
                j.retry_at_ns = now + kRetryNs;
                j.writer_words = std::string("the trace could not be written for a while: ") +
                                 std::strerror(reason);
                if (batch.size() - head + j.pending.size() <= kMostPending) {
                    j.pending.insert(j.pending.begin(),
                                     batch.begin() + static_cast<std::ptrdiff_t>(head),
                                     batch.end());
                } else {
                    j.records_lost += batch.size() - head;
                    j.writer_words += " (" + std::to_string(j.records_lost) +
                                      " records are missing from the file)";
                }
            }
            if (last) {
                // Finished: what could not be written now never will be by us.
                if (!written) j.records_lost += j.pending.size();
                j.closed = true;
                std::erase(journals_, s);
            } else {
                waiting = true;
            }
        }
        journal_work_.notify_all();
        if (writer_stop_ && waiting) break;
    }
    writer_running_ = false;
    journal_work_.notify_all();
}

}  // namespace picojoule
