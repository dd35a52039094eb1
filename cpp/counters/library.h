// libcupti for counters: the one library of the process (tracers/cupti_library.h), its counter
// functions, and its refusals in words.
#pragma once

#include <string>

#include "counters/counters_api.h"
#include "tracers/cupti_library.h"

namespace picojoule::counters {

// Why something cannot be, and the command or setting that mends it. Empty words: all is well.
struct Refusal {
    std::string words;
    std::string remedy;

    [[nodiscard]] explicit operator bool() const noexcept { return !words.empty(); }
};

struct Library {
    cupti::Library cupti;
    Api api{};
    Refusal refusal;

    [[nodiscard]] explicit operator bool() const noexcept { return !refusal; }
};

// Opens it, or tells why counters cannot be read with what is here. Needs no driver.
Library open_counters(const cupti::Places& places);

// What a result of CUPTI means for somebody who wants counters; `what` begins the sentence
// ("PM sampling").
Refusal refusal_of(const Api& api, const char* what, int result);

// What the kernel says about counters before anybody tries: a setting of the driver that keeps
// them for administrators, whom this process is not. Empty: nothing is known against it.
Refusal permission(const std::string& procfs_root = "/proc");

// Starts the device half of the profiler, once a process: stopping it twice is a crash, so it is
// never stopped.
int initialize_profiler(const Api& api);

}  // namespace picojoule::counters
