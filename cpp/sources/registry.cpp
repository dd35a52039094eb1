// The list: one line a meter.
#include <cstdlib>

#include "sources/source.h"

namespace picojoule {

namespace nvml {
Discovery discover(const Environment&);
}

namespace nvml_state {
Discovery discover(const Environment&);
}

namespace rapl {
Discovery discover(const Environment&);
}

namespace hwmon {
Discovery discover(const Environment&);
}

namespace cpu_estimate {
Discovery discover(const Environment&);
}

namespace perf_flops {
Discovery discover(const Environment&);
}

namespace perf_memory {
Discovery discover(const Environment&);
}

namespace replay {
Discovery discover(const Environment&);
}

namespace simulate {
Discovery discover(const Environment&);
}

namespace {
constexpr SourceFactory kSources[] = {
    {"nvml", "energy counters and power of NVIDIA boards", SourceFactory::Default::yes,
     nvml::discover},
    {"nvml_state",
     "clocks, throttling and, from Hopper on, utilisation of NVIDIA boards (no energy)",
     SourceFactory::Default::yes, nvml_state::discover},
    {"rapl", "the energy counters of Intel and AMD CPUs, by powercap or perf events",
     SourceFactory::Default::yes, rapl::discover},
    {"hwmon", "energy and power sensors of the kernel's hwmon tree", SourceFactory::Default::yes,
     hwmon::discover},
    {"cpu_estimate", "CPU time of the process tree, times a published range of watts per core",
     SourceFactory::Default::fallback, cpu_estimate::discover},
    {"perf_flops", "FLOPs of this process on the CPU, by perf events (no energy)",
     SourceFactory::Default::on_request, perf_flops::discover},
    {"perf_memory",
     "bytes between CPUs and memory, by perf events of the whole machine (no energy)",
     SourceFactory::Default::on_request, perf_memory::discover},
    {"replay", "a stored trace, played as if it were live", SourceFactory::Default::on_request,
     replay::discover},
    {"simulate", "a simulated sensor of made-up power, played live: nothing is measured",
     SourceFactory::Default::on_request, simulate::discover},
};
}  // namespace

std::span<const SourceFactory> source_registry() noexcept {
    return kSources;
}

Environment Environment::from_process() {
    Environment environment;
    if (const char* root = std::getenv("PICOJOULE_SYSFS")) environment.sysfs_root = root;
    if (const char* root = std::getenv("PICOJOULE_PROCFS")) environment.procfs_root = root;
    return environment;
}

}  // namespace picojoule
