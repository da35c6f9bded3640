"""The C as packages that ecosystems take as they are: Arduino, PlatformIO, Zephyr, ESP-IDF, CMSIS-Pack.

Each is whole: sources in `src/`, the golden vectors beside them, metadata from templates/packages. Of what a
model says about itself only the network's C identifier gets in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from dfqgen import resources
from dfqgen.emit.api import SERIAL_HEADERS
from dfqgen.emit.context import NetworkContext
from dfqgen.emit.render import render

FOLDER = "packages"
VERSION = "1.0.0"
"""Of the package; whoever publishes one changes it."""

Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Layout:
    """How one ecosystem wants a package.

    `metadata` is template by path, `how` the README's word on using it, `selftest` the folder of the
    golden vectors, and `main` the head of a main function beside them; with `own_main` the self-test
    keeps its own.
    """

    metadata: Mapping[str, str]
    how: str
    selftest: str = "test"
    main: str | None = None
    own_main: bool = False


LAYOUTS: Mapping[str, Layout] = {
    "cmake": Layout(
        {"CMakeLists.txt": "cmake/CMakeLists.txt.j2"},
        "`add_subdirectory()` this folder, or install it and `find_package()` it; link `NAME::NAME`.",
        own_main=True,
    ),
    "make": Layout(
        {"Makefile": "make/Makefile.j2", "NAME.mk": "make/network.mk.j2"},
        "`make` gives a static library; or include `NAME.mk` in a Makefile.",
        own_main=True,
    ),
    "arduino": Layout(
        {
            "library.properties": "arduino/library.properties.j2",
            "examples/selftest/selftest.ino": "arduino/selftest.ino.j2",
        },
        "Copy this folder to the sketchbook's `libraries/`; File > Examples > NAME > selftest runs it.",
        "examples/selftest",
    ),
    "platformio": Layout(
        {"library.json": "platformio/library.json.j2"},
        "Copy this folder to a project's `lib/`, or name its path in `lib_deps`.",
        "examples/selftest",
        "int main(void)",
    ),
    "zephyr": Layout(
        {
            "zephyr/module.yml": "zephyr/module.yml.j2",
            "zephyr/Kconfig": "zephyr/Kconfig.j2",
            "zephyr/CMakeLists.txt": "zephyr/CMakeLists.txt.j2",
            "west.yml.example": "zephyr/west.yml.j2",
            "samples/selftest/CMakeLists.txt": "zephyr/sample_CMakeLists.txt.j2",
            "samples/selftest/prj.conf": "zephyr/prj.conf.j2",
            "samples/selftest/sample.yaml": "zephyr/sample.yaml.j2",
        },
        "A Zephyr module: name this folder in ZEPHYR_EXTRA_MODULES or a west manifest; set CONFIG_MACRO=y.",
        "samples/selftest/src",
        "int main(void)",
    ),
    "esp-idf": Layout(
        {
            "CMakeLists.txt": "esp-idf/CMakeLists.txt.j2",
            "idf_component.yml": "esp-idf/idf_component.yml.j2",
            "examples/selftest/CMakeLists.txt": "esp-idf/example_CMakeLists.txt.j2",
            "examples/selftest/main/CMakeLists.txt": "esp-idf/main_CMakeLists.txt.j2",
        },
        "An ESP-IDF component: copy this folder to a project's `components/`.",
        "examples/selftest/main",
        "void app_main(void)",
    ),
    "cmsis-pack": Layout(
        {"dfqgen.NAME.pdsc": "cmsis-pack/network.pdsc.j2"},
        "`cpackget add dfqgen.NAME.pdsc`, or zip this folder as dfqgen.NAME.1.0.0.pack and install that.",
    ),
}


def package_files(kinds: Iterable[str], net: NetworkContext, files: Mapping[str, bytes]) -> Files:
    """The packages' files by path in the generated folder, from the `files` of the network itself."""
    made: Files = {}
    for kind in kinds:
        for path, content in _package(LAYOUTS[kind], net, files).items():
            made[f"{FOLDER}/{kind}/{net.name}/{path}"] = content
    return made


def _package(layout: Layout, net: NetworkContext, files: Mapping[str, bytes]) -> Files:
    tests = {path: content for path, content in files.items() if _is_test(path, net.name)}
    serial = (f"{net.name}_serial.c", *(f"runtime_c/{header}" for header in SERIAL_HEADERS))
    sources = {
        path: content for path, content in files.items() if _is_source(path) and path not in (*tests, *serial)
    }
    package = {f"src/{path}": content for path, content in sources.items()}
    package |= {f"{layout.selftest}/{path}": content for path, content in tests.items()}
    selftest = f"{layout.selftest}/{net.name}_selftest.c"
    if not layout.own_main:
        package[selftest] = f"#define {net.macro}_NO_MAIN\n".encode("ascii") + package[selftest]
    fill = _filler(net, sorted(path for path in package if path.startswith("src/") and path.endswith(".c")))
    if layout.main is not None:
        package[f"{layout.selftest}/main.c"] = fill("selftest_main.c.j2", main=layout.main)
    for path, template in layout.metadata.items():
        package[path.replace("NAME", net.name)] = fill(template)
    how = layout.how.replace("NAME", net.name).replace("MACRO", net.macro)
    package["README.md"] = fill("README.md.j2", how=how)
    package["LICENSE"] = (resources.runtime_dir() / "LICENSE").read_bytes()
    return package


def _filler(net: NetworkContext, sources: list[str]) -> Callable[..., bytes]:
    """Render a template of templates/packages with the network's names, all of them identifiers."""

    def fill(template: str, **more: Any) -> bytes:
        return render(
            f"packages/{template}",
            name=net.name,
            macro=net.macro,
            version=net.version,
            package_version=VERSION,
            arena_bytes=net.arena_bytes,
            sources=sources,
            **more,
        )

    return fill


def _is_test(path: str, name: str) -> bool:
    return path in (f"{name}_golden.h", f"{name}_golden.c", f"{name}_selftest.c")


def _is_source(path: str) -> bool:
    return PurePosixPath(path).suffix in (".c", ".h", ".hpp")
