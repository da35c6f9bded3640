"""CMSIS-NN by its compiler's flags and with its single rounding: which is its best?

    python bench/cmsis_flags.py --cmsis-nn PATH [--shared ../shared] [--targets cortex-m4] [--networks kws01]
                                [--results speed.json]

Counts each network's layers with the library built in every way of VARIANTS. CMSIS_NN_USE_SINGLE_ROUNDING is
its own option: it rounds once, as dfqgen does, where TFLite Micro's kernels round twice. `--results` adds to
the file of bench/cortex_m.py, whose `--write-docs` has a table of them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from cmsis_nn import build_library, count_layers
from cortex_m import NETWORKS, Bench

from dfqgen.targets import load_target

SINGLE = "-DCMSIS_NN_USE_SINGLE_ROUNDING"
VARIANTS = tuple((level, *single) for single in ((), (SINGLE,)) for level in ("-O2", "-O3", "-Ofast"))


def main() -> int:
    shared = os.environ.get("DFQGEN_SHARED", str(Path(__file__).resolve().parents[2] / "shared"))
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--cmsis-nn", type=Path, metavar="PATH", required=True, help="a checkout to build")
    parser.add_argument("--shared", default=shared, help="folder that has models/ (or DFQGEN_SHARED)")
    parser.add_argument("--targets", default="cortex-m4,cortex-m55", help="default: %(default)s")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="some of %(default)s")
    parser.add_argument("--results", type=Path, metavar="FILE", help="JSON to add the results to")
    arguments = parser.parse_args()
    results = {}
    for name in arguments.targets.split(","):
        target = load_target(name)
        with tempfile.TemporaryDirectory(prefix="dfqgen-flags-") as folder:
            work = Path(folder)
            bench = Bench(Path(arguments.shared) / "models", arguments.cmsis_nn, work)
            networks = arguments.networks.split(",")
            programs = {network: bench.program(network, name, "speed") for network in networks}
            for options in VARIANTS:
                library = build_library(arguments.cmsis_nn, target, work, options)
                for network, program in programs.items():
                    layers = count_layers(program, library, work)
                    count, flags = sum(layer.instructions for layer in layers), " ".join(options)
                    print(f"{name} {network} {flags}: {count:,}", flush=True)
                    results[f"flags/{name}/{network}/{flags}"] = {
                        "target": name, "network": network, "flags": flags, "instructions": count,
                    }  # fmt: skip
    if arguments.results:
        older = json.loads(arguments.results.read_text()) if arguments.results.is_file() else {}
        arguments.results.write_text(json.dumps({**older, **results}, indent=2, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
