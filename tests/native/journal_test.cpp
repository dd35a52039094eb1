#include "model/journal.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>

using namespace picojoule;

namespace {

struct Folder {
    std::filesystem::path path;
    Folder() {
        std::string name = (std::filesystem::temp_directory_path() / "pj-journal-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~Folder() { std::filesystem::remove_all(path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] std::string file() const { return (path / "journal.pjj").string(); }
};

Record mark(MarkUse use, std::int64_t at) {
    Record r;
    r.kind = RecordKind::mark;
    r.id = static_cast<std::uint16_t>(use);
    r.a = at;
    return r;
}

Record tick(std::int64_t at, std::uint64_t value) {
    Record r;
    r.kind = RecordKind::tick;
    r.a = at;
    r.b = at - 10;
    r.c = value;
    return r;
}

Channel channel() {
    Channel c;
    c.meter = "nvml";
    c.domain = "gpu:0";
    c.field = "energy";
    c.device = "A board \"with\" quotes\nand a newline";
    c.quantity = Quantity::energy;
    c.provenance = Provenance::measured;
    c.unit = 1e-3;
    c.wrap_at = 12345678901234567890ULL;
    c.gain_std = 0.05;
    c.update_period_ns = 100'000'000;
    return c;
}

}  // namespace

TEST_CASE("a kernel and its track survive their text form") {
    const KernelClass kernel{
        ActivityKind::kernel, "void f<int, 4>(int*)", {7, 8, 9}, {32, 2, 1}, 1024, 48 << 10,
        1ULL << 40U};
    KernelClass kernel_back;
    REQUIRE(decode_kernel_class(encode_kernel_class(kernel), kernel_back));
    CHECK(kernel_back == kernel);
    const Track track{"gpu:1", "NVIDIA H100", 3, 0xFFFFFFFFFFULL};
    Track track_back;
    REQUIRE(decode_track(encode_track(track), track_back));
    CHECK(track_back == track);
    CHECK_FALSE(
        decode_kernel_class("f\x1f"
                            "9\x1f",
                            kernel_back));
    CHECK_FALSE(decode_track("gpu:0", track_back));
}

TEST_CASE("a channel survives its text form") {
    Channel back;
    REQUIRE(decode_channel(encode_channel(channel()), back));
    CHECK(back.device == channel().device);
    CHECK(back.wrap_at == channel().wrap_at);
    CHECK(back.unit == channel().unit);
    CHECK(back.in_total);
    CHECK_FALSE(decode_channel("half\x1f a channel", back));
}

TEST_CASE("a channel of any quantity survives its text form, one of none does not") {
    Channel c = channel();
    for (unsigned q = 0; q < kQuantities; ++q) {
        c.quantity = static_cast<Quantity>(q);
        Channel back;
        REQUIRE(decode_channel(encode_channel(c), back));
        CHECK(back.quantity == c.quantity);
    }
    c.quantity = static_cast<Quantity>(kQuantities);
    Channel back;
    CHECK_FALSE(decode_channel(encode_channel(c), back));
    // The numbers of old journals.
    CHECK(static_cast<int>(Quantity::energy) == 0);
    CHECK(static_cast<int>(Quantity::power) == 1);
}

TEST_CASE("a channel of any provenance survives its text form, one of none does not") {
    Channel c = channel();
    for (unsigned p = 0; p < kProvenances; ++p) {
        c.provenance = static_cast<Provenance>(p);
        Channel back;
        REQUIRE(decode_channel(encode_channel(c), back));
        CHECK(back.provenance == c.provenance);
    }
    c.provenance = static_cast<Provenance>(kProvenances);
    Channel back;
    CHECK_FALSE(decode_channel(encode_channel(c), back));
    // The numbers of old journals.
    CHECK(static_cast<int>(Provenance::measured) == 0);
    CHECK(static_cast<int>(Provenance::estimated) == 3);
}

TEST_CASE("what is written is read back") {
    const Folder folder;
    JournalWriter writer(folder.file());
    REQUIRE(writer.ok());
    std::vector<Record> out{mark(MarkUse::begin, 1000)};
    append_text(out, TextUse::channel, 0, 0, encode_channel(channel()));
    append_text(out, TextUse::kernel_class, 1, 0, encode_kernel_class({.name = "gemm"}));
    append_text(out, TextUse::track, 0, 0, encode_track({"gpu:0", "board", 1, 7}));
    Record ran;
    ran.kind = RecordKind::kernel;
    ran.a = 15, ran.b = 25, ran.c = (3ULL << 32U) | 1U, ran.d = 1;
    out.push_back(ran);
    append_text(out, TextUse::path, 1, 0, "outer");
    append_text(out, TextUse::path, 2, 1, std::string(100, 'x'));
    append_text(out, TextUse::meta, 0, 0, "name=a run");
    REQUIRE(writer.append(out));
    REQUIRE(writer.append(std::vector{tick(1100, 5), tick(1200, 9), mark(MarkUse::end, 1300)}));
    const JournalReading reading = read_journal(folder.file());
    REQUIRE(reading.problem == JournalProblem::none);
    CHECK(reading.bytes_ignored == 0);
    const Trace& t = reading.trace;
    CHECK(t.complete);
    CHECK(t.name == "a run");
    CHECK(t.begin_ns == 1000);
    CHECK(t.end_ns == 1300);
    REQUIRE(t.kernel_classes.size() == 2);
    CHECK(t.kernel_classes[1].name == "gemm");
    REQUIRE(t.tracks.size() == 1);
    CHECK(t.tracks[0].stream == 7);
    REQUIRE(t.kernels.size() == 1);
    CHECK(t.kernels[0].b == 25);
    REQUIRE(t.channels.size() == 1);
    CHECK(t.channels[0].domain == "gpu:0");
    REQUIRE(t.paths.size() == 3);
    CHECK(t.paths[2].name == std::string(100, 'x'));
    CHECK(t.paths[2].parent == 1);
    REQUIRE(t.ticks.size() == 2);
    CHECK(t.ticks[1].c == 9);
}

TEST_CASE("any prefix of a journal is a journal") {
    const Folder folder;
    {
        JournalWriter writer(folder.file());
        REQUIRE(writer.append(std::vector{mark(MarkUse::begin, 1000)}));
        for (int i = 1; i <= 50; ++i) {
            REQUIRE(writer.append(std::vector{tick(1000 + i, static_cast<std::uint64_t>(i))}));
        }
    }
    std::ifstream file(folder.file(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    std::size_t most = 0;
    for (std::size_t n = 0; n <= bytes.size(); ++n) {
        const std::string cut = (folder.path / "cut").string();
        std::ofstream(cut, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(n));
        const JournalReading reading = read_journal(cut);
        if (reading.problem != JournalProblem::none) {
            CHECK(n < 32 + 16 + 32);  // before the first whole frame
            continue;
        }
        CHECK_FALSE(reading.trace.complete);
        const auto& ticks = reading.trace.ticks;
        CHECK(ticks.size() == (n - 32 - 48) / 48);  // whole frames, no more, no fewer
        for (std::size_t i = 0; i < ticks.size(); ++i) CHECK(ticks[i].c == i + 1);
        most = std::max(most, ticks.size());
    }
    CHECK(most == 50);
}

TEST_CASE("damaged bytes never crash the reader") {
    const Folder folder;
    {
        JournalWriter writer(folder.file());
        std::vector<Record> out{mark(MarkUse::begin, 1000)};
        append_text(out, TextUse::path, 1, 0, "a name that takes more than thirty-two bytes");
        append_text(out, TextUse::channel, 0, 0, encode_channel(channel()));
        for (int i = 0; i < 20; ++i) out.push_back(tick(1000 + i, 1));
        REQUIRE(writer.append(out));
        REQUIRE(writer.append(out));
    }
    std::ifstream file(folder.file(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    std::mt19937 random(1);
    for (int round = 0; round < 300; ++round) {
        std::string hurt = bytes;
        for (int i = 0; i < 1 + round % 5; ++i) {
            hurt[random() % hurt.size()] = static_cast<char>(random());
        }
        const std::string name = (folder.path / "hurt").string();
        std::ofstream(name, std::ios::binary)
            .write(hurt.data(), static_cast<std::streamsize>(hurt.size()));
        const JournalReading reading = read_journal(name);
        CHECK(reading.trace.ticks.size() <= 40);
    }
}

TEST_CASE("foreign, newer, absent and empty files are told apart") {
    const Folder folder;
    CHECK(read_journal(folder.file()).problem == JournalProblem::absent);
    std::ofstream(folder.file()) << "this is a text file, longer than any header of a journal";
    CHECK(read_journal(folder.file()).problem == JournalProblem::foreign);
    std::filesystem::remove(folder.file());
    {
        const JournalWriter writer(folder.file());
    }
    CHECK(read_journal(folder.file()).problem == JournalProblem::empty);
    std::fstream file(folder.file(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(8);
    const std::uint32_t version = kJournalVersion + 1;
    file.write(reinterpret_cast<const char*>(&version), sizeof version);
    file.close();
    CHECK(read_journal(folder.file()).problem == JournalProblem::newer);
    CHECK_FALSE(JournalWriter(folder.file()).ok());  // never over an existing one
}

TEST_CASE("a full disk leaves whole frames behind and later ones go on") {
    const Folder folder;
    JournalWriter writer(folder.file());
    REQUIRE(writer.append(std::vector{mark(MarkUse::begin, 1000)}));
    // A file size limit is a disk that is full at a known byte.
    const auto before = std::signal(SIGXFSZ, SIG_IGN);
    rlimit old{};
    ::getrlimit(RLIMIT_FSIZE, &old);
    const rlimit tight{writer.bytes() + 100, old.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &tight);
    CHECK(writer.append(std::vector{tick(1001, 1)}));
    const std::vector<Record> many(100, tick(1002, 2));
    CHECK_FALSE(writer.append(many));
    ::setrlimit(RLIMIT_FSIZE, &old);
    std::signal(SIGXFSZ, before);
    CHECK(writer.append(many));
    const JournalReading reading = read_journal(folder.file());
    CHECK(reading.problem == JournalProblem::none);
    CHECK(reading.trace.ticks.size() == 101);
    CHECK(reading.bytes_ignored == 0);
}
