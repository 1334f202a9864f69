/* cli/cli.h — the command line; the door of cli/. */
#ifndef IM_CLI_CLI_H
#define IM_CLI_CLI_H

/** Runs `imago ARGUMENTS…`: prints, asks, and returns the exit code (base/error.def, or 128 + the
 * signal that stopped it). Installs signal handlers. */
int im_cli_main(int argc, char **argv);

#endif
