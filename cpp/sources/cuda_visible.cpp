// CUDA_VISIBLE_DEVICES numbers boards as CUDA does, which is not as NVML does: by speed, unless
// CUDA_DEVICE_ORDER says PCI_BUS_ID.
#include "sources/cuda_visible.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <numeric>

namespace picojoule::cuda_visible {
namespace {

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<std::string> entries_of(std::string_view list) {
    std::vector<std::string> entries;
    for (;;) {
        const auto comma = list.find(',');
        entries.emplace_back(trimmed(list.substr(0, comma)));
        if (comma == std::string_view::npos) return entries;
        list.remove_prefix(comma + 1);
    }
}

std::optional<std::size_t> number(std::string_view entry) {
    std::size_t value = 0;
    const auto [end, error] = std::from_chars(entry.data(), entry.data() + entry.size(), value);
    if (error != std::errc() || end != entry.data() + entry.size()) return {};
    return value;
}

// The one board whose UUID begins so; none where two do.
std::optional<std::size_t> by_uuid(std::span<const Board> boards, std::string_view prefix) {
    std::optional<std::size_t> found;
    for (std::size_t i = 0; i < boards.size(); ++i) {
        if (!boards[i].uuid.starts_with(prefix)) continue;
        if (boards[i].uuid == prefix) return i;
        if (found) return {};
        found = i;
    }
    return found;
}

// By CUDA ordinal; none where only CUDA knows.
std::optional<std::vector<std::size_t>> cuda_order(std::span<const Board> boards,
                                                   const Process& process) {
    const bool alike =
        std::ranges::all_of(boards, [&](const Board& b) { return b.name == boards.front().name; });
    if (!alike && process.device_order != "PCI_BUS_ID") return {};
    std::vector<std::size_t> order(boards.size());
    std::iota(order.begin(), order.end(), std::size_t{});
    std::ranges::stable_sort(order, {}, [&](std::size_t i) { return boards[i].pci; });
    return order;
}

struct Entry {
    std::size_t board{};
    std::string slice;  // of MIG; empty: the whole board
    bool numbered{};
};

std::optional<Entry> resolve(const std::string& text, std::span<const Board> boards,
                             const std::vector<std::size_t>& order,
                             const BoardOfSlice& board_of_slice) {
    if (text.starts_with("MIG-GPU-")) {  // MIG-GPU-uuid/gi/ci, before driver 470
        const auto slash = text.find('/');
        if (slash == std::string::npos) return {};
        const auto board = by_uuid(boards, std::string_view(text).substr(4, slash - 4));
        return board ? std::optional(Entry{*board, text}) : std::nullopt;
    }
    if (text.starts_with("MIG-")) {
        const auto board = board_of_slice ? board_of_slice(text) : std::nullopt;
        return board && *board < boards.size() ? std::optional(Entry{*board, text}) : std::nullopt;
    }
    if (text.starts_with("GPU-")) {
        const auto board = by_uuid(boards, text);
        return board ? std::optional(Entry{*board, {}}) : std::nullopt;
    }
    const auto ordinal = number(text);
    return ordinal && *ordinal < order.size() ? std::optional(Entry{order[*ordinal], {}, true})
                                              : std::nullopt;
}

void add_once(std::vector<std::size_t>& list, std::size_t i) {
    if (std::ranges::find(list, i) == list.end()) list.push_back(i);
}

std::vector<std::size_t> every(std::span<const Board> boards) {
    std::vector<std::size_t> all(boards.size());
    std::iota(all.begin(), all.end(), std::size_t{});
    return all;
}

std::string uuid_text(const std::array<unsigned char, 16>& bytes) {
    constexpr char hex[] = "0123456789abcdef";
    std::string text = "GPU-";
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += hex[bytes[i] >> 4];
        text += hex[bytes[i] & 15];
    }
    return text;
}

std::optional<std::vector<std::string>> running_cuda() {
    void* const cuda = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    if (cuda == nullptr) return {};
    const auto count_of = reinterpret_cast<int (*)(int*)>(::dlsym(cuda, "cuDeviceGetCount"));
    const auto get = reinterpret_cast<int (*)(int*, int)>(::dlsym(cuda, "cuDeviceGet"));
    // The unversioned symbol names the board, also where the process sees a slice of it.
    const auto uuid_of =
        reinterpret_cast<int (*)(unsigned char*, int)>(::dlsym(cuda, "cuDeviceGetUuid"));
    int count = 0;
    if (count_of == nullptr || get == nullptr || uuid_of == nullptr || count_of(&count) != 0) {
        return {};  // not initialised here, or in a child that may not use its parent's
    }
    std::vector<std::string> uuids;
    for (int ordinal = 0; ordinal < count; ++ordinal) {
        int device = 0;
        std::array<unsigned char, 16> bytes{};
        if (get(&device, ordinal) != 0 || uuid_of(bytes.data(), device) != 0) return {};
        uuids.push_back(uuid_text(bytes));
    }
    return uuids;
}

}  // namespace

Process Process::here() {
    Process process;
    if (const char* list = std::getenv("CUDA_VISIBLE_DEVICES")) process.visible_devices = list;
    if (const char* order = std::getenv("CUDA_DEVICE_ORDER")) process.device_order = order;
    process.running_uuids = running_cuda();
    return process;
}

Selection select(std::span<const Board> boards, const Process& process,
                 const BoardOfSlice& board_of_slice) {
    Selection chosen;
    if (boards.empty()) return chosen;

    const bool masked = process.visible_devices.has_value();
    const auto texts = entries_of(masked ? *process.visible_devices : "");
    const bool numbered = masked && std::ranges::any_of(texts, [](const std::string& t) {
                              return number(t).has_value();
                          });

    if (process.running_uuids && numbered) {
        for (const std::string& uuid : *process.running_uuids) {
            if (const auto board = by_uuid(boards, uuid)) add_once(chosen.boards, *board);
        }
        // A CUDA whose boards NVML does not know helps nothing: read the list instead.
        if (!chosen.boards.empty() || process.running_uuids->empty()) {
            std::ranges::sort(chosen.boards);
            return chosen;
        }
    }
    if (!masked) {
        chosen.boards = every(boards);
        return chosen;
    }

    // Where only CUDA knows the order, any will do to see which numbers are valid or come twice,
    // and numbers that name every board name the same boards in every order.
    const auto known = cuda_order(boards, process);
    const auto order = known.value_or(every(boards));
    std::vector<Entry> entries;
    for (const std::string& text : texts) {
        const auto entry = resolve(text, boards, order, board_of_slice);
        if (!entry) {
            chosen.stopped_at = text;
            break;
        }
        const bool twice = std::ranges::any_of(entries, [&](const Entry& e) {
            return e.board == entry->board && e.slice == entry->slice &&
                   (known || e.numbered == entry->numbered);
        });
        if (twice) return {};  // CUDA then sees none
        entries.push_back(*entry);
    }
    const auto numbers = std::ranges::count_if(entries, &Entry::numbered);
    if (!known && numbers > 0 && static_cast<std::size_t>(numbers) < boards.size()) {
        chosen.ambiguous = true;
        chosen.boards = every(boards);
        return chosen;
    }
    for (const Entry& e : entries) add_once(chosen.boards, e.board);
    std::ranges::sort(chosen.boards);
    for (const std::size_t board : chosen.boards) {
        const auto of_board = [board](const Entry& e) { return e.board == board; };
        const auto first = std::ranges::find_if(entries, of_board);
        if (std::ranges::none_of(entries,
                                 [&](const Entry& e) { return of_board(e) && e.slice.empty(); })) {
            chosen.slices.push_back({board, first->slice});
        }
    }
    return chosen;
}

}  // namespace picojoule::cuda_visible
