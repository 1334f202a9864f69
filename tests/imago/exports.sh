#!/bin/sh
# The shared library exports exactly the functions that imago.h declares.
# usage: exports.sh libimago.so imago.h
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nm -D --defined-only "$1" | awk '{ print $NF }' | sed 's/@.*//' |
    grep -vE '^(__gcov|__llvm|__asan|__ubsan|__tsan|_init$|_fini$)' | sort > "$work/exported"
sed -n '/^IMAGO_API/,/;/p' "$2" | tr '\n' ' ' | grep -oE 'imago_[a-z_]+\(' | tr -d '(' |
    sort -u > "$work/declared"
test -s "$work/declared"
if ! diff -u "$work/declared" "$work/exported"; then
    echo "FAILED: imago.h (-) and the exported symbols (+) differ"
    exit 1
fi
echo "ok: $(wc -l < "$work/exported") functions, all of imago.h and nothing else"
