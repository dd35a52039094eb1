"""Records jax_cpu.xplane.pb.gz: a small jitted loop under jax.profiler.trace on the CPU.

python tests/data/imported/make_xplane.py        (needs jax; made with 0.10 on the CPU)
"""

import gzip
import os
import socket
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp

HERE = Path(__file__).parent


def scrub(data: bytes) -> bytes:
    """Overwrite what tells of this machine, byte for byte, so that all lengths stay right."""
    for secret in (str(HERE), str(Path.home()), sys.prefix, socket.gethostname()):
        if len(secret) > 1:
            data = data.replace(secret.encode(), b"x" * len(secret))
    return data


@jax.jit
def step(w: jax.Array, x: jax.Array) -> jax.Array:
    with jax.named_scope("layer"):
        return jnp.tanh(x @ w).sum()


def main() -> None:
    w, x = jnp.ones((16, 16)), jnp.ones((8, 16))
    step(w, x).block_until_ready()
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            for n in range(3):
                with (
                    jax.profiler.StepTraceAnnotation("train", step_num=n),
                    jax.profiler.TraceAnnotation("forward"),
                ):
                    step(w, x).block_until_ready()
        (path,) = Path(folder).rglob("*.xplane.pb")
        data = path.read_bytes()
    (HERE / "jax_cpu.xplane.pb.gz").write_bytes(gzip.compress(scrub(data), mtime=0))


if __name__ == "__main__":
    main()
