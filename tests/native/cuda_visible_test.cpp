#include "sources/cuda_visible.h"

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cstdlib>

using namespace picojoule::cuda_visible;

namespace {

using Places = std::vector<std::size_t>;
using Slices = std::vector<Slice>;

// As NVML lists them; the third sits on the lowest PCI address.
const std::vector<Board> kAlike = {{"GPU-aaaa1111-00", "H100", 20},
                                   {"GPU-aaaa2222-00", "H100", 30},
                                   {"GPU-bbbb3333-00", "H100", 10}};
const std::vector<Board> kMixed = {{"GPU-aaaa1111-00", "H100", 20},
                                   {"GPU-aaaa2222-00", "T4", 30},
                                   {"GPU-bbbb3333-00", "H100", 10}};

std::optional<std::size_t> slice_board(const std::string& uuid) {
    if (uuid == "MIG-1" || uuid == "MIG-2") return 1;
    return {};
}

Selection pick(const std::vector<Board>& boards, std::optional<std::string> visible,
               std::string order = "",
               std::optional<std::vector<std::string>> running = std::nullopt) {
    return select(boards, {std::move(visible), std::move(order), std::move(running)}, slice_board);
}

}  // namespace

TEST_CASE("cuda_visible: unset means all, also of mixed boards") {
    CHECK(pick(kAlike, std::nullopt).boards == Places{0, 1, 2});
    CHECK(pick(kMixed, std::nullopt).boards == Places{0, 1, 2});
    CHECK_FALSE(pick(kMixed, std::nullopt).ambiguous);
    CHECK(pick({}, "0").boards.empty());
}

TEST_CASE("cuda_visible: values that mean none") {
    for (const char* none : {"", " ", "-1", "NoDevFiles", "9", "void", "-1,0", ",0"}) {
        CAPTURE(none);
        const auto chosen = pick(kAlike, none);
        CHECK(chosen.boards.empty());
        CHECK_FALSE(chosen.ambiguous);
    }
}

TEST_CASE("cuda_visible: numbers count in PCI order, where boards are alike or the order is told") {
    CHECK(pick(kAlike, "0").boards == Places{2});
    CHECK(pick(kAlike, "2,0").boards == Places{1, 2});
    CHECK(pick(kAlike, " 1 , 2 ").boards == Places{0, 1});
    CHECK(pick(kMixed, "0", "PCI_BUS_ID").boards == Places{2});
    CHECK(pick(kMixed, "1", "PCI_BUS_ID").boards == Places{0});
}

TEST_CASE("cuda_visible: the list ends at its first invalid entry") {
    const auto chosen = pick(kAlike, "1,-1,2");
    CHECK(chosen.boards == Places{0});
    CHECK(chosen.stopped_at == "-1");
    CHECK(pick(kAlike, "1,7,2").boards == Places{0});
    CHECK(pick(kAlike, "1,1x,2").boards == Places{0});
    CHECK(pick(kAlike, "0,GPU-none,1").boards == Places{2});
    CHECK(pick(kAlike, "0,1").stopped_at.empty());
}

TEST_CASE("cuda_visible: what is named twice hides everything") {
    CHECK(pick(kAlike, "0,0").boards.empty());
    CHECK(pick(kAlike, "1,GPU-aaaa1111-00").boards.empty());
    CHECK(pick(kAlike, "MIG-1,MIG-1").boards.empty());
    CHECK(pick(kAlike, "0,9,0").boards == Places{2});  // the second 0 is behind the end
}

TEST_CASE("cuda_visible: UUIDs, whole or by a prefix that is unique") {
    CHECK(pick(kMixed, "GPU-aaaa2222-00").boards == Places{1});
    CHECK(pick(kMixed, "GPU-b").boards == Places{2});
    CHECK(pick(kMixed, "GPU-aaaa2,GPU-b").boards == Places{1, 2});
    CHECK(pick(kMixed, "GPU-aaaa").boards.empty());
    CHECK(pick(kMixed, "GPU-cccc").boards.empty());
    const std::vector<Board> nested = {{"GPU-a", "H100", 1}, {"GPU-ab", "H100", 2}};
    CHECK(pick(nested, "GPU-a").boards == Places{0});
}

TEST_CASE("cuda_visible: a MIG slice stands for its board") {
    const auto chosen = pick(kMixed, "MIG-1");
    CHECK(chosen.boards == Places{1});
    CHECK(chosen.slices == Slices{{1, "MIG-1"}});
    CHECK(pick(kMixed, "MIG-2,MIG-1").boards == Places{1});
    CHECK(pick(kMixed, "MIG-2,MIG-1").slices == Slices{{1, "MIG-2"}});
    CHECK(pick(kMixed, "MIG-3").boards.empty());
    CHECK(pick(kMixed, "MIG-GPU-bbbb3333-00/1/0").boards == Places{2});
    CHECK(pick(kMixed, "MIG-GPU-bbbb3333-00/1/0").slices == Slices{{2, "MIG-GPU-bbbb3333-00/1/0"}});
    CHECK(pick(kMixed, "MIG-GPU-bbbb3333-00").boards.empty());
    CHECK(pick(kMixed, "MIG-GPU-cccc/1/0").boards.empty());
    CHECK(pick(kMixed, "GPU-bbbb3333-00").slices.empty());
    // No way to ask: the entry is invalid.
    CHECK(select(kMixed, {"MIG-1", "", std::nullopt}, nullptr).boards.empty());
}

TEST_CASE("cuda_visible: numbers of unlike boards are ambiguous until CUDA runs") {
    const auto chosen = pick(kMixed, "1");
    CHECK(chosen.ambiguous);
    CHECK(chosen.boards == Places{0, 1, 2});
    CHECK(pick(kMixed, "GPU-b,0").ambiguous);
    CHECK_FALSE(pick(kMixed, "-1,0").ambiguous);
    // All of them, in whatever order; one of them twice.
    CHECK_FALSE(pick(kMixed, "2,0,1").ambiguous);
    CHECK(pick(kMixed, "2,0,1").boards == Places{0, 1, 2});
    CHECK(pick(kMixed, "1,1").boards.empty());
    CHECK_FALSE(pick(kMixed, "1,1").ambiguous);
    CHECK(pick(kMixed, "GPU-aaaa1111,0").ambiguous);
    CHECK(pick(kMixed, "0,1,7").ambiguous);

    const auto told = pick(kMixed, "1", "", {{"GPU-aaaa2222-00"}});
    CHECK_FALSE(told.ambiguous);
    CHECK(told.boards == Places{1});
    CHECK(pick(kAlike, "0", "", {{"GPU-bbbb3333-00"}}).boards == Places{2});
    // A running CUDA that sees nothing, and one whose boards are strangers.
    CHECK(pick(kMixed, "1", "", std::vector<std::string>{}).boards.empty());
    CHECK(pick(kMixed, "1", "", {{"GPU-dddd"}}).ambiguous);
}

TEST_CASE("cuda_visible: the process is read from its environment") {
    ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
    ::setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 1);
    CHECK(Process::here().visible_devices == "");
    CHECK(Process::here().device_order == "PCI_BUS_ID");
    ::unsetenv("CUDA_VISIBLE_DEVICES");
    ::unsetenv("CUDA_DEVICE_ORDER");
    CHECK_FALSE(Process::here().visible_devices.has_value());
}

TEST_CASE("cuda_visible: a CUDA that runs here is asked, and never started") {
    void* const cuda = ::dlopen(FAKE_CUDA_DEVICES_PATH, RTLD_NOW);
    REQUIRE(cuda != nullptr);
    const auto configure =
        reinterpret_cast<void (*)(const char*)>(::dlsym(cuda, "fake_cuda_configure"));
    REQUIRE((configure != nullptr));
    CHECK_FALSE(Process::here().running_uuids.has_value());
    configure("0123456789abcdef0123456789abcdef,ffeeddccbbaa99887766554433221100");
    const auto running = Process::here().running_uuids;
    configure(nullptr);
    REQUIRE(running.has_value());
    REQUIRE(running->size() == 2);
    CHECK((*running)[0] == "GPU-01234567-89ab-cdef-0123-456789abcdef");
    CHECK((*running)[1] == "GPU-ffeeddcc-bbaa-9988-7766-554433221100");
}
