#!/bin/sh
# imago.h is C89 and C++ that strict compilers take, and the example stays short.
# usage: header.sh SOURCE_DIR
set -eu
cc=${IMAGO_CC:-cc}
echo '#include <imago/imago.h>
int main(void) { return imago_version_number() == IMAGO_VERSION_NUMBER; }' |
    "$cc" -std=c89 -pedantic-errors -Wall -Wextra -Werror -I"$1/include" -x c -fsyntax-only -
"$cc" -std=c89 -pedantic-errors -Wall -Wextra -Werror -I"$1/include" -fsyntax-only \
    "$1/examples/search.c"
if command -v c++ > /dev/null; then
    echo '#include <imago/imago.h>
    int main() { return imago_version() == nullptr; }' |
        c++ -std=c++11 -pedantic-errors -Wall -Wextra -Werror -I"$1/include" -x c++ -fsyntax-only -
fi
lines=$(wc -l < "$1/examples/search.c")
test "$lines" -le 60 || { echo "FAILED: examples/search.c has $lines lines, at most 60"; exit 1; }
echo "ok: C89, C++11, example of $lines lines"
