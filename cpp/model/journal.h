// The journal: what a running profile appends to disk, from a native thread, without the GIL.
//
// A file is a header, then frames. A frame is 16 bytes (magic, byte count, CRC-32 of the payload,
// sequence number) and a payload of whole Records. A process killed between two writes loses what
// it had not yet written; one killed inside a write leaves a frame whose checksum does not fit, and
// the reader stops before it. So any prefix of a journal is a journal.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "model/record.h"
#include "model/trace.h"

namespace picojoule {

constexpr std::uint32_t kJournalVersion = 1;
constexpr std::string_view kJournalFile = "journal.pjj";

// A text record and the records that carry its bytes.
void append_text(std::vector<Record>& out, TextUse use, std::uint32_t id, std::uint32_t parent,
                 std::string_view text);

// A channel as one line of text, and back.
std::string encode_channel(const Channel& channel);
bool decode_channel(std::string_view text, Channel& channel);
std::string encode_kernel_class(const KernelClass& kernel_class);
bool decode_kernel_class(std::string_view text, KernelClass& kernel_class);
std::string encode_track(const Track& track);
bool decode_track(std::string_view text, Track& track);

class JournalWriter {
  public:
    // Creates the file; `error` holds the reason where that failed.
    explicit JournalWriter(const std::string& path);

    [[nodiscard]] bool ok() const noexcept { return static_cast<bool>(fd_) && error_.empty(); }
    [[nodiscard]] const std::string& error() const noexcept { return error_; }
    [[nodiscard]] std::uint64_t bytes() const noexcept {
        return bytes_.load(std::memory_order_relaxed);
    }

    // One frame. On failure (disk full) the file is cut back to its last whole frame and false is
    // returned; the same records may be offered again later.
    bool append(std::span<const Record> records) noexcept;

    // In a forked child: forget the file without touching it.
    void abandon() noexcept { fd_.reset(); }

  private:
    UniqueFd fd_;
    std::atomic<std::uint64_t> bytes_{};  // asked for while a frame is written
    std::uint32_t sequence_{};
    std::string error_;
};

enum class JournalProblem : std::uint8_t { none, absent, foreign, newer, empty };

struct JournalReading {
    JournalProblem problem{};
    std::string message;
    Trace trace;
    std::uint64_t bytes_ignored{};  // after the last whole frame
};

// Reads as much as is whole. Never throws for what is in the file.
JournalReading read_journal(const std::string& path);

}  // namespace picojoule
