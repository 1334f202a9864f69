/* cli/vectors.c — matrices in the forms that other programs read. */
#include "cli/cli_internal.h"

/* NumPy's format 1.0 (numpy/lib/format.py): magic, version, length of the header, a Python literal
 * padded with blanks so that the data begin at a multiple of 64 bytes. */
void cli_npy_header(im_str *out, size_t rows, size_t columns)
{
    static const char magic[] = "\x93NUMPY\x01";
    im_str dict;
    im_str_init(&dict, 4096);
    im_str_addf(&dict, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", rows,
                columns);
    size_t before = sizeof(magic) + 2; /* the magic's NUL is the minor version */
    while ((before + dict.size + 1) % 64 != 0 && !dict.failed) {
        im_str_add_char(&dict, ' ');
    }
    im_str_add_char(&dict, '\n');
    im_str_add(out, magic, sizeof(magic));
    im_str_add_char(out, (char)(dict.size & 0xff));
    im_str_add_char(out, (char)(dict.size >> 8));
    im_str_add(out, im_str_text(&dict), dict.size);
    im_str_clear(&dict);
}
