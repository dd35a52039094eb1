#include "model/journal.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <map>
#include <span>

namespace picojoule {
namespace {

struct FileHeader {
    char magic[8];
    std::uint32_t version;
    std::uint32_t record_bytes;
    std::uint64_t byte_order;  // reads differently on a machine of the other endianness
    std::uint64_t reserved;
};
static_assert(sizeof(FileHeader) == 32);

struct FrameHeader {
    std::uint32_t magic;
    std::uint32_t bytes;
    std::uint32_t crc;
    std::uint32_t sequence;
};
static_assert(sizeof(FrameHeader) == 16);

constexpr char kMagic[8] = {'p', 'j', 'o', 'u', 'r', 'n', 'l', '\n'};
constexpr std::uint32_t kFrameMagic = 0x4d415246;  // "FRAM"
constexpr std::uint64_t kByteOrder = 0x0102030405060708;
constexpr std::uint32_t kMostFrameBytes = 64U << 20;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t c = i;
        for (int bit = 0; bit < 8; ++bit) c = (c & 1U) != 0 ? 0xEDB88320U ^ (c >> 1U) : c >> 1U;
        table[i] = c;
    }
    return table;
}

std::uint32_t crc32(const void* data, std::size_t bytes) noexcept {
    static constexpr auto kTable = make_crc_table();
    const auto* p = static_cast<const unsigned char*>(data);
    std::uint32_t c = 0xFFFFFFFFU;
    for (std::size_t i = 0; i < bytes; ++i) c = kTable[(c ^ p[i]) & 0xFFU] ^ (c >> 8U);
    return c ^ 0xFFFFFFFFU;
}

bool write_all(int fd, const void* data, std::size_t bytes) noexcept {
    const auto* p = static_cast<const char*>(data);
    while (bytes > 0) {
        const ssize_t n = ::write(fd, p, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        p += n;
        bytes -= static_cast<std::size_t>(n);
    }
    return true;
}

std::size_t text_records(std::int64_t bytes) noexcept {
    return (static_cast<std::size_t>(bytes) + sizeof(Record) - 1) / sizeof(Record);
}

// Fields joined by the unit separator, which no name contains: nothing to escape.
constexpr char kSeparator = '\x1f';

class Fields {
  public:
    void text(std::string_view field) { out_.append(field).push_back(kSeparator); }
    template <class T>
    void number(T value) {
        char digits[40];
        const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
        text({digits, static_cast<std::size_t>(end - digits)});
    }
    std::string take() { return std::move(out_); }

  private:
    std::string out_;
};

class FieldReader {
  public:
    explicit FieldReader(std::string_view text) : rest_(text) {}
    void text(std::string& field) { field = next(); }
    template <class T>
    void number(T& value) {
        const std::string_view field = next();
        const std::span<const char> all(field);
        good_ &= std::from_chars(all.data(), all.data() + all.size(), value).ec == std::errc{};
    }
    [[nodiscard]] bool good() const noexcept { return good_; }

  private:
    std::string_view next() {
        const auto end = rest_.find(kSeparator);
        if (end == std::string_view::npos) {
            good_ = false;
            return {};
        }
        const std::string_view field = rest_.substr(0, end);
        rest_.remove_prefix(end + 1);
        return field;
    }

    std::string_view rest_;
    bool good_{true};
};

// Turns the stream of records back into a Trace.
class TraceAssembler {
  public:
    void feed(std::span<const Record> records) {
        for (std::size_t i = 0; i < records.size(); ++i) {
            const Record& r = records[i];
            if (r.kind == RecordKind::text) {
                if (r.b < 0 || text_records(r.b) > records.size() - i - 1) return;
                const std::size_t n = text_records(r.b);
                std::string text(static_cast<std::size_t>(r.b), '\0');
                std::memcpy(text.data(), &records[i] + 1, text.size());
                i += n;
                take_text(r, std::move(text));
                continue;
            }
            take(r);
        }
    }

    Trace finish() {
        if (trace.end_ns == 0) {
            trace.complete = false;
            trace.end_ns = std::max(last_ns_, trace.begin_ns);
        }
        for (const Record& gap : gaps_) {
            const auto reason = reasons_.find(gap.d);
            trace.gaps.push_back({gap.id, gap.a, gap.b == 0 ? trace.end_ns : gap.b,
                                  reason == reasons_.end() ? "" : reason->second});
        }
        if (trace.paths.empty()) trace.paths.emplace_back();
        return std::move(trace);
    }

    Trace trace;

  private:
    void take_text(const Record& r, std::string text) {
        switch (static_cast<TextUse>(r.id)) {
            case TextUse::path:
                if (r.d >= trace.paths.size()) trace.paths.resize(r.d + 1UL);
                trace.paths[r.d] = {static_cast<std::uint32_t>(r.a), std::move(text)};
                break;
            case TextUse::channel:
                put(trace.channels, r.d, text, decode_channel);
                break;
            case TextUse::kernel_class:
                put(trace.kernel_classes, r.d, text, decode_kernel_class);
                break;
            case TextUse::track:
                put(trace.tracks, r.d, text, decode_track);
                break;
            case TextUse::reason:
                reasons_[r.d] = std::move(text);
                break;
            case TextUse::finding:
                trace.meta["finding:" + std::to_string(r.d)] = std::move(text);
                break;
            case TextUse::meta: {
                const auto colon = text.find('=');
                if (colon == std::string::npos) break;
                if (text.compare(0, colon, "name") == 0) trace.name = text.substr(colon + 1);
                trace.meta[text.substr(0, colon)] = text.substr(colon + 1);
                break;
            }
        }
    }

    template <class T>
    static void put(std::vector<T>& list, std::uint32_t index, std::string_view text,
                    bool (*decode)(std::string_view, T&)) {
        T value;
        if (!decode(text, value)) return;
        if (index >= list.size()) list.resize(index + 1UL);
        list[index] = std::move(value);
    }

    void take(const Record& r) {
        switch (r.kind) {
            case RecordKind::tick:
                trace.ticks.push_back(r);
                last_ns_ = std::max(last_ns_, r.a);
                break;
            case RecordKind::cell:
                trace.cells.push_back(r);
                last_ns_ = std::max(last_ns_, r.a);
                break;
            case RecordKind::span:
                trace.spans.push_back(r);
                last_ns_ = std::max(last_ns_, r.b);
                break;
            case RecordKind::kernel:
                trace.kernels.push_back(r);
                last_ns_ = std::max(last_ns_, r.b);
                break;
            case RecordKind::gap: {
                // A gap is written when it opens (b == 0) and again when it closes.
                const auto open = std::find_if(gaps_.begin(), gaps_.end(), [&](const Record& g) {
                    return g.id == r.id && g.a == r.a && g.b == 0;
                });
                if (open != gaps_.end())
                    *open = r;
                else
                    gaps_.push_back(r);
                break;
            }
            case RecordKind::mark:
                if (static_cast<MarkUse>(r.id) == MarkUse::begin) {
                    trace.begin_ns = r.a;
                    trace.begin_wall_ns = r.b;
                } else {
                    trace.end_ns = r.a;
                }
                break;
            default:
                break;  // a kind of a later version: skipped, it is one record long
        }
    }

    std::map<std::uint32_t, std::string> reasons_;
    std::vector<Record> gaps_;
    std::int64_t last_ns_{};
};

}  // namespace

void append_text(std::vector<Record>& out, TextUse use, std::uint32_t id, std::uint32_t parent,
                 std::string_view text) {
    Record head;
    head.kind = RecordKind::text;
    head.a = parent;
    head.b = static_cast<std::int64_t>(text.size());
    head.d = id;
    head.id = static_cast<std::uint16_t>(use);
    out.push_back(head);
    const std::size_t first = out.size();
    out.resize(first + text_records(head.b));
    if (!text.empty()) std::memcpy(static_cast<void*>(&out[first]), text.data(), text.size());
}

std::string encode_channel(const Channel& c) {
    Fields out;
    out.text(c.meter), out.text(c.domain), out.text(c.field), out.text(c.device), out.text(c.note);
    out.number(static_cast<int>(c.quantity)), out.number(static_cast<int>(c.provenance));
    out.number(static_cast<int>(c.in_total)), out.number(static_cast<int>(c.latched));
    out.number(c.update_period_ns), out.number(c.window_ns), out.number(c.unit);
    out.number(c.wrap_at), out.number(c.gain_std);
    return out.take();
}

bool decode_channel(std::string_view text, Channel& c) {
    FieldReader in(text);
    int quantity{}, provenance{}, in_total{}, latched{};
    in.text(c.meter), in.text(c.domain), in.text(c.field), in.text(c.device), in.text(c.note);
    in.number(quantity), in.number(provenance), in.number(in_total), in.number(latched);
    in.number(c.update_period_ns), in.number(c.window_ns), in.number(c.unit), in.number(c.wrap_at);
    in.number(c.gain_std);
    if (!in.good() || quantity < 0 || quantity >= static_cast<int>(kQuantities)) return false;
    if (provenance < 0 || provenance >= static_cast<int>(kProvenances)) return false;
    c.quantity = static_cast<Quantity>(quantity);
    c.provenance = static_cast<Provenance>(provenance);
    c.in_total = in_total != 0;
    c.latched = latched != 0;
    return true;
}

std::string encode_kernel_class(const KernelClass& k) {
    Fields out;
    out.text(k.name), out.number(static_cast<int>(k.kind));
    for (const auto n : k.grid) out.number(n);
    for (const auto n : k.block) out.number(n);
    out.number(k.static_shared), out.number(k.dynamic_shared), out.number(k.bytes);
    return out.take();
}

bool decode_kernel_class(std::string_view text, KernelClass& k) {
    FieldReader in(text);
    int kind{};
    in.text(k.name), in.number(kind);
    for (auto& n : k.grid) in.number(n);
    for (auto& n : k.block) in.number(n);
    in.number(k.static_shared), in.number(k.dynamic_shared), in.number(k.bytes);
    if (!in.good() || kind < 1 || kind > 4) return false;
    k.kind = static_cast<ActivityKind>(kind);
    return true;
}

std::string encode_track(const Track& t) {
    Fields out;
    out.text(t.domain), out.text(t.device), out.number(t.context), out.number(t.stream);
    return out.take();
}

bool decode_track(std::string_view text, Track& t) {
    FieldReader in(text);
    in.text(t.domain), in.text(t.device), in.number(t.context), in.number(t.stream);
    return in.good();
}

JournalWriter::JournalWriter(const std::string& path)
    : fd_(::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644)) {
    if (!fd_) {
        error_ = std::string(std::strerror(errno));
        return;
    }
    FileHeader header{};
    std::memcpy(header.magic, kMagic, sizeof kMagic);
    header.version = kJournalVersion;
    header.record_bytes = sizeof(Record);
    header.byte_order = kByteOrder;
    if (!write_all(fd_.get(), &header, sizeof header)) {
        error_ = std::string(std::strerror(errno));
        return;
    }
    bytes_ = sizeof header;
}

bool JournalWriter::append(std::span<const Record> records) noexcept {
    if (!fd_) return false;
    const std::size_t bytes = records.size_bytes();
    const FrameHeader header{kFrameMagic, static_cast<std::uint32_t>(bytes),
                             crc32(records.data(), bytes), sequence_};
    if (!write_all(fd_.get(), &header, sizeof header) ||
        !write_all(fd_.get(), records.data(), bytes)) {
        // Half a frame would hide every later one from the reader.
        const int reason = errno;
        if (::ftruncate(fd_.get(), static_cast<off_t>(bytes_)) == 0) {
            ::lseek(fd_.get(), static_cast<off_t>(bytes_), SEEK_SET);
        }
        errno = reason;
        return false;
    }
    ++sequence_;
    bytes_ += sizeof header + bytes;
    return true;
}

JournalReading read_journal(const std::string& path) {
    JournalReading out;
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) {
        out.problem = JournalProblem::absent;
        out.message = std::strerror(errno);
        return out;
    }
    std::uint64_t remaining = 0;
    struct stat info{};
    if (::fstat(fd.get(), &info) == 0 && info.st_size > 0) {
        remaining = static_cast<std::uint64_t>(info.st_size);
    }
    const auto read_all = [&](void* data, std::size_t bytes) {
        auto* p = static_cast<char*>(data);
        std::size_t done = 0;
        while (done < bytes) {
            const ssize_t n = ::read(fd.get(), p + done, bytes - done);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) return false;
            done += static_cast<std::size_t>(n);
        }
        return true;
    };
    FileHeader header{};
    if (remaining < sizeof header || !read_all(&header, sizeof header)) {
        out.problem = JournalProblem::empty;
        out.message = "it is shorter than its header";
        return out;
    }
    remaining -= sizeof header;
    if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0 || header.byte_order != kByteOrder ||
        header.record_bytes != sizeof(Record)) {
        out.problem = JournalProblem::foreign;
        out.message = "it does not begin like a journal of picojoule on this kind of machine";
        return out;
    }
    if (header.version > kJournalVersion) {
        out.problem = JournalProblem::newer;
        out.message = "format " + std::to_string(header.version) + ", this picojoule knows " +
                      std::to_string(kJournalVersion);
        return out;
    }
    TraceAssembler assembler;
    std::vector<Record> records;
    while (remaining >= sizeof(FrameHeader)) {
        FrameHeader frame{};
        if (!read_all(&frame, sizeof frame)) break;
        if (frame.magic != kFrameMagic || frame.bytes > kMostFrameBytes ||
            frame.bytes % sizeof(Record) != 0 || frame.bytes > remaining - sizeof frame) {
            break;
        }
        records.resize(frame.bytes / sizeof(Record));
        if (!read_all(records.data(), frame.bytes)) break;
        if (crc32(records.data(), frame.bytes) != frame.crc) break;
        remaining -= sizeof frame + frame.bytes;
        assembler.feed(records);
    }
    out.bytes_ignored = remaining;
    out.trace = assembler.finish();
    if (out.trace.begin_ns == 0) {
        out.problem = JournalProblem::empty;
        out.message = "nothing was written to it before the program ended";
    }
    return out;
}

}  // namespace picojoule
