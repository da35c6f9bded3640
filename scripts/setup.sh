#!/usr/bin/env bash
# Set up everything dfqgen's development needs: compilers and emulator, then .venv. Quick when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}

# --- tools: command or file -> Debian package
packages=()
need() { command -v "$1" >/dev/null 2>&1 || packages+=("$2"); }
need "$python" python3
need gcc gcc
need g++ g++
need make make
need cmake cmake
need clang clang
need cppcheck cppcheck
need s390x-linux-gnu-gcc gcc-s390x-linux-gnu
need qemu-s390x qemu-user
[ -e /usr/s390x-linux-gnu/include/stdio.h ] || packages+=(libc6-dev-s390x-cross)
need xmllint libxml2-utils
need avr-gcc gcc-avr
need simavr simavr
need chromium chromium
need arduino-builder arduino-builder
need arduino-ctags arduino-ctags
need arm-none-eabi-gcc gcc-arm-none-eabi
need qemu-system-arm qemu-system-arm
need riscv64-unknown-elf-gcc gcc-riscv64-unknown-elf
need qemu-system-riscv32 qemu-system-misc

# headers of the host's C library and of Python (cffi), newlib and picolibc, and the sanitizers of clang
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
probe() { echo "$2" | "$1" -x c - -o "$scratch/probe" "${@:3}" >/dev/null 2>&1; }
if command -v gcc >/dev/null; then
    probe gcc '#include <stdio.h>
int main(void) { return 0; }' || packages+=(libc6-dev)
else
    packages+=(libc6-dev)
fi
if command -v arm-none-eabi-gcc >/dev/null; then
    probe arm-none-eabi-gcc '#include <stdio.h>
int main(void) { return 0; }' --specs=rdimon.specs || packages+=(libnewlib-arm-none-eabi)
else
    packages+=(libnewlib-arm-none-eabi)
fi
if command -v riscv64-unknown-elf-gcc >/dev/null; then
    probe riscv64-unknown-elf-gcc '#include <stdio.h>
int main(void) { return 0; }' --specs=picolibc.specs -c || packages+=(picolibc-riscv64-unknown-elf)
else
    packages+=(picolibc-riscv64-unknown-elf)
fi
[ -e /usr/lib/avr/include/avr/io.h ] || packages+=(avr-libc)
[ -e /usr/include/simavr/sim_avr.h ] || packages+=(libsimavr-dev)
[ -e /usr/share/arduino/hardware/arduino/avr ] || packages+=(arduino-core-avr)
if ! { command -v clang >/dev/null && probe clang 'int main(void) { return 0; }' -fsanitize=address,undefined; }; then
    packages+=(SANITIZERS)
fi
if command -v "$python" >/dev/null; then
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
    [ -e "$include/Python.h" ] || packages+=(python3-dev)
    "$python" -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
else
    packages+=(python3-dev python3-venv)
fi

if [ ${#packages[@]} -gt 0 ]; then
    root=()
    if [ "$(id -u)" -ne 0 ]; then root=(sudo); fi
    if ! command -v apt-get >/dev/null || { [ ${#root[@]} -gt 0 ] && ! sudo -n true 2>/dev/null && ! [ -t 0 ]; }; then
        named=${packages[*]/SANITIZERS/the compiler-rt of clang}
        echo "make setup: these are missing and cannot be installed from here: $named" >&2
        echo "Install them with the system's package manager (Debian and Ubuntu: those are the package" >&2
        echo "names; apt-get needs root or sudo), then run make setup again." >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    "${root[@]}" apt-get update -q
    for i in "${!packages[@]}"; do
        if [ "${packages[$i]}" = SANITIZERS ]; then
            # the runtime of whatever clang the system gives (Debian 12: libclang-rt-14-dev)
            version=$(apt-cache depends clang | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
            packages[i]=libclang-rt-${version:-14}-dev
        fi
    done
    "${root[@]}" apt-get install -q -y --no-install-recommends "${packages[@]}"
fi

# --- Python: again only when pyproject.toml or setup.py changed
stamp=.venv/dfqgen-setup
wanted=$(cat pyproject.toml setup.py | sha256sum)
if [ ! -x .venv/bin/python ]; then
    "$python" -m venv .venv
fi
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    .venv/bin/python -c 'import sys
if sys.version_info < (3, 11): sys.exit("make setup: dfqgen needs Python 3.11 or newer, not " + sys.version.split()[0] + "; set PYTHON=...")'
    .venv/bin/pip install --quiet --disable-pip-version-check "setuptools>=77" wheel
    .venv/bin/pip install --quiet --disable-pip-version-check -e ".[dev,cluster,synthesis,tflite]"
    echo "$wanted" > "$stamp"
fi
