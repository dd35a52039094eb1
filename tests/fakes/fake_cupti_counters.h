// Control of the counters of the scripted CUPTI (fake_cupti_counters.c).
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// "key=value;..." ; keys not named have their defaults. Forgets sessions and kernels.
//   chip=GH100         what cuptiDeviceGetChipName says
//   init=0             what cuptiProfilerInitialize returns
//   host=0             what cuptiProfilerHostInitialize returns
//   unknown=           a metric that contains this is not known
//   pm_passes=1 range_passes=2   of any config image
//   pm_enable=0 range_enable=0 range_start=0 range_stop=0   what these calls return
//   sample_bytes=10240 what a sample takes of the hardware buffer
//   foreign=0          1: another process reads the counters of this device
//   kernel_ms=0        how long a launch of a kernel takes
//   extra=0            so many kernels of somebody else run beside each one
void fake_counters_configure(const char* script);

// A kernel of that name has this count of the metric; of others it has 0.
void fake_counters_kernel(const char* name, const char* metric, double count);
// The library knows this metric (without roll-up); with none told, it tells none.
void fake_counters_base(const char* metric);
// A metric of PM sampling: so much in each nanosecond.
void fake_counters_rate(const char* metric, double per_ns);
// Device time goes on by so many samples, where sampling runs.
void fake_counters_advance(uint64_t samples);

uint64_t fake_counters_replays(void);  // runs of kernels for the sake of counting, all passes
int fake_counters_sessions(void);      // enabled and not yet disabled
int fake_counters_sampling(void);      // started and not stopped
uint64_t fake_counters_interval(void);
int fake_counters_trigger(void);
int fake_counters_append(void);             // -1: the call had no room to say
uint64_t fake_counters_first_sample(void);  // when the first sample after the start began

// For fake_cupti.c: a kernel runs.
void fake_counters_on_kernel(void* context, const char* name);

#ifdef __cplusplus
}
#endif
