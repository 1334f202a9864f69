/* cli/main.c — the program `imago`. */
#include "base/fault.h"
#include "cli/cli.h"

int main(int argc, char **argv)
{
    im_fault_from_environment();
    return im_cli_main(argc, argv);
}
