/* tests/help_bus.h — cmocka puts handlers of its own in place of ours for each test: these keep the one of
 * base/file_map.c, for tests that cut files while they are mapped. */
#ifndef IM_TESTS_HELP_BUS_H
#define IM_TESTS_HELP_BUS_H

/** Before cmocka runs: maps a file, so that the handler is there, and remembers it. */
void learn_bus_handler(void);
/** At the start of a test. */
void use_bus_handler(void);

#endif
