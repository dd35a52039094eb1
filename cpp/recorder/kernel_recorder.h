// What ran on devices, from the tracers to the sessions that want to know.
//
// A tracer starts when the first session wants kernels and the program uses its device, never
// before: looking for kernels must not be what loads a vendor's library. It stops a moment after
// the last such session has ended. Its records come late and in any order; each goes to every
// session in whose time it began: into sums by (path, kernel, track), which are bounded by how many
// distinct ones a program has, and, up to a limit, one by one.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "model/kernel_sample.h"
#include "model/trace.h"
#include "tracers/tracer.h"

namespace picojoule {

enum class KernelWish : std::uint8_t {
    off,
    sums,     // no single kernels: for runs of weeks
    all,      // the default
    overlay,  // leave the vendor's library to another tool
};

// One session's share. Guarded by the recorder's lock.
class KernelSession {
  public:
    // Kernels kept one by one in memory: 2^20 * 32 B. Where there are more, those of stretches
    // drawn at random stay (KernelSample). A journal holds all.
    static constexpr std::size_t kMost = std::size_t{1} << 20U;

  private:
    friend class KernelRecorder;
    struct Key {
        std::uint64_t path_class{};
        std::uint32_t track{};
        bool operator==(const Key&) const = default;
    };
    struct Hash {
        std::size_t operator()(const Key& k) const noexcept {
            return (k.path_class ^ (std::uint64_t{k.track} << 48U)) * 0x9E3779B97F4A7C15ULL >> 20U;
        }
    };

    void take(const Record& record);
    void keep(const Record& record);

    KernelWish wish_{};
    std::int64_t begin_ns_{};
    std::int64_t end_ns_{INT64_MAX};
    std::unordered_map<Key, std::size_t, Hash> places_;
    Key last_key_{};
    std::size_t last_place_{SIZE_MAX};
    std::vector<KernelCell> cells_;
    std::vector<Record> kept_;
    KernelSample sample_;
    bool journal_{};
    std::vector<Record> for_journal_;
    std::size_t classes_written_{}, tracks_written_{};
    std::uint64_t journal_lost_{};
    TracerCounters at_begin_;
};

// One a process; Engine owns it. Its lock may be taken under the engine's, never the other way.
class KernelRecorder final : public ActivitySink {
  public:
    // `current_path`: see TracerSetup. Set once, before the first session.
    static void set_current_path(std::uint32_t (*current_path)() noexcept) noexcept;
    // Where vendors' libraries may lie beside the system's places (as in sys.path).
    static void set_folders(std::vector<std::string> folders);
    // What a tracer would do here; see tracer_outlook.
    static TracerStatus outlook();

    // `device_of`: domain and name of the device with that UUID, as the meters call it; empty if no
    // meter knows it. Called on the tracer's thread, under no lock of this class.
    using DeviceOf = std::function<DeviceName(const std::string& uuid)>;
    explicit KernelRecorder(DeviceOf device_of) : device_of_(std::move(device_of)) {}
    ~KernelRecorder() override = default;

    // Begins to listen; null where nothing is wanted. Waits until the tracer listens if the device
    // is in use already; else a thread waits for that. The caller holds no lock.
    std::shared_ptr<KernelSession> begin(KernelWish wish, bool journal);
    // The session's time is known now; kernels that began in [begin, end) are its.
    void set_begin(KernelSession& session, std::int64_t begin_ns);
    void set_end(KernelSession& session, std::int64_t end_ns);
    // Whether what ran before the session's end has arrived.
    [[nodiscard]] bool settled(const KernelSession& session) const;
    // Adds what is known to `trace`.
    void fill(const KernelSession& session, Trace& trace) const;
    // What the journal does not have yet, names first.
    void drain(KernelSession& session, std::vector<Record>& out);

    [[nodiscard]] TracerStatus status() const;
    // Stops the tracer: what ran is with the sessions when this returns.
    void shutdown();

    // In a forked child: forget the tracer, whose threads do not exist here. REQUIRES: mutex() is
    // held.
    void abandon() noexcept;
    std::mutex& mutex() noexcept { return mutex_; }

    // ActivitySink, on the tracer's thread.
    std::uint32_t class_id(const KernelClass& kernel_class) override;
    std::uint16_t track_id(const Track& track) override;
    void activities(std::span<const ActivityRecord> records) noexcept override;
    void note(const TracerCounters& counters) noexcept override;

  private:
    void watch() noexcept;  // the control thread: the only one that calls the tracer
    TracerStatus start_tracer(std::unique_lock<std::mutex>& lock);

    const DeviceOf device_of_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::weak_ptr<KernelSession>> sessions_;
    std::vector<KernelClass> classes_;
    std::map<std::string, std::uint32_t> class_ids_;  // by text form
    std::vector<Track> tracks_;
    TracerCounters counters_;
    TracerStatus status_;
    std::unique_ptr<Tracer> tracer_;
    std::thread control_;
    bool control_running_{};
    bool stopping_{};
    bool asked_{};  // the tracer was started, or refused
    bool overlay_{};
    std::uint32_t open_{};  // sessions that have not ended
    std::int64_t linger_until_ns_{};
    std::int64_t looked_ns_{};  // when no device was in use
    std::int64_t flush_wanted_ns_{};
    std::int64_t flushed_until_ns_{};
    std::vector<std::shared_ptr<KernelSession>> taking_;  // of the tracer's thread
};

}  // namespace picojoule
