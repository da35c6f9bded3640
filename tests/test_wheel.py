"""The wheel, built by way of the sdist, carries all that a build needs; both carry the licences."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.models import DIGITS, DIGITS_INPUT, ROOT

LICENSES = {"LICENSE": "Apache License", "runtime_c/LICENSE": "MIT No", "templates/LICENSE": "MIT No"}
PAPERS = ("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md")
PACKED = ("dfqgen", "templates", "runtime_c", "targets", "pyproject.toml", "setup.py", "MANIFEST.in", *PAPERS)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both, built from a copy of what is packed so that nothing lands in the checkout."""
    folder = tmp_path_factory.mktemp("distributions")
    source = folder / "source"
    source.mkdir()
    for name in PACKED:
        subprocess.run(["cp", "-r", str(ROOT / name), str(source / name)], check=True)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (path,) = distributions.glob("*.whl")
    return path


def test_both_distributions_carry_every_licence(distributions: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        (folder,) = {name.split("/")[0] for name in files.namelist() if ".dist-info/" in name}
        for name, start in LICENSES.items():
            assert start in files.read(f"{folder}/licenses/{name}").decode()
        metadata = files.read(f"{folder}/METADATA").decode()
    assert "License-Expression: Apache-2.0 AND MIT-0\n" in metadata
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {*LICENSES, *PAPERS} <= packed


def test_pypi_would_take_both(distributions: Path) -> None:
    files = [str(path) for path in distributions.glob("dfqgen-*") if path.is_file()]
    assert len(files) == 2
    command = [sys.executable, "-m", "twine", "check", "--strict", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_the_wheel_is_the_same_bytes_each_time(distributions: Path, tmp_path: Path) -> None:
    """Given a time, as `make dist` takes the commit's; on another path, from files of another age."""
    (sdist,) = distributions.glob("*.tar.gz")
    wheels: list[bytes] = []
    for folder in (tmp_path / "a", tmp_path / "somewhere" / "b"):
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (source,) = folder.iterdir()
        for path in source.rglob("*.py"):
            os.utime(path, (1.7e9 + len(wheels), 1.7e9 + len(wheels)))
        command = [
            sys.executable,
            "-m",
            "build",
            "--no-isolation",
            "--wheel",
            "--outdir",
            str(folder),
            str(source),
        ]
        environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
        subprocess.run(command, env=environment, capture_output=True, check=True)
        (path,) = folder.glob("*.whl")
        wheels.append(path.read_bytes())
    assert wheels[0] == wheels[1]


def test_the_wheel_says_that_it_is_typed(wheel: Path) -> None:
    assert "dfqgen/py.typed" in zipfile.ZipFile(wheel).namelist()


def test_the_wheel_carries_every_file_of_the_runtime_and_nothing_else(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("dfqgen/_data/")}
    wanted = {
        f"dfqgen/_data/{path.relative_to(ROOT)}"
        for folder in ("templates", "runtime_c", "targets")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    assert packed == wanted
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tests")]


def test_dfqgen_builds_and_verifies_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True)
    # The dependencies come from this environment, dfqgen itself does not: its own folder is first.
    (own,) = environment.glob("lib/python*/site-packages")
    (own / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")

    def run(*command: object) -> str:
        done = subprocess.run(
            list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = run(python, "-c", "import dfqgen; print(dfqgen.__file__)")
    assert Path(where.strip()).is_relative_to(environment)
    dfqgen = environment / "bin" / "dfqgen"
    run(dfqgen, "build", DIGITS, "--target", "cortex-m", *DIGITS_INPUT, "-o", "out/digits")
    assert "equal, every bit" in run(dfqgen, "verify", "out/digits")
    assert "Every bit equals" in run(dfqgen, "run", "out/digits", "--on", "cortex-m4")
