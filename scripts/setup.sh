# shellcheck shell=sh
# Finds what this machine lacks and installs it with the system's package manager.
# Sourced by quickstart and check:
#     need compiler cmake ...    must be there
#     want curl ...              nice to have: its absence is only mentioned
#     install_missing            installs, or asks, or explains and ends the script
# Everything is said on stderr: stdout belongs to what is run afterwards.

# Packages by thing and package manager; several are joined with a comma, "-" is none.
# apt is tested; dnf, pacman, apk and brew are untested.
packages() {
    cat <<'END'
# thing        apt                               dnf                  pacman             apk                   brew
compiler       gcc,libc6-dev                     gcc,glibc-devel      gcc                gcc,musl-dev          gcc
cmake          cmake                             cmake                cmake              cmake                 cmake
ninja          ninja-build                       ninja-build          ninja              samurai               ninja
zlib           zlib1g-dev                        zlib-devel           zlib               zlib-dev              zlib
curl           libcurl4-openssl-dev              libcurl-devel        curl               curl-dev              curl
png            libpng-dev                        libpng-devel         libpng             libpng-dev            libpng
cmocka         libcmocka-dev                     libcmocka-devel      cmocka             cmocka-dev            cmocka
c++            g++                               gcc-c++              gcc                g++                   gcc
pkg-config     pkg-config                        pkgconf              pkgconf            pkgconf               pkgconf
clang          clang,libclang-rt-dev             clang,compiler-rt    clang,compiler-rt  clang,compiler-rt     llvm
clang-tidy     clang-tidy                        clang-tools-extra    clang              clang-extra-tools     llvm
clang-format   clang-format                      clang-tools-extra    clang              clang-extra-tools     clang-format
gcovr          gcovr                             gcovr                gcovr              gcovr                 gcovr
python         python3,python3-venv,python3-pip  python3,python3-pip  python,python-pip  python3,py3-pip       python
shellcheck     shellcheck                        ShellCheck           shellcheck         shellcheck            shellcheck
qemu           qemu-user                         qemu-user            qemu-user          qemu-aarch64          -
arm-compiler   gcc-aarch64-linux-gnu,libc6-dev-arm64-cross  gcc-aarch64-linux-gnu  aarch64-linux-gnu-gcc  gcc-aarch64-none-elf  -
END
}

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

c_compiler() {
    if [ -n "${CC:-}" ]; then
        echo "$CC"
        return
    fi
    for candidate in cc gcc clang; do
        if have $candidate; then
            echo $candidate
            return
        fi
    done
    echo cc
}

# links HEADER LIBRARY: a program that includes the one links with the other. stddef and its like come
# first because cmocka.h asks for them.
links() {
    printf '#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>\n#include <%s>\nint main(void){return 0;}\n' "$1" |
        $(c_compiler) -x c - -o /dev/null "-l$2" 2>/dev/null
}

cmake_is_new_enough() {
    have cmake || return 1
    version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    [ "${version% *}" -gt 3 ] || { [ "${version% *}" -eq 3 ] && [ "${version#* }" -ge 20 ]; }
}

fuzzer_runtime_works() {
    printf '#include <stddef.h>\nint LLVMFuzzerTestOneInput(const unsigned char *d, size_t n){(void)d;(void)n;return 0;}\n' |
        clang -fsanitize=fuzzer,address -x c - -o /dev/null 2>/dev/null
}

present() {
    case $1 in
    compiler) links stdio.h c ;;
    cmake) cmake_is_new_enough ;;
    ninja) have ninja ;;
    zlib) links zlib.h z ;;
    curl) links curl/curl.h curl ;;
    png) links png.h png ;;
    cmocka) links cmocka.h cmocka ;;
    c++) have c++ || have g++ ;;
    clang) have clang && fuzzer_runtime_works ;;
    python) have python3 && python3 -c 'import venv, ensurepip' 2>/dev/null ;;
    qemu) have qemu-aarch64 ;;
    arm-compiler) have aarch64-linux-gnu-gcc && [ -d /usr/aarch64-linux-gnu ] ;;
    *) have "$1" ;;
    esac
}

needed=''
wanted=''
need() { needed="$needed $*"; }
want() { wanted="$wanted $*"; }

missing_of() {
    for thing in "$@"; do
        present "$thing" || printf '%s ' "$thing"
    done
}

package_manager() {
    for manager in apt-get dnf pacman apk brew; do
        if have $manager; then
            echo $manager
            return
        fi
    done
}

# package_names MANAGER THING...
package_names() {
    manager=$1
    shift
    case $manager in
    apt-get) column=2 ;;
    dnf) column=3 ;;
    pacman) column=4 ;;
    apk) column=5 ;;
    *) column=6 ;;
    esac
    for thing in "$@"; do
        packages | awk -v thing="$thing" -v column=$column \
            '$1 == thing && $column != "-" { gsub(",", " ", $column); print $column }'
    done | tr '\n' ' ' | sed 's/ $//'
}

# install_line MANAGER SUDO PACKAGES: the command that installs them.
install_line() {
    case $1 in
    apt-get) echo "$2apt-get update -q && $2env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $3" ;;
    dnf) echo "$2dnf install -y $3" ;;
    pacman) echo "$2pacman -Sy --needed --noconfirm $3" ;;
    apk) echo "$2apk add $3" ;;
    brew) echo "brew install $3" ;;
    esac
}

# May the line be run? As root and in CI: yes. Else the person at the terminal is asked.
allowed_to_install() {
    if [ "$(id -u)" -eq 0 ] || [ "${CI:-}" = true ]; then return 0; fi
    if [ ! -t 0 ]; then
        say 'There is no terminal to ask on, so nothing was installed. Run the line above, then try again.'
        return 1
    fi
    printf 'Run it now? [y/N] ' >&2
    read -r answer || answer=n
    case $answer in
    [yY]*) return 0 ;;
    esac
    say 'Nothing was installed. Run the line above yourself, then try again.'
    return 1
}

# Installs the things of the list. 1: that did not work. 2: it was refused or is not possible.
install_things() {
    manager=$(package_manager)
    if [ -z "$manager" ]; then
        say "Missing: $*. No known package manager was found (apt-get, dnf, pacman, apk, brew): please install them yourself."
        return 2
    fi
    names=$(package_names "$manager" "$@")
    [ -n "$names" ] || return 2
    sudo='sudo '
    if [ "$(id -u)" -eq 0 ]; then sudo=''; fi
    line=$(install_line "$manager" "$sudo" "$names")
    say "Missing: $*. This installs them:"
    say "    $line"
    if [ -n "$sudo" ] && [ "$manager" != brew ] && ! have sudo; then
        say 'Neither root nor sudo is available: ask an administrator to run it.'
        return 2
    fi
    allowed_to_install || return 2
    log=$(mktemp)
    if sh -c "$line" </dev/null >"$log" 2>&1; then
        rm -f "$log"
        return 0
    fi
    tail -n 15 "$log" >&2
    rm -f "$log"
    say 'The installation failed: see the lines above.'
    return 1
}

install_missing() {
    # The lists are words.
    # shellcheck disable=SC2086
    required=$(missing_of $needed)
    # shellcheck disable=SC2086
    optional=$(missing_of $wanted)
    [ -n "$required$optional" ] || return 0
    status=0
    # shellcheck disable=SC2086
    install_things $required $optional || status=$?
    # A wanted package that does not exist here must not keep the needed ones away.
    if [ $status -eq 1 ] && [ -n "$required" ] && [ -n "$optional" ]; then
        status=0
        # shellcheck disable=SC2086
        install_things $required || status=$?
    fi
    if [ $status -ne 0 ] && [ -n "$required" ]; then exit 1; fi
    # shellcheck disable=SC2086
    required=$(missing_of $required)
    # shellcheck disable=SC2086
    optional=$(missing_of $optional)
    if [ -n "$optional" ]; then say "Going on without: $optional"; fi
    if [ -n "$required" ]; then
        say "Still missing or too old after the installation: $required(cmake must be 3.20 or newer)"
        exit 1
    fi
}
