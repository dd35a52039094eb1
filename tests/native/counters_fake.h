// The counters of the scripted CUPTI (tests/fakes), as the tests of cpp/counters use them.
#pragma once

#include <dlfcn.h>

#include <string>

#include "../fakes/fake_cupti.h"
#include "../fakes/fake_cupti_counters.h"
#include "counters/library.h"

namespace picojoule::testing {

// Loaded by path: it is then the one that this process has.
struct CounterFake {
    void* handle = ::dlopen(FAKE_CUPTI_PATH, RTLD_NOW | RTLD_GLOBAL);
#define FAKE(prefix, name) \
    decltype(&prefix##name) name = reinterpret_cast<decltype(name)>(::dlsym(handle, #prefix #name))
    FAKE(fake_cupti_, launch);
    FAKE(fake_cupti_, violations);
    FAKE(fake_cupti_, subscribers);
    FAKE(fake_cupti_, context_ends);
    FAKE(fake_cupti_, set_clock);
    FAKE(fake_counters_, kernel);
    FAKE(fake_counters_, rate);
    FAKE(fake_counters_, base);
    FAKE(fake_counters_, advance);
    FAKE(fake_counters_, replays);
    FAKE(fake_counters_, sessions);
    FAKE(fake_counters_, sampling);
    FAKE(fake_counters_, interval);
    FAKE(fake_counters_, trigger);
    FAKE(fake_counters_, append);
    FAKE(fake_counters_, first_sample);
    decltype(&fake_cupti_configure) configure_cupti =
        reinterpret_cast<decltype(configure_cupti)>(::dlsym(handle, "fake_cupti_configure"));
    decltype(&fake_counters_configure) configure_counters =
        reinterpret_cast<decltype(configure_counters)>(::dlsym(handle, "fake_counters_configure"));
#undef FAKE

    explicit CounterFake(const char* counters = "", const char* cupti = "") {
        configure_cupti(cupti);
        configure_counters(counters);
    }
    [[nodiscard]] static counters::Library library() {
        return counters::open_counters(cupti::Places{FAKE_CUPTI_PATH, {}, ""});
    }
    // One that has no driver below it.
    [[nodiscard]] static counters::Library without_driver() {
        counters::Library here = library();
        here.api.profiler_initialize = [](counters::ProfilerInitialize*) { return 999; };
        return here;
    }
};

}  // namespace picojoule::testing
