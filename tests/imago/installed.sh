#!/bin/sh
# Installs the build into a folder of its own, then uses nothing else: the program, its manual page
# and completions, and the example built with pkg-config, shared and static.
# usage: installed.sh BUILD_DIR SOURCE_DIR
set -eu
build=$1
source=$2
cc=${IMAGO_CC:-cc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

cmake --install "$build" --prefix "$work/first" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
mv "$work/first" "$work/prefix" # it must not remember where it was put
prefix=$work/prefix
unset IMAGO_DATA IMAGO_LIBRARY
export HOME="$work/home" XDG_DATA_HOME="$work/home/data"
mkdir -p "$work/pictures"
find "$source/data/sample" -name '*.jpg' | sort | head -n 6 | xargs -I{} cp {} "$work/pictures/"

for file in bin/imago include/imago/imago.h share/man/man1/imago.1 \
    share/bash-completion/completions/imago share/zsh/site-functions/_imago \
    share/fish/vendor_completions.d/imago.fish share/imago/models share/imago/sample \
    share/imago/calibration; do
    test -e "$prefix/$file" || fail "$file is not installed"
done
"$prefix/bin/imago" --version > /dev/null || fail "the installed program does not start"
"$prefix/bin/imago" add --quiet "$work/pictures" || fail "the installed program cannot add"
hits=$("$prefix/bin/imago" search -k 3 flower | wc -l)
test "$hits" -eq 3 || fail "the installed program found $hits pictures, expected 3"

pc=$(find "$prefix" -name imago.pc)
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
flags=
test -z "${IMAGO_SANITIZE:-}" || flags="-fsanitize=$IMAGO_SANITIZE"
libdir=$(pkg-config --variable=libdir imago)
# shellcheck disable=SC2046,SC2086
"$cc" "$source/examples/search.c" $flags $(pkg-config --cflags --libs imago) -o "$work/shared" ||
    fail "the example does not build against the shared library"
LD_LIBRARY_PATH=$libdir "$work/shared" "$work/library" "$work/pictures" flower > "$work/hits" ||
    fail "the example failed (shared)"
test "$(wc -l < "$work/hits")" -eq 6 || fail "the example found $(wc -l < "$work/hits") of 6"

# shellcheck disable=SC2046,SC2086
"$cc" "$source/examples/search.c" $flags $(pkg-config --cflags imago) "$libdir/libimago.a" \
    $(pkg-config --static --libs imago | sed 's/-limago//') -o "$work/static" ||
    fail "the example does not build against the static library"
IMAGO_DATA=$prefix/share/imago "$work/static" "$work/library" "$work/pictures" flower \
    > "$work/hits.static" || fail "the example failed (static)"
cmp "$work/hits" "$work/hits.static" || fail "static and shared answers differ"
echo "ok: installed, moved, searched; example built and run both ways"
