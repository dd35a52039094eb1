#include "tracers/registry.h"

#include <dlfcn.h>

#include "tracers/cupti_subscription.h"
#include "tracers/cupti_tracer.h"

namespace picojoule {

bool device_in_use() noexcept {
    void* const cuda = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    if (cuda == nullptr) return false;
    ::dlclose(cuda);  // gives back what RTLD_NOLOAD took; the library stays
    return true;
}

std::unique_ptr<Tracer> make_tracer(const std::vector<std::string>& folders) {
    return cupti::make_tracer(cupti::Places::from_process(folders));
}

TracerStatus tracer_outlook(const std::vector<std::string>& folders) {
    return cupti::outlook(cupti::Places::from_process(folders), driver_branch());
}

unsigned driver_branch() {
    return cupti::nvidia_driver_branch();
}

}  // namespace picojoule
