# shellcheck shell=bash
# What ./testnet/up and ./testnet/check share: finding or installing what a
# build needs, and the one release build. Sourced, never run.
#
# Everything here writes to stderr: `up --format json` promises that stdout
# carries one JSON object and nothing else.
#
# Written for bash 3.2, which is what macOS has: no associative arrays, and no
# expansion of an array that may be empty.

# A CDPATH would make cd print, and go elsewhere.
unset CDPATH
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
program=${program:-testnet}
apt_lists_fresh=

say() { printf '%s: %s\n' "$program" "$*" >&2; }
fail() {
    printf '%s: error: %s\n' "$program" "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }
on_linux() { [ "$(uname -s)" = Linux ]; }

# True when one of the given paths exists; globs that match nothing do not.
any_exists() {
    local path
    for path in "$@"; do
        if [ -e "$path" ]; then return 0; fi
    done
    return 1
}

# --- What is there ------------------------------------------------------------

# The Vulkan loader reads the manifests of drivers from these folders, unless a
# variable names them (separated by colons): then it looks nowhere else.
has_vulkan_driver() {
    local named=${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}}
    if [ -n "$named" ]; then
        local files
        IFS=: read -r -a files <<<"$named"
        any_exists "${files[@]}" ||
            fail "VK_DRIVER_FILES or VK_ICD_FILENAMES names no file that exists ($named): correct it or unset it"
        return 0
    fi
    any_exists /usr/share/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json \
        /etc/vulkan/icd.d/*.json "${XDG_DATA_HOME:-$HOME/.local/share}"/vulkan/icd.d/*.json
}

has_vulkan_loader() {
    # ldconfig is often outside the path of an ordinary user.
    case "$(PATH="$PATH:/usr/sbin:/sbin" ldconfig -p 2>/dev/null)" in
    *libvulkan.so.1*) return 0 ;;
    esac
    local folders
    IFS=: read -r -a folders <<<"${LD_LIBRARY_PATH:-}:/usr/lib:/usr/lib64:/usr/local/lib"
    local folder
    for folder in "${folders[@]}"; do
        if any_exists "${folder:-/nonexistent}"/libvulkan.so.1; then return 0; fi
    done
    any_exists /usr/lib/*-linux-gnu*/libvulkan.so.1
}

# The parts of the system that are missing, one word each.
missing_system_parts() {
    if ! have cc; then echo compiler; fi
    if on_linux; then
        if ! has_vulkan_loader; then echo loader; fi
        if ! has_vulkan_driver; then echo driver; fi
    fi
}

# --- Packages -----------------------------------------------------------------

package_manager() {
    local manager
    for manager in apt-get dnf pacman; do
        if have "$manager"; then
            echo "$manager"
            return
        fi
    done
}

# package_names MANAGER PART...: what the parts are called there.
package_names() {
    local manager=$1 part
    shift
    for part in "$@"; do
        case "$manager:$part" in
        apt-get:compiler) echo gcc libc6-dev ;;
        apt-get:loader) echo libvulkan1 ;;
        apt-get:driver) echo mesa-vulkan-drivers ;;
        dnf:compiler | pacman:compiler) echo gcc ;;
        dnf:loader) echo vulkan-loader ;;
        dnf:driver) echo mesa-vulkan-drivers ;;
        pacman:loader) echo vulkan-icd-loader ;;
        pacman:driver) echo vulkan-swrast ;;
        esac
    done | tr '\n' ' ' | sed 's/ $//'
}

# The line that a person types to install the packages.
install_line() {
    local manager=$1 packages=$2 sudo=
    if ! is_root; then sudo='sudo '; fi
    case "$manager" in
    apt-get) echo "${sudo}apt-get update && ${sudo}apt-get install -y $packages" ;;
    dnf) echo "${sudo}dnf install -y $packages" ;;
    pacman) echo "${sudo}pacman -S --needed $packages" ;;
    esac
}

# apt_quietly ARGUMENT...: apt-get without questions; prints only what went wrong.
apt_quietly() {
    local log
    log=$(DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o Acquire::http::Timeout=30 "$@" 2>&1) && return
    printf '%s\n' "$log" | tail -n 5 >&2
    return 1
}

# Refreshes the package lists, at most once. Fails when that was done before.
apt_refresh() {
    if [ -n "$apt_lists_fresh" ]; then return 1; fi
    apt_lists_fresh=yes
    say "refreshing the package lists"
    apt_quietly update
}

# apt_install PACKAGE...: tries the lists as they are, unless there are none.
apt_install() {
    if ! any_exists /var/lib/apt/lists/*_Packages*; then apt_refresh || true; fi
    apt_quietly install --no-install-recommends "$@"
}

describe_part() {
    case "$1" in
    compiler) echo "a C compiler (cc), which links the programs" ;;
    loader) echo "the Vulkan loader (libvulkan.so.1)" ;;
    driver) echo "a Vulkan driver; Mesa's software driver will do" ;;
    esac
}

ensure_system_parts() {
    local missing part
    missing=$(missing_system_parts) || exit 1
    if [ -z "$missing" ]; then return; fi
    for part in $missing; do say "missing: $(describe_part "$part")"; done

    local manager packages line
    manager=$(package_manager)
    if ! on_linux || [ -z "$manager" ]; then
        fail "install the above with this system's own tools (macOS: xcode-select --install), then run this again"
    fi
    # Unquoted: one word per part.
    # shellcheck disable=SC2086
    packages=$(package_names "$manager" $missing)
    line=$(install_line "$manager" "$packages")
    if [ "$manager" != apt-get ] || ! is_root; then
        say "type this, then run $program again:"
        printf '\n    %s\n\n' "$line" >&2
        exit 1
    fi
    say "installing $packages"
    # shellcheck disable=SC2086
    apt_install $packages || { apt_refresh && apt_install $packages; } || fail "could not install them; try: $line"
}

# --- Rust ---------------------------------------------------------------------

# version_at_least HAVE WANT, for versions such as 1.95.0 and 1.90.
version_at_least() {
    local have_major have_minor want_major want_minor
    IFS=. read -r have_major have_minor _ <<<"$1"
    IFS=. read -r want_major want_minor _ <<<"$2"
    [ "$have_major" -gt "$want_major" ] ||
        { [ "$have_major" -eq "$want_major" ] && [ "${have_minor:-0}" -ge "${want_minor:-0}" ]; }
}

ensure_rust() {
    # rustup puts its programs here and asks for a new shell, which may not have been opened.
    local cargo_bin=${CARGO_HOME:-$HOME/.cargo}/bin
    if ! have cargo && [ -x "$cargo_bin/cargo" ]; then PATH="$cargo_bin:$PATH"; fi

    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    if ! have cargo || ! have rustc; then
        fail "Rust is missing: install rustup from https://rustup.rs (Rust $wanted or later), open a new shell, then run this again"
    fi
    found=$(cd "$root" && rustc --version) || fail "rustc does not start; try: rustup default stable"
    found=${found#rustc }
    found=${found%% *}
    version_at_least "${found%%-*}" "$wanted" ||
        fail "Rust $found is too old, $wanted or later is needed; try: rustup update stable"
}

# --- Linker -------------------------------------------------------------------

linker_works() {
    local out
    have "$2" || return 1
    out=$(mktemp) || return 1
    # An older gcc does not know every name, so a real link decides.
    if echo 'int main(void) { return 0; }' | cc "-fuse-ld=$1" -x c - -o "$out" 2>/dev/null; then
        rm -f "$out"
        return 0
    fi
    rm -f "$out"
    return 1
}

fast_linker() {
    if linker_works mold mold; then
        echo mold
    elif linker_works lld ld.lld; then
        echo lld
    fi
}

# A faster linker saves minutes on few cores, and nothing depends on it.
choose_linker() {
    on_linux || return 0
    # Cargo reads no RUSTFLAGS where the encoded form is set; a linker already chosen stays.
    if [ -n "${CARGO_ENCODED_RUSTFLAGS:-}" ]; then return 0; fi
    case "${RUSTFLAGS:-}" in
    *-fuse-ld=*) return 0 ;;
    esac
    local linker
    linker=$(fast_linker)
    if [ -z "$linker" ] && is_root && [ "$(package_manager)" = apt-get ]; then
        say "installing mold, a faster linker"
        apt_install mold 2>/dev/null || say "no mold here; going on with the usual linker"
        linker=$(fast_linker)
    fi
    if [ -n "$linker" ]; then
        export RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }-Clink-arg=-fuse-ld=$linker"
    fi
}

# --- Build --------------------------------------------------------------------

# Cargo takes a relative CARGO_TARGET_DIR from where it runs, and the build runs
# in the clone; the caller meant the folder that they are in.
fix_target_dir() {
    case "${CARGO_TARGET_DIR:-/}" in
    /*) ;;
    *) export CARGO_TARGET_DIR="$PWD/$CARGO_TARGET_DIR" ;;
    esac
}

# Prints the target folder, wherever the environment or Cargo's settings put it.
target_dir() {
    (cd "$root" && cargo metadata --format-version 1 --no-deps --locked) |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# --- Python -------------------------------------------------------------------

audit_python_works() {
    "$1" -c 'import sys, blake3, cryptography; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Prints a Python that can run testnet/audit-py: this machine's, or one in a virtual environment
# under the target folder, made where there is none. Prints nothing where it cannot be had.
audit_python() {
    local venv python
    venv="$(target_dir)/audit-venv"
    for python in python3 "$venv/bin/python"; do
        if audit_python_works "$python"; then
            echo "$python"
            return
        fi
    done
    have python3 || return 0
    say "making a Python environment for the second auditor"
    local log pip=("$venv/bin/python" -m pip install --quiet --timeout 15 --retries 1 'blake3>=1.0' 'cryptography>=42')
    # A package index that does not answer must not hold up the suite.
    if have timeout; then pip=(timeout 90 "${pip[@]}"); fi
    log=$({ python3 -m venv "$venv" && "${pip[@]}"; } 2>&1) || printf '%s\n' "$log" | tail -n 3 >&2
    if audit_python_works "$venv/bin/python"; then echo "$venv/bin/python"; fi
}

set_up() {
    ensure_rust
    ensure_system_parts
    choose_linker
    fix_target_dir
}

# The one release build: `up` and `check` share its profile, flags and target.
# shellcheck disable=SC2034 # Used by the scripts that source this.
build_command=(cargo build --release --locked -p assay-node -p assay-testnet --bins)

in_clone() { (cd "$root" && "$@") >&2; }
