// The layer is headers only; this file makes each of them compile on its own.
#include "base/clock.h"
#include "base/counter.h"
#include "base/shared_library.h"
#include "base/unique_fd.h"
