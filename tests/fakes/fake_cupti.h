// Control of the scripted CUPTI (fake_cupti.c), for tests in C++ and, by ctypes, in Python.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    uint32_t kind;         // of the record: 10 kernel, 1 memcpy, 2 memset; 0: none comes of it
    uint32_t call;         // id of the API call that launches it; 0: a record without a call
    uint32_t domain;       // 1 driver, 2 runtime
    uint32_t correlation;  // 0: the next one
    const char* name;
    uint32_t device, context, stream;
    uint32_t grid[3], block[3];
    uint32_t static_shared, dynamic_shared;
    uint32_t copy_kind;  // of a copy; of kind 17, which overhead
    uint64_t bytes;
    uint64_t start, end;  // in CUPTI's time; end 0 with a start: still running
    uint64_t graph_node;
} FakeLaunch;

// "key=value;..." ; keys not named have their defaults. Forgets subscribers and buffers.
//   version=130001    cuptiGetVersion
//   version_error=0   what cuptiGetVersion returns
//   kernel=216 memcpy=96 memset=88   bytes of a record, as they differ between versions
//   refuse=0          what subscribing returns; holder=: who is said to hold the slot
//   several=0         1: several subscribers are allowed (from 13.3 on)
//   per_thread=0      1: each launching thread has a buffer of its own
//   late_ms=0         buffers come so long after the flush returned
//   enable_error=0    what enabling records of kind enable_error_kind=10 returns
//   check_zero=1      handed out memory must be zero
void fake_cupti_configure(const char* script);

// Calls the subscriber on this thread, then writes the record. Returns the correlation id.
uint32_t fake_cupti_launch(const FakeLaunch* launch);
// A running kernel's end.
void fake_cupti_finish(uint32_t correlation, uint64_t end);
// A node of a graph is made (original 0) or cloned, on this thread.
void fake_cupti_graph_node(uint64_t node, uint64_t original);
// The destruction of a context begins, on this thread.
void fake_cupti_context_ends(uint32_t context);
// The library delivers what is complete, from its own thread, as it does now and then.
void fake_cupti_deliver(void);
// Records lost for want of device memory.
void fake_cupti_drop(uint64_t records);
uint64_t fake_cupti_now(void);
void fake_cupti_set_clock(int64_t offset_ns);  // from CLOCK_REALTIME
// A client of CUPTI did what it must not do; one line each, empty: none.
const char* fake_cupti_violations(void);
void fake_cupti_violation(const char* words);
// 1 if calls of that id reach the subscriber.
int fake_cupti_watches(uint32_t domain, uint32_t call);
int fake_cupti_kinds(void);  // enabled kinds, one bit each
int fake_cupti_subscribers(void);
int fake_cupti_subscribe_calls(void);
int fake_cupti_second_family(void);  // 1: the subscriber uses the calls that take one
int fake_cupti_buffers_out(void);

#ifdef __cplusplus
}
#endif
