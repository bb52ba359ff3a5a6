/*
 * top: `corbel top`, what Corbel's processes are doing, live.
 */
#ifndef CORBEL_CLI_TOP_H
#define CORBEL_CLI_TOP_H

/* argv[0] is "top". Returns an exit code of cli.h. */
int top_main(int argc, char **argv);

#endif
