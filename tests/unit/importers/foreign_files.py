"""Files of other tools with GPUs in them, made by hand: the answers are known exactly."""

import json
import sqlite3
import struct

# ---- kineto ----

KINETO_BASE = 1_790_857_026_000_000_000
MAIN, AUTOGRAD = 500, 507


def _x(cat, name, ts, dur, pid=MAIN, tid=MAIN, **args):
    event = {"ph": "X", "cat": cat, "name": name, "pid": pid, "tid": tid, "ts": ts, "dur": dur}
    return event | {"args": args}


def _gpu(name, ts, dur, correlation, cat="kernel", stream=7, **args):
    args = {"device": 0, "context": 1, "stream": stream, "correlation": correlation} | args
    return _x(cat, name, ts, dur, 0, stream, **args)


def kineto():
    """Three steps on a GPU; the engine's thread 507 has no annotations of its own."""
    events = []
    for step in range(3):
        t = 1000 * step
        n = 10 * step
        events += [
            _x("user_annotation", f"step_{step}", t, 900.5),
            _x("user_annotation", "forward", t + 10, 300),
            _x("user_annotation", "backward", t + 400, 300),
            _x("cpu_op", "aten::mm", t + 20, 100, **{"External id": n + 1}),
            _x("cuda_runtime", "cudaLaunchKernel", t + 30.25, 5, correlation=n + 1),
            _gpu(
                "gemm",
                t + 950.125,
                40,
                n + 1,
                grid=[4, 2, 1],
                block=[128, 1, 1],
                **{"shared memory": 1024},
            ),
            _x("cpu_op", "autograd::engine::evaluate_function: MmBackward0", t + 410, 200,
               tid=AUTOGRAD),
            _x("cuda_driver", "cuLaunchKernel", t + 450, 5, tid=AUTOGRAD, correlation=n + 2),
            _gpu("gemm_backward", t + 460, 40, n + 2),
            {"ph": "s", "cat": "fwdbwd", "name": "fwdbwd", "id": n, "pid": MAIN, "tid": MAIN,
             "ts": t + 20},
            {"ph": "f", "cat": "fwdbwd", "name": "fwdbwd", "id": n, "pid": MAIN, "tid": AUTOGRAD,
             "ts": t + 410, "bp": "e"},
        ]  # fmt: skip
    events += [
        _x("cuda_runtime", "cudaGraphLaunch", 2800, 5, correlation=90),
        _gpu("node_a", 2810, 5, 90, **{"graph node id": (3 << 32) | 1}),
        _gpu("node_b", 2816, 5, 90, **{"graph node id": (3 << 32) | 2}),
        _gpu("Memcpy HtoD (Pinned -> Device)", 2830, 10, 91, "gpu_memcpy", 9, bytes=4096),
        _gpu("late", 2850, -3, 92),
    ]
    return {
        "schemaVersion": 1,
        "deviceProperties": [{"id": 0, "name": "NVIDIA H100 80GB HBM3"}],
        "baseTimeNanoseconds": KINETO_BASE,
        "traceEvents": events,
    }


# ---- Nsight Systems ----

NSYS_START = 1_790_000_000_000_000_000
_PID = 4242


def global_tid(tid, pid=_PID):
    return (1 << 56) | (pid << 24) | tid


_NSYS = """
CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE ThreadNames (nameId INT, priority INT, globalTid INT);
CREATE TABLE TARGET_INFO_SESSION_START_TIME (utcEpochNs INT, utcTime TEXT, localTime TEXT);
CREATE TABLE TARGET_INFO_GPU (id INT, name TEXT, busLocation TEXT);
CREATE TABLE NVTX_EVENTS (start INT NOT NULL, end INT, eventType INT, text TEXT, textId INT,
    globalTid INT, endGlobalTid INT, domainId INT);
CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INT, end INT, eventClass INT, globalTid INT,
    correlationId INT, nameId INT, returnValue INT);
CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT, deviceId INT, contextId INT,
    streamId INT, correlationId INT, globalPid INT, demangledName INT, shortName INT, gridX INT,
    gridY INT, gridZ INT, blockX INT, blockY INT, blockZ INT, staticSharedMemory INT,
    dynamicSharedMemory INT, graphNodeId INT);
CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INT, end INT, deviceId INT, contextId INT,
    streamId INT, correlationId INT, globalPid INT, bytes INT, copyKind INT, graphNodeId INT);
CREATE TABLE CUPTI_ACTIVITY_KIND_MEMSET (start INT, end INT, deviceId INT, contextId INT,
    streamId INT, correlationId INT, globalPid INT, bytes INT, value INT);
"""


def nsys(path, without=()):
    """Two steps: a forward kernel, a backward kernel of pt_autograd_0, a copy, a memset."""
    database = sqlite3.connect(path)
    database.executescript(_NSYS)

    def add(table, *row):
        marks = ", ".join("?" * len(row))
        database.execute(f"INSERT INTO {table} VALUES ({marks})", row)

    names = {1: "gemm<float>", 2: "gemm", 3: "pt_autograd_0", 4: "forward", 5: "cudaLaunchKernel"}
    for row in names.items():
        add("StringIds", *row)
    main, autograd, pid = global_tid(_PID), global_tid(77), global_tid(0)
    add("ThreadNames", 3, 0, autograd)
    add("TARGET_INFO_SESSION_START_TIME", NSYS_START, "", "")
    add("TARGET_INFO_GPU", 0, "NVIDIA A100", "")
    add("NVTX_EVENTS", 0, None, 75, "default", None, main, None, 0)
    add("NVTX_EVENTS", 5, None, 59, "open", None, main, None, 0)
    for step in range(2):
        t = 1000 * step
        n = 10 * step
        add("NVTX_EVENTS", t + 100, t + 900, 59, f"step_{step}", None, main, None, 0)
        add("NVTX_EVENTS", t + 200, t + 400, 59, None, 4, main, None, 0)
        add("NVTX_EVENTS", t + 210, t + 300, 59, "aten::mm, op_id = 3", None, main, None, 0)
        add("NVTX_EVENTS", t + 500, t + 800, 60, "backward", None, main, main, 0)
        runtime = "CUPTI_ACTIVITY_KIND_RUNTIME"
        add(runtime, t + 220, t + 230, 0, main, n + 1, 5, 0)
        add(runtime, t + 600, t + 610, 0, autograd, n + 2, 5, 0)
        add(runtime, t + 850, t + 860, 0, main, n + 3, 5, 0)
        kernel = "CUPTI_ACTIVITY_KIND_KERNEL"
        size = (2, 3, 1, 64, 1, 1, 512, 256)
        add(kernel, t + 240, t + 700, 0, 1, 7, n + 1, pid, 1, 2, *size, None)
        add(kernel, t + 701, t + 790, 0, 1, 7, n + 2, pid, 1, 2, *size, None)
        add("CUPTI_ACTIVITY_KIND_MEMCPY", t + 870, t + 880, 0, 1, 8, n + 3, pid, 4096, 1, None)
        add("CUPTI_ACTIVITY_KIND_MEMSET", t + 890, t + 895, 0, 1, 8, 999, pid, 64, 0)
    # The same correlation id in another process is another launch.
    add("CUPTI_ACTIVITY_KIND_RUNTIME", 600, 610, 0, global_tid(9, 9), 1, 5, 0)
    for table in without:
        database.execute(f"DROP TABLE {table}")
    database.commit()
    database.close()


# ---- XPlane ----


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def message(*fields):
    """Fields are (number, int | float | str | bytes)."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        elif isinstance(value, float):
            out += varint(number << 3 | 1) + struct.pack("<d", value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


class Plane:
    """An XPlane under construction; names of events and stats are interned."""

    def __init__(self, name):
        self.name, self.lines, self.names, self.stat_names = name, [], {}, {}
        self.own = []

    def stat(self, name, value):
        key = self.stat_names.setdefault(name, len(self.stat_names) + 1)
        number = {int: 4, float: 2, str: 5}[type(value)]
        return message((1, key), (number, value))

    def about(self, name, value):
        self.own.append((6, self.stat(name, value)))

    def line(self, number, name, timestamp, *events):
        """Events are (name, offset in ps, duration in ps, stats)."""
        rows = []
        for event, offset, duration, stats in events:
            key = self.names.setdefault(event, len(self.names) + 1)
            own = [(4, self.stat(k, v)) for k, v in stats.items()]
            rows.append((4, message((1, key), (2, offset), (3, duration), *own)))
        self.lines.append((3, message((1, number), (2, name), (3, timestamp), *rows)))

    def __bytes__(self):
        def entries(field, names):
            return [
                (field, message((1, k), (2, message((1, k), (2, n))))) for n, k in names.items()
            ]

        return message(
            (1, 1), (2, self.name), *self.lines, *entries(4, self.names),
            *entries(5, self.stat_names), *self.own,
        )  # fmt: skip


XPLANE_START = 1_795_421_153_000_000_000


def xplane():
    """One annotated step: a fused kernel in a named scope, a copy, and a derived line."""
    gpu = Plane("/device:GPU:0 ")
    gpu.about("device_type_string", "NVIDIA H100")
    details = "regs:32 static_shared:64 dynamic_shared:128 grid:8,1,1 block:256,1,1 occ_pct:100"
    fusion = {
        "kernel_details": details, "hlo_module": "jit_step", "hlo_op": "fusion.3",
        "correlation_id": 5, "tf_op": "jit(step)/jit(main)/layer/dot_general",
    }  # fmt: skip
    copy = {"memcpy_details": "kind_src:host kind_dst:device size:2048 dest:0 async:1"}
    gpu.line(
        14, "Stream #14(Compute,MemcpyH2D)", 2000,
        ("fusion_3", 1_500_500, 700_000, fusion),
        ("MemcpyH2D", 100_000, 50_000, copy | {"correlation_id": 6}),
    )  # fmt: skip
    gpu.line(15, "XLA Ops", 2000, ("fusion.3", 1_500_500, 700_000, {}))
    host = Plane("/host:CPU")
    host.line(
        -77, "python", 1000,
        ("train", 0, 5_000_000, {"step_num": 1}),
        ("PjitFunction(step)", 100_000, 900_000, {}),
        ("cuLaunchKernel", 500_000, 10_000, {"correlation_id": 5}),
        ("cuMemcpy", 6_000_000, 10_000, {"correlation_id": 6}),
    )  # fmt: skip
    task = Plane("Task Environment")
    task.about("profile_start_time", XPLANE_START)
    return b"".join(message((1, bytes(p))) for p in (gpu, host, task))


# ---- hatchet ----


def _node(name, metrics, *children):
    return {
        "frame": {"name": name, "type": "function"},
        "metrics": metrics,
        "children": list(children),
    }


def hatchet():
    device = {"device_id": "0", "device_type": "CUDA"}
    gemm = {"count": 4, "time (ns)": 1000, "flops16": 2e9, "bytes": 4096, **device}
    plain = {"count": 2, "time (ns)": 300, **device}
    step = _node("step", {}, _node("gemm", gemm), _node("relu", plain))
    user = _node("loaded", {"bytes": 77})
    root = _node("ROOT", {"count": 0, "time (ns)": 0, "flops16": 0}, step, user)
    return [root, {"CUDA": {"0": {"arch": "90", "num_sms": 132}}}]


def write_all(folder):
    """One file of each kind, by name."""
    files = {
        "kineto.json": json.dumps(kineto()).encode(),
        "profile.xplane.pb": xplane(),
        "proton.hatchet": json.dumps(hatchet()).encode(),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    nsys(folder / "report.sqlite")
    return [folder / name for name in (*files, "report.sqlite")]
