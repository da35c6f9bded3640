"""The generated folder: what it holds, how it compiles, how it is written."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dfqgen import resources
from dfqgen.emit import emit, with_files, write_folder
from dfqgen.emit.provenance import Provenance
from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import Program, QPort
from dfqgen.plan import plan_program
from dfqgen.recipe.records import Optimize
from dfqgen.targets import CostTable, load_target
from dfqgen.verify.host import HostNetwork, verify_on_host
from dfqgen.verify.toolchain import WARNINGS, compile_c, host_compiler
from tests.emit.test_names import HOSTILE
from tests.programs import branched, stored, tiny, write
from tests.tools import needs

COMPILERS = [pytest.param(name, marks=needs(name)) for name in ("gcc", "clang", "arm-none-eabi-gcc")]
PROVENANCE = Provenance("tiny.onnx", 8 * "0123abcd", {"version": 1}, "dfqgen build tiny.onnx --target host")
CLANG_FORMAT = Path(sysconfig.get_path("scripts")) / "clang-format"
GOLDEN = Path(__file__).parents[1] / "golden"


def sources(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}{part}.c" for part in ("", "_weights", "_golden", "_selftest")]


def run(program: Path) -> int:
    return subprocess.run([program], capture_output=True, check=False, timeout=60).returncode


def test_the_c_of_a_tiny_network_is_this_text() -> None:
    """A change of the generated C shows as a diff: copy it over tests/golden if it is meant.

    Without the target's prices, so that kernels are not chosen anew with every measurement.
    """
    target = replace(load_target("cortex-m3"), costs=CostTable())
    files = emit(stored(), plan_program(stored(), target), target)
    for path in ("tiny.h", "tiny.c", "tiny_weights.h", "tiny_selftest.c", "tiny.mk", "CMakeLists.txt"):
        assert files[path].decode() == (GOLDEN / path).read_text(), path


def test_every_file_says_that_firmware_may_ship_it_freely(tmp_path: Path) -> None:
    """Its first line has the SPDX tag, but for JSON, which has no comments: the manifest speaks for it."""
    files = write(tiny(), tmp_path / "out")
    texts = {path: text for path, text in files.items() if not path.endswith(".json")}
    for folder in (resources.runtime_dir(), resources.templates_dir()):
        paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "LICENSE")
        texts |= {str(path): path.read_bytes() for path in paths}
    for path, text in texts.items():
        assert b"SPDX-License-Identifier: MIT-0" in text.splitlines()[0], path
    assert json.loads(files["manifest.json"])["license"] == "MIT-0"


@pytest.mark.skipif(not CLANG_FORMAT.exists(), reason="clang-format is not installed")
@pytest.mark.parametrize("make", [tiny, branched])
def test_generated_c_is_in_the_layout_of_the_kernels(tmp_path: Path, make: Callable[[], Program]) -> None:
    program = make()
    write(program, tmp_path / "out", target="cortex-m4")
    style = GOLDEN.parents[1] / ".clang-format"
    files = sorted((tmp_path / "out").rglob("*.[ch]"))
    check = [str(CLANG_FORMAT), f"--style=file:{style}", "--dry-run", "-Werror", *map(str, files)]
    done = subprocess.run(check, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_same_program_gives_the_same_bytes() -> None:
    target = load_target("cortex-m4")
    first, second = (emit(program, plan_program(program, target), target) for program in (tiny(), tiny()))
    assert first == second


@pytest.mark.parametrize("optimize", ["speed", "size"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_generated_c_has_no_warnings(tmp_path: Path, compiler: str, optimize: Optimize) -> None:
    for program in (tiny(), branched()):
        folder = tmp_path / program.name
        write(program, folder, optimize=optimize)
        core = ["-mcpu=cortex-m3", "-mthumb"] if compiler.startswith("arm") else []
        for source in sources(folder, program.name):
            compile_c([source], tmp_path / "a.o", [*WARNINGS, "-O2", "-c", *core], [compiler])


@pytest.mark.parametrize("flags", [("-O1",), ("-O2", "-march=native"), ("-O2", "-DDFQ_OPTIMIZE_SIZE")])
def test_golden_vectors_pass_under_the_sanitizers(tmp_path: Path, flags: tuple[str, ...]) -> None:
    for program in (tiny(), branched()):
        folder = tmp_path / program.name
        write(program, folder)
        sanitize = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        binary = tmp_path / f"{program.name}.bin"
        compile_c(sources(folder, program.name), binary, [*flags, "-std=c99", *sanitize])
        assert run(binary) == 0


def test_a_wrong_golden_value_fails_the_selftest(tmp_path: Path) -> None:
    write(tiny(), tmp_path / "out")
    golden = tmp_path / "out" / "tiny_golden.c"
    text = golden.read_text()
    start = text.index("golden_output")
    start = text.index("    {\n", start) + len("    {\n    ")
    number = text[start : text.index(",", start)]
    golden.write_text(text[:start] + str(int(number) // 2 + 1) + text[start + len(number) :])
    compile_c(sources(tmp_path / "out", "tiny"), tmp_path / "bin", ["-O1"])
    assert run(tmp_path / "bin") == 1


@pytest.mark.parametrize("program", [tiny(), branched()], ids=["tiny", "branched"])
def test_made_for_size_the_c_lacks_what_no_layer_needs(tmp_path: Path, program: Program) -> None:
    text = write(program, tmp_path / "out", target="cortex-m4", optimize="size")[f"{program.name}.c"].decode()
    for member, macro in (("plain", "DFQ_DSP_NO_PLAIN"), ("narrow", "DFQ_DSP_NO_BOUNDS")):
        assert (f".{member} = 1" in text) != (f"#define {macro} 1" in text)
    assert "_NO_" not in write(program, tmp_path / "fast", target="cortex-m4")[f"{program.name}.c"].decode()


@pytest.mark.parametrize("optimize", ["speed", "size"])
def test_two_networks_live_in_one_program(tmp_path: Path, optimize: Optimize) -> None:
    write(tiny("first"), tmp_path / "first", optimize=optimize)
    write(tiny("second", seed=5), tmp_path / "second")
    main = tmp_path / "main.c"
    main.write_text(
        "#define FIRST_NO_MAIN\n#define SECOND_NO_MAIN\n"
        '#include "first/first_selftest.c"\n#include "second/second_selftest.c"\n'
        "static first_t a;\nstatic second_t b;\n"
        "int main(void) { return first_selftest(&a) + second_selftest(&b) + first_selftest(&a); }\n"
    )
    parts = [source for n in ("first", "second") for source in sources(tmp_path / n, n)[:3]]
    compile_c([main, *parts], tmp_path / "both", [*WARNINGS, "-O2"])
    assert run(tmp_path / "both") == 0


@needs("g++")
def test_a_header_serves_cpp(tmp_path: Path) -> None:
    write(tiny(), tmp_path / "out")
    flags = ["-x", "c++-header", "-Wall", "-Werror"]
    compile_c([tmp_path / "out" / "tiny.h"], tmp_path / "a.gch", flags, ["g++"])


def test_float_helpers_round_as_the_compiler_does(tmp_path: Path) -> None:
    program = tiny()
    write(program, tmp_path / "out")
    qtype = program.tensors["x"].qtype
    reals = [-1e30, -3.0, -0.01, 0.0, 0.013, 0.5, 1.0, 1.99, 1e30]
    expected = [int(q) for q in qtype.quantize(reals)]  # type: ignore[arg-type]
    checks = " ".join(f"wrong += p[{i}] != {q};" for i, q in enumerate(expected))
    (tmp_path / "main.c").write_text(
        '#include "out/tiny.h"\nstatic tiny_t net;\n'
        f"static float x[TINY_INPUT_SIZE] = {{{', '.join(f'{r!r}f' for r in reals)}}};\n"
        "int main(void) { float y[TINY_OUTPUT_SIZE]; int wrong = 0; tiny_quantize_input(&net, x);\n"
        f"const int8_t *p = tiny_input(&net); {checks}\n"
        "tiny_invoke(&net); tiny_dequantize_output(&net, y); wrong += y[0] < 0.0f || y[0] > 1.0f;\n"
        "return wrong; }\n"
    )
    parts = [tmp_path / "out" / "tiny.c", tmp_path / "out" / "tiny_weights.c"]
    compile_c([tmp_path / "main.c", *parts], tmp_path / "bin", [*WARNINGS, "-O2"])
    assert run(tmp_path / "bin") == 0


def hostile(program: Program) -> Program:
    """The same program with every layer, port and the network itself named to break something."""
    ops = tuple(replace(op, name=HOSTILE[i % len(HOSTILE)]) for i, op in enumerate(program.ops))  # type: ignore[type-var]
    ports = iter(HOSTILE)
    return Program(
        name="*/ #error ??/\n",
        inputs=tuple(QPort(next(ports), port.tensor) for port in program.inputs),
        outputs=tuple(QPort(next(ports), port.tensor) for port in program.outputs),
        tensors=program.tensors,
        ops=ops,
    )


@pytest.mark.parametrize("make", [tiny, branched])
def test_hostile_names_change_nothing_but_names(tmp_path: Path, make: type) -> None:
    program = hostile(make())
    files = write(program, tmp_path / "out")
    manifest = json.loads(files["manifest.json"])
    for source in sources(tmp_path / "out", manifest["network"]):
        compile_c([source], tmp_path / "a.o", [*WARNINGS, "-O1", "-c", "-trigraphs"])
    verify_on_host(program, tmp_path / "out")


@needs("make")
def test_make_builds_the_folder(tmp_path: Path) -> None:
    write(tiny(), tmp_path / "out")
    (tmp_path / "Makefile").write_text(
        "include out/tiny.mk\nall:\n"
        "\t$(CC) $(TINY_CFLAGS) -O1 $(TINY_SOURCES) $(TINY_SELFTEST_SOURCES) -o selftest\n"
    )
    subprocess.run(["make", f"CC={host_compiler()[0]}"], cwd=tmp_path, check=True, capture_output=True)
    assert run(tmp_path / "selftest") == 0


@needs("cmake")
def test_cmake_builds_the_folder(tmp_path: Path) -> None:
    write(tiny(), tmp_path / "out")
    build = tmp_path / "build"
    subprocess.run(["cmake", "-S", tmp_path / "out", "-B", build], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", build], check=True, capture_output=True)
    assert run(build / "tiny_selftest") == 0


def test_the_manifest_has_the_hash_of_every_file() -> None:
    target = load_target("host")
    program = tiny()
    files = emit(program, plan_program(program, target), target, provenance=PROVENANCE)
    files = with_files(files, {"report.html": b"<p>"})
    manifest = json.loads(files["manifest.json"])
    assert manifest["provenance"] == PROVENANCE.to_json()
    assert set(manifest["files"]) == set(files) - {"manifest.json"}
    for path, digest in manifest["files"].items():
        assert hashlib.sha256(files[path]).hexdigest() == digest


def test_only_needed_headers_are_copied(tmp_path: Path) -> None:
    files = write(branched(), tmp_path / "out")
    headers = {path for path in files if path.startswith("runtime_c/")}
    assert "runtime_c/portable/dfq_add_s8.h" in headers
    assert "runtime_c/portable/dfq_softmax_s8.h" not in headers


def test_a_full_folder_is_refused_and_replaced_only_when_forced(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_folder({"manifest.json": b"{}", "a": b"1"}, folder)
    with pytest.raises(UserError, match="not empty"):
        write_folder({"manifest.json": b"{}"}, folder)
    assert (folder / "a").exists()
    write_folder({"manifest.json": b"{}", "b/c": b"2"}, folder, force=True)
    assert sorted(path.name for path in folder.iterdir()) == ["b", "manifest.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_force_never_replaces_a_folder_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not written by dfqgen"):
        write_folder({"manifest.json": b"{}"}, tmp_path, force=True)
    assert (tmp_path / "thesis.tex").exists()


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError):
        write_folder({"a": b""}, tmp_path / "file")
    with pytest.raises(UserError):
        write_folder({"a": b""}, tmp_path / "file" / "below")
    with pytest.raises(UserError):
        write_folder({"a": b"", "a/b": b""}, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_native_code_gives_the_same_bits(tmp_path: Path) -> None:
    program = tiny()
    write(program, tmp_path / "out", target="host")
    verify_on_host(program, tmp_path / "out", network=HostNetwork(tmp_path / "out", native=True))
