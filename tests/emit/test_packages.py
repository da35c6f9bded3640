"""Packages are whole, and their ecosystems' own tools build or validate them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from dfqgen import build, make_recipe
from dfqgen.errors import UserError
from dfqgen.recipe.command import build_command
from dfqgen.recipe.records import PACKAGES
from tests.models import DIGITS, ROOT, tiny

ARM = [
    "-DCMAKE_SYSTEM_NAME=Generic",
    "-DCMAKE_SYSTEM_PROCESSOR=arm",
    "-DCMAKE_C_COMPILER=arm-none-eabi-gcc",
    "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",
    "-DCMAKE_C_FLAGS=-mcpu=cortex-m4 -mthumb -Wall -Wextra -Werror",
]

# A consumer in C++17, of the package as it is installed.
CONSUMER = """
#include <array>
#include <digits.h>
static digits_t net;
int main() {
    std::array<float, DIGITS_INPUT_SIZE> x{};
    std::array<float, DIGITS_OUTPUT_SIZE> y{};
    digits_quantize_input(&net, x.data());
    digits_invoke(&net);
    digits_dequantize_output(&net, y.data());
    return y[0] == y[0] ? 0 : 1;
}
"""

# What Zephyr's and ESP-IDF's own CMake functions do, as far as a package can tell.
STUBS = """
cmake_minimum_required(VERSION 3.13)
project(stub C)
set(CONFIG_DIGITS y)
function(zephyr_library)
  set(LIB network PARENT_SCOPE)
  add_library(network STATIC)
endfunction()
function(zephyr_library_sources)
  target_sources(network PRIVATE ${ARGN})
endfunction()
function(zephyr_include_directories)
  target_include_directories(network PUBLIC ${ARGN})
endfunction()
function(idf_component_register)
  cmake_parse_arguments(A "" "" "SRCS;INCLUDE_DIRS;REQUIRES" ${ARGN})
  add_library(network STATIC ${A_SRCS})
  target_include_directories(network PUBLIC ${A_INCLUDE_DIRS})
endfunction()
"""


def run(*words: object, cwd: Path | None = None) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every package of the bundled network, in portable C."""
    folder = tmp_path_factory.mktemp("packages") / "digits"
    recipe = make_recipe(target="cortex-m3", package=PACKAGES, input_std=(16.0,), input_range=(0.0, 16.0))
    build(DIGITS, folder, recipe)
    return folder / "packages"


def test_every_package_is_whole(packages: Path) -> None:
    for kind in PACKAGES:
        package = packages / kind / "digits"
        texts = [path for path in package.rglob("*") if path.suffix in (".c", ".h", ".ino")]
        assert (package / "LICENSE").read_text().startswith("MIT No Attribution")
        assert "NAME" not in (package / "README.md").read_text()
        for path in texts:
            for name in re.findall(r'#include ["<](digits\S*|runtime_c/\S*)[">]', path.read_text()):
                places = (path.parent / name, package / "src" / name)
                assert any(place.is_file() for place in places), f"{path}: {name}"


@pytest.mark.parametrize("kind", ["Debug", "Release", "MinSizeRel"])
def test_cmake_builds_for_arm(packages: Path, tmp_path: Path, kind: str) -> None:
    source = packages / "cmake" / "digits"
    run("cmake", "-S", source, "-B", tmp_path, *ARM, f"-DCMAKE_BUILD_TYPE={kind}")
    run("cmake", "--build", tmp_path)
    assert "digits_invoke" in run("arm-none-eabi-nm", tmp_path / "libdigits.a")


def test_cmake_installs_a_target_that_cpp_links(packages: Path, tmp_path: Path) -> None:
    source = packages / "cmake" / "digits"
    run(
        "cmake",
        "-S",
        source,
        "-B",
        tmp_path / "b",
        "-DDIGITS_SELFTEST=ON",
        f"-DCMAKE_INSTALL_PREFIX={tmp_path}/i",
    )
    run("cmake", "--build", tmp_path / "b", "--target", "install")
    run("ctest", "--test-dir", tmp_path / "b")
    user = tmp_path / "user"
    user.mkdir()
    (user / "main.cpp").write_text(CONSUMER)
    (user / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(user CXX)\nset(CMAKE_CXX_STANDARD 17)\n"
        "find_package(digits 1.0 CONFIG REQUIRED)\nadd_executable(user main.cpp)\n"
        "target_compile_options(user PRIVATE -Wall -Wextra -Werror)\n"
        "target_link_libraries(user PRIVATE digits::digits)\n"
    )
    run("cmake", "-S", user, "-B", tmp_path / "u", f"-DCMAKE_PREFIX_PATH={tmp_path}/i")
    run("cmake", "--build", tmp_path / "u")
    run(tmp_path / "u" / "user")


def test_make_builds_for_riscv_and_tests_itself_here(packages: Path, tmp_path: Path) -> None:
    source = packages / "make" / "digits"
    riscv = ["CC=riscv64-unknown-elf-gcc", "AR=riscv64-unknown-elf-ar"]
    flags = "-march=rv32imac -mabi=ilp32 --specs=picolibc.specs -Os -Wall -Wextra -Werror"
    run("make", "-C", source, *riscv, f"CFLAGS={flags}", f"BUILD={tmp_path}/rv")
    assert (tmp_path / "rv" / "libdigits.a").is_file()
    run("make", "-C", source, "selftest", f"BUILD={tmp_path}/host")


@pytest.mark.parametrize("kind", ["zephyr", "esp-idf"])
def test_cmake_reads_what_other_builds_are_given(packages: Path, tmp_path: Path, kind: str) -> None:
    package = packages / kind / "digits"
    folder = package / "zephyr" if kind == "zephyr" else package
    (tmp_path / "CMakeLists.txt").write_text(STUBS + f"add_subdirectory({folder} sub)\n")
    run("cmake", "-S", tmp_path, "-B", tmp_path / "b")
    run("cmake", "--build", tmp_path / "b")


def test_zephyr_has_its_module_and_sample(packages: Path) -> None:
    """Keys as in Zephyr's documentation, "Modules (External projects)" and its twister's sample.yaml."""
    package = packages / "zephyr" / "digits"
    module = yaml.safe_load((package / "zephyr" / "module.yml").read_text())
    assert module.keys() <= {"name", "build", "samples", "tests", "boards"}
    assert (package / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    assert (package / module["build"]["kconfig"]).read_text().splitlines()[1] == "config DIGITS"
    (test,) = yaml.safe_load((package / "samples/selftest/sample.yaml").read_text())["tests"].values()
    assert test["harness_config"]["regex"] == ["digits: 0 output values are wrong"]
    yaml.safe_load((package / "west.yml.example").read_text())


def test_esp_idf_has_its_component(packages: Path) -> None:
    """Keys as in Espressif's "idf_component.yml Manifest File Format Reference"."""
    component = yaml.safe_load((packages / "esp-idf/digits/idf_component.yml").read_text())
    assert component.keys() <= {"version", "description", "license", "dependencies", "url", "targets"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", component["version"])


def test_arduino_has_its_properties(packages: Path) -> None:
    """Fields as in the "Arduino library specification", whose categories are a closed list."""
    package = packages / "arduino" / "digits"
    lines = (package / "library.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    needed = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url"}
    assert needed <= fields.keys() <= needed | {"architectures", "includes", "depends", "dot_a_linkage"}
    assert fields["category"] == "Data Processing"
    assert (package / "src" / fields["includes"]).is_file()
    assert (package / "examples/selftest/selftest.ino").is_file()


def test_platformio_has_its_manifest(packages: Path) -> None:
    """Fields as in PlatformIO's "library.json" page."""
    package = packages / "platformio" / "digits"
    manifest = json.loads((package / "library.json").read_text())
    assert {"name", "version", "description", "license"} <= manifest.keys()
    (example,) = manifest["examples"]
    assert all((package / example["base"] / name).is_file() for name in example["files"])
    assert (package / manifest["build"]["srcDir"] / manifest["headers"]).is_file()


def test_the_cmsis_pack_passes_the_published_schema(packages: Path) -> None:
    (description,) = (packages / "cmsis-pack" / "digits").glob("*.pdsc")
    run("xmllint", "--noout", "--schema", ROOT / "tests" / "data" / "PACK.xsd", description)
    named = re.findall(r'<file category="(?:header|sourceC|doc)" name="([^"]+)"', description.read_text())
    assert len(named) >= 6
    assert all((description.parent / name).is_file() for name in named)


def test_nothing_of_a_hostile_model_gets_into_a_package(tmp_path: Path) -> None:
    model = tiny(tmp_path / 'x";$(touch y)\n<b>&.onnx')
    build(model, tmp_path / "o", make_recipe(package=PACKAGES))
    (package,) = (tmp_path / "o/packages/arduino").iterdir()
    assert re.fullmatch(r"[a-z0-9_]+", package.name)
    for path in (tmp_path / "o" / "packages").rglob("*"):
        inside = path.relative_to(tmp_path / "o" / "packages")
        assert re.fullmatch(r"[A-Za-z0-9_./-]+", str(inside))
        if path.is_file() and path.suffix not in (".c", ".h", ".hpp") and path.name != "LICENSE":
            assert not re.search(r"touch y|<b>&", path.read_text()), path


def test_an_unknown_package_is_refused() -> None:
    with pytest.raises(UserError, match="no package 'keil'"):
        make_recipe(package=("keil",))  # type: ignore[arg-type]


def test_the_command_repeats_the_packages() -> None:
    command = build_command("m.onnx", make_recipe(package=("zephyr", "make")))
    assert command == "dfqgen build m.onnx --target host --package zephyr,make"
