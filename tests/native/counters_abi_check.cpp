// Compares the declarations of counters/ with the vendor's headers, as cupti_abi_check.cpp does
// with those of the tracers. There is nothing to run.
#define __CUDA_API_VERSION_INTERNAL 1  // NOLINT: generated_cuda_meta.h wants types of old calls too
#include <cuda.h>
#include <cupti_pmsampling.h>
#include <cupti_profiler_host.h>
#include <cupti_profiler_target.h>
#include <cupti_range_profiler.h>
#include <cupti_target.h>
#include <cupti_version.h>
// Needs the ones above.
#include <generated_cuda_meta.h>

#include <cstddef>

#include "counters/counters_api.h"
#include "counters/launch_call.h"

using namespace picojoule::counters;

#define SAME(ours, our_field, theirs, their_field)                              \
    static_assert(offsetof(ours, our_field) == offsetof(theirs, their_field) && \
                      sizeof(ours::our_field) == sizeof(theirs::their_field),   \
                  #theirs "." #their_field)
// Ours is the oldest form of the struct: later ones may only be longer.
#define SIZE(ours, theirs)                                         \
    static_assert(kSizeOf<ours> <= theirs##_STRUCT_SIZE, #theirs); \
    static_assert(CUPTI_API_VERSION >= 130100 || kSizeOf<ours> == theirs##_STRUCT_SIZE, #theirs)

SIZE(HostInitialize, CUpti_Profiler_Host_Initialize_Params);
SAME(HostInitialize, type, CUpti_Profiler_Host_Initialize_Params, profilerType);
SAME(HostInitialize, chip, CUpti_Profiler_Host_Initialize_Params, pChipName);
SAME(HostInitialize, availability, CUpti_Profiler_Host_Initialize_Params,
     pCounterAvailabilityImage);
SAME(HostInitialize, host, CUpti_Profiler_Host_Initialize_Params, pHostObject);
SIZE(HostDeinitialize, CUpti_Profiler_Host_Deinitialize_Params);
SIZE(HostSupportedChips, CUpti_Profiler_Host_GetSupportedChips_Params);
SAME(HostSupportedChips, names, CUpti_Profiler_Host_GetSupportedChips_Params, ppChipNames);
SIZE(HostBaseMetrics, CUpti_Profiler_Host_GetBaseMetrics_Params);
SAME(HostBaseMetrics, names, CUpti_Profiler_Host_GetBaseMetrics_Params, ppMetricNames);
SIZE(HostAddMetrics, CUpti_Profiler_Host_ConfigAddMetrics_Params);
SAME(HostAddMetrics, names, CUpti_Profiler_Host_ConfigAddMetrics_Params, ppMetricNames);
SIZE(HostConfigImageSize, CUpti_Profiler_Host_GetConfigImageSize_Params);
SAME(HostConfigImageSize, bytes, CUpti_Profiler_Host_GetConfigImageSize_Params, configImageSize);
SIZE(HostConfigImage, CUpti_Profiler_Host_GetConfigImage_Params);
SAME(HostConfigImage, image, CUpti_Profiler_Host_GetConfigImage_Params, pConfigImage);
SIZE(HostPasses, CUpti_Profiler_Host_GetNumOfPasses_Params);
SAME(HostPasses, passes, CUpti_Profiler_Host_GetNumOfPasses_Params, numOfPasses);
SIZE(HostEvaluate, CUpti_Profiler_Host_EvaluateToGpuValues_Params);
SAME(HostEvaluate, range, CUpti_Profiler_Host_EvaluateToGpuValues_Params, rangeIndex);
SAME(HostEvaluate, values, CUpti_Profiler_Host_EvaluateToGpuValues_Params, pMetricValues);

SIZE(ProfilerInitialize, CUpti_Profiler_Initialize_Params);
SIZE(DeviceChipName, CUpti_Device_GetChipName_Params);
SAME(DeviceChipName, name, CUpti_Device_GetChipName_Params, pChipName);
SIZE(CounterAvailability, CUpti_Profiler_GetCounterAvailability_Params);
SAME(CounterAvailability, image, CUpti_Profiler_GetCounterAvailability_Params,
     pCounterAvailabilityImage);

SIZE(PmEnable, CUpti_PmSampling_Enable_Params);
SAME(PmEnable, object, CUpti_PmSampling_Enable_Params, pPmSamplingObject);
SIZE(PmOnly, CUpti_PmSampling_Disable_Params);
SIZE(PmOnly, CUpti_PmSampling_Start_Params);
SIZE(PmOnly, CUpti_PmSampling_Stop_Params);
SAME(PmSetConfig, config, CUpti_PmSampling_SetConfig_Params, pConfig);
SAME(PmSetConfig, hardware_buffer_bytes, CUpti_PmSampling_SetConfig_Params, hardwareBufferSize);
SAME(PmSetConfig, interval, CUpti_PmSampling_SetConfig_Params, samplingInterval);
SAME(PmSetConfig, trigger, CUpti_PmSampling_SetConfig_Params, triggerMode);
static_assert(pm_set_config_size(CUPTI_API_VERSION) ==
              CUpti_PmSampling_SetConfig_Params_STRUCT_SIZE);
SIZE(PmDecode, CUpti_PmSampling_DecodeData_Params);
SAME(PmDecode, stop_reason, CUpti_PmSampling_DecodeData_Params, decodeStopReason);
SAME(PmDecode, overflow, CUpti_PmSampling_DecodeData_Params, overflow);
SIZE(PmCounterDataSize, CUpti_PmSampling_GetCounterDataSize_Params);
SAME(PmCounterDataSize, max_samples, CUpti_PmSampling_GetCounterDataSize_Params, maxSamples);
SAME(PmCounterDataSize, bytes, CUpti_PmSampling_GetCounterDataSize_Params, counterDataSize);
SIZE(PmCounterDataInitialize, CUpti_PmSampling_CounterDataImage_Initialize_Params);
SAME(PmCounterDataInitialize, counter_data, CUpti_PmSampling_CounterDataImage_Initialize_Params,
     pCounterData);
SIZE(PmCounterDataInfo, CUpti_PmSampling_GetCounterDataInfo_Params);
SAME(PmCounterDataInfo, completed, CUpti_PmSampling_GetCounterDataInfo_Params, numCompletedSamples);
SIZE(PmSampleInfo, CUpti_PmSampling_CounterData_GetSampleInfo_Params);
SAME(PmSampleInfo, begin, CUpti_PmSampling_CounterData_GetSampleInfo_Params, startTimestamp);
SAME(PmSampleInfo, end, CUpti_PmSampling_CounterData_GetSampleInfo_Params, endTimestamp);

SIZE(RangeEnable, CUpti_RangeProfiler_Enable_Params);
SAME(RangeEnable, object, CUpti_RangeProfiler_Enable_Params, pRangeProfilerObject);
SIZE(RangeOnly, CUpti_RangeProfiler_Disable_Params);
SIZE(RangeOnly, CUpti_RangeProfiler_Start_Params);
SIZE(RangeSetConfig, CUpti_RangeProfiler_SetConfig_Params);
SAME(RangeSetConfig, counter_data, CUpti_RangeProfiler_SetConfig_Params, pCounterDataImage);
SAME(RangeSetConfig, range, CUpti_RangeProfiler_SetConfig_Params, range);
SAME(RangeSetConfig, replay, CUpti_RangeProfiler_SetConfig_Params, replayMode);
SAME(RangeSetConfig, max_ranges, CUpti_RangeProfiler_SetConfig_Params, maxRangesPerPass);
SAME(RangeSetConfig, nesting_levels, CUpti_RangeProfiler_SetConfig_Params, numNestingLevels);
SAME(RangeSetConfig, min_nesting_level, CUpti_RangeProfiler_SetConfig_Params, minNestingLevel);
SAME(RangeSetConfig, target_nesting_level, CUpti_RangeProfiler_SetConfig_Params,
     targetNestingLevel);
SIZE(RangeStop, CUpti_RangeProfiler_Stop_Params);
SAME(RangeStop, all_submitted, CUpti_RangeProfiler_Stop_Params, isAllPassSubmitted);
SIZE(RangeDecode, CUpti_RangeProfiler_DecodeData_Params);
SAME(RangeDecode, dropped, CUpti_RangeProfiler_DecodeData_Params, numOfRangeDropped);
SIZE(RangeCounterDataSize, CUpti_RangeProfiler_GetCounterDataSize_Params);
SAME(RangeCounterDataSize, max_nodes, CUpti_RangeProfiler_GetCounterDataSize_Params,
     maxNumRangeTreeNodes);
SAME(RangeCounterDataSize, bytes, CUpti_RangeProfiler_GetCounterDataSize_Params, counterDataSize);
SIZE(RangeCounterDataInitialize, CUpti_RangeProfiler_CounterDataImage_Initialize_Params);
SIZE(RangeCounterDataInfo, CUpti_RangeProfiler_GetCounterDataInfo_Params);
SAME(RangeCounterDataInfo, ranges, CUpti_RangeProfiler_GetCounterDataInfo_Params, numTotalRanges);

static_assert(int{kRangeProfiler} == CUPTI_PROFILER_TYPE_RANGE_PROFILER);
static_assert(int{kPmSampling} == CUPTI_PROFILER_TYPE_PM_SAMPLING);
static_assert(int{kSysclkInterval} == CUPTI_PM_SAMPLING_TRIGGER_MODE_GPU_SYSCLK_INTERVAL);
static_assert(int{kTimeInterval} == CUPTI_PM_SAMPLING_TRIGGER_MODE_GPU_TIME_INTERVAL);
static_assert(int{kImageFull} == CUPTI_PM_SAMPLING_DECODE_STOP_REASON_COUNTER_DATA_FULL);
static_assert(kAutoRange == CUPTI_AutoRange && kKernelReplay == CUPTI_KernelReplay);
static_assert(int{kInvalidOperation} == CUPTI_ERROR_INVALID_OPERATION);
static_assert(int{kNotInitialized} == CUPTI_ERROR_NOT_INITIALIZED);
static_assert(int{kUnknownError} == CUPTI_ERROR_UNKNOWN);
static_assert(int{kMultipleSubscribers} == CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED);
static_assert(int{kOutOfMemory} == CUPTI_ERROR_OUT_OF_MEMORY);
static_assert(int{kNotSupported} == CUPTI_ERROR_NOT_SUPPORTED);
static_assert(int{kInsufficientPrivileges} == CUPTI_ERROR_INSUFFICIENT_PRIVILEGES);
static_assert(int{kVirtualizedInsufficientPrivileges} ==
              CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES);
#if CUPTI_API_VERSION >= 26
static_assert(int{kKeepLatest} == CUPTI_PM_SAMPLING_HARDWARE_BUFFER_APPEND_MODE_KEEP_LATEST);
#endif

static_assert(offsetof(LaunchKernelParams, grid) == offsetof(cuLaunchKernel_params, gridDimX));
static_assert(offsetof(LaunchKernelParams, block) == offsetof(cuLaunchKernel_params, blockDimX));
SAME(LaunchKernelParams, dynamic_shared, cuLaunchKernel_params, sharedMemBytes);
SAME(LaunchKernelParams, stream, cuLaunchKernel_params, hStream);
SAME(LaunchKernelParams, dynamic_shared, cuLaunchCooperativeKernel_params, sharedMemBytes);
SAME(LaunchKernelParams, stream, cuLaunchCooperativeKernel_params, hStream);
SAME(LaunchKernelExParams, config, cuLaunchKernelEx_params, config);
static_assert(offsetof(LaunchConfig, grid) == offsetof(CUlaunchConfig, gridDimX));
static_assert(offsetof(LaunchConfig, block) == offsetof(CUlaunchConfig, blockDimX));
SAME(LaunchConfig, dynamic_shared, CUlaunchConfig, sharedMemBytes);
SAME(LaunchConfig, stream, CUlaunchConfig, hStream);
