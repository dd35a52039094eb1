// Superchips (GH200): the energy counter of the GPU is that of the module, its CPU included. A
// meter of the CPU then stays out of the total, or those joules would count twice.
#pragma once

#include <string>

#include "sources/source.h"
#include "sources/sysfs.h"

namespace picojoule {

constexpr std::string_view kModuleMeter = "Module Power Socket ";  // as ACPI's power_meter names it

inline bool gpu_counts_cpu(const Environment& environment) {
    if (sysfs::names(environment.procfs_root + "/driver/nvidia/gpus").empty()) return false;
    const std::string root = environment.sysfs_root + "/class/hwmon/";
    for (const std::string& entry : sysfs::names(root)) {
        for (const char* file : {"/device/power1_oem_info", "/power1_oem_info", "/power1_label"}) {
            const auto label = sysfs::line(root + entry + file);
            if (label && label->starts_with(kModuleMeter)) return true;
        }
    }
    return false;
}

}  // namespace picojoule
